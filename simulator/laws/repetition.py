"""Repeated data: each further epoch is worth less, and too many epochs on too little data do harm."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from ._registry import register_term
from ._term import Effect, Parameter, Term, need

_PUBLISHED_R_TOKENS = 15.387756  # R_D*, Muennighoff et al. 2023 (arXiv 2305.16264), fit on C4
_PUBLISHED_R_PARAMS = 5.309743  # R_N*, same fit
_EVEN_PARAMS_PER_TOKEN = 0.051  # compute-optimal N/U of the same fit: (A/B)^(1/α), A=520.8 B=1487.7 α=β=0.35266
_MOST_HARM = 3.5  # in loss levels: how far a guess among 50,000 tokens lies above a large run
_HALF_OF_IT = 4.0  # parameters per unique token; a text fits into 1.4: 3.6 bits each (arXiv 2505.24832), 5 a token
_NO_LIMIT = -8.0  # log of parameters per unique token: even the smallest model could memorise everything
_STEEPNESS = 2.0  # of the share of the text that is memorised, over parameters per unique token: 1.5 to 2 are alike


class _Repeats(Term):
    """What both repetition terms share: D_eff = U·(1 + R*·(1 - exp(-R/R*))) for R = epochs - 1 repeats."""

    columns = ("unique_tokens",)
    describes = "repeats"
    deviates = True

    @override
    def prepare(self, columns, reference):
        tokens, unique = need(columns, "tokens"), need(columns, "unique_tokens")
        unique = np.minimum(unique, tokens)
        return {
            "repeats": tokens / unique - 1.0,
            "unique_per_token": unique / tokens,
            "log_params_per_unique": np.log(need(columns, "params") / unique),
        }

    @override
    def identifiable(self, columns):
        reason = self.absent(columns)
        if reason:
            return reason
        epochs = np.asarray(columns["tokens"]) / np.asarray(columns["unique_tokens"])
        repeated = epochs > 1.5
        if repeated.sum() < 5:
            return (
                f"column 'unique_tokens': {int(repeated.sum())} runs see their data more than 1.5 times; 5 are needed"
            )
        return None


def _saturating(features, log_star):
    """log D_eff - log D `(K, n)` and its derivative by log R*."""
    star = np.exp(log_star)[:, None]
    repeats = features["repeats"]
    decay = np.exp(-repeats / star)
    worth = 1.0 + star * (1.0 - decay)
    slope = star * (1.0 - decay) - repeats * decay
    return np.log(features["unique_per_token"] * worth), slope / worth


@register_term("repetition")
class Repetition(_Repeats):
    """Saturating effective tokens plus an over-fitting penalty P = exp(c + g₁·log(N/U) + g₂·log R), as P/(1 + P/P_max).

    The saturating part is Muennighoff et al. 2023, eq. 5; it cannot follow runs whose loss rises with epochs, so
    a penalty that grows with parameters per unique token and with repeats is added (our form; zero at one epoch).
    However often a text is repeated, it does no more harm than the parameters can memorise of it:
    P_max = most/(1 + (k·U/N)²), so a small model on much text ends flat, and no run ends far above a plain guess.
    """

    rank = 10
    parameters = (
        Parameter("log_repeat_star", np.log(_PUBLISHED_R_TOKENS), 0.7, -1.5, 6.0),
        Parameter("overfit_log_scale", -7.0, 2.0, -25.0, 3.0),
        Parameter("overfit_params_per_unique", 0.7, 0.4, 0.0, 3.0),
        Parameter("overfit_repeats", 1.0, 0.4, 0.05, 4.0),
        Parameter("overfit_log_most", np.log(_MOST_HARM), 0.3, -2.0, 3.0),
        Parameter("overfit_log_half", np.log(_HALF_OF_IT), 0.5, _NO_LIMIT, 5.0, unstated=_NO_LIMIT),
    )

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        moved[:, [1, 4]] -= np.reshape(level, (-1, 1))  # the penalty is a share of the level
        return moved

    @override
    def effect(self, theta, features):
        shift, slope = _saturating(features, theta[:, 0])
        by_tokens = np.zeros((len(theta), len(self.parameters), shift.shape[1]))
        by_tokens[:, 0] = slope
        log_repeats = np.log(np.maximum(features["repeats"], 1e-12))
        ratio = features["log_params_per_unique"]
        exponent = theta[:, 1:2] + theta[:, 2:3] * ratio + theta[:, 3:4] * log_repeats
        grown = np.exp(np.minimum(exponent, 50.0)) * (features["repeats"] > 1e-9)  # one epoch does no harm
        lacking = np.exp(np.clip(_STEEPNESS * (theta[:, 5:6] - ratio), -50.0, 50.0))
        most = np.exp(theta[:, 4:5]) / (1.0 + lacking)
        penalty = grown / (1.0 + grown / most)
        inside = penalty * (1.0 - penalty / most) * (exponent < 50.0)
        by_most = penalty**2 / most
        by_penalty = np.zeros_like(by_tokens)
        by_penalty[:, 1], by_penalty[:, 2], by_penalty[:, 3] = inside, inside * ratio, inside * log_repeats
        by_penalty[:, 4] = by_most
        by_penalty[:, 5] = by_most * -_STEEPNESS * lacking / (1.0 + lacking)
        return Effect(log_tokens=(shift, by_tokens), penalty=(penalty, by_penalty))


@register_term("muennighoff")
class Muennighoff(_Repeats):
    """Muennighoff et al. 2023, eq. 5-7: both effective tokens and effective parameters saturate, nothing turns up.

    U_N, the parameters that U unique tokens can use, is k·U with k near its compute-optimal value; excess
    parameters count as repeats: N_eff = U_N·(1 + R_N*·(1 - exp(-R_N/R_N*))), R_N = max(N/U_N - 1, 0).
    """

    rank = 11
    parameters = (
        Parameter("log_repeat_star", np.log(_PUBLISHED_R_TOKENS), 0.7, -1.5, 6.0),
        Parameter("log_excess_star", np.log(_PUBLISHED_R_PARAMS), 0.7, -1.5, 6.0),
        Parameter("log_params_per_unique", np.log(_EVEN_PARAMS_PER_TOKEN), 0.5, -8.0, 3.0),
    )

    @override
    def effect(self, theta, features):
        shift, slope = _saturating(features, theta[:, 0])
        by_tokens = np.zeros((len(theta), 3, shift.shape[1]))
        by_tokens[:, 0] = slope
        ratio = np.exp(np.maximum(features["log_params_per_unique"] - theta[:, 2:3], 0.0))  # N / U_N, at least 1
        star = np.exp(theta[:, 1])[:, None]
        decay = np.exp(-(ratio - 1.0) / star)
        worth = 1.0 + star * (1.0 - decay)
        by_params = np.zeros_like(by_tokens)
        by_params[:, 1] = (star * (1.0 - decay) - (ratio - 1.0) * decay) / worth
        by_params[:, 2] = np.where(ratio > 1.0, 1.0 - decay * ratio / worth, 0.0)
        return Effect(log_params=(np.log(worth / ratio), by_params), log_tokens=(shift, by_tokens))
