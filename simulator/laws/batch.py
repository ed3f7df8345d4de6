"""Batch size without a learning rate: beyond a critical batch tokens are wasted, and small batches are noisy.

Tables of params, batch and steps vary tokens per step at rates that were tuned to each, or that nobody noted. By
McCandlish et al. 2018 (arXiv:1812.06162, eq. 2.11) a run of D tokens at batch B counts as D / (1 + B / B_c): the
inverse of its worth is a sum, 1/D for the noise of its tokens and 1/(B_c · steps) for its few steps. B_c grows with
tokens (Zhang et al. 2024, arXiv:2410.21676; Bergsma et al. 2025, arXiv:2505.13738).
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from ._registry import register_term
from ._settings import SettingsTerm
from ._term import Effect, Parameter, need

_BY_TOKENS = 0.47  # of the critical batch: 0.462 and 0.47 in the two papers
_AT_USUAL = 0.12  # usual over critical batch: a run that states no batch counts as one at the usual
_LARGEST = 30.0


@register_term("batch")
class Batch(SettingsTerm):
    """D_eff = D·(1 + B_u/B_c) / (1 + B/B_c), log B_c = c + e·log D, and noise of small batches, exp(n - w·log B).

    The noise is a share of the loss level.
    """

    columns = ("batch_tokens",)
    describes = "learning rate"
    rank = 33
    only_first = True
    deviates = True
    parameters = (
        Parameter("critical_log_batch", 2.0, 1.5, -6.0, 10.0),
        Parameter("critical_by_tokens", _BY_TOKENS, 0.15, 0.0, 1.0),
        Parameter("noise_log_height", -7.0, 1.5, -20.0, 2.0),
        Parameter("noise_by_batch", 0.5, 0.3, 0.0, 3.0),
    )

    @override
    def prepare(self, columns, reference):
        return {
            "batch": np.log(need(columns, "batch_tokens")) - reference.log("batch_tokens"),
            "tokens": np.log(need(columns, "tokens")) - reference.log("tokens"),
        }

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        moved[:, 0] += moved[:, 1] * t
        moved[:, 2] -= level
        return moved

    @override
    def effect(self, theta, features):
        batch, tokens = features["batch"], features["tokens"]
        share = np.exp(np.clip(batch - theta[:, 0:1] - theta[:, 1:2] * tokens, -_LARGEST, _LARGEST))
        wasted = share / (1.0 + share)
        by_tokens = np.zeros((len(theta), 4, len(batch)))
        by_tokens[:, 0], by_tokens[:, 1] = wasted, wasted * tokens
        exponent = theta[:, 2:3] - theta[:, 3:4] * batch
        noise = np.exp(np.minimum(exponent, 3.0))
        by_noise = np.zeros_like(by_tokens)
        slope = noise * (exponent < 3.0)
        by_noise[:, 2], by_noise[:, 3] = slope, -slope * batch
        worth = np.log1p(_AT_USUAL) - np.log1p(share)
        return Effect(log_tokens=(worth, by_tokens), penalty=(noise, by_noise))
