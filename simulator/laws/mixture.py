"""Data mixtures: how many tokens of the target's own kind a mix of training domains is worth.

The worth m(w) of a mix scales the reducible loss by m^-s: at a given size this is the effective-token power law
E + B·(D·m)^-β. Both parts of the reducible loss are scaled, that of size as well as that of data: what a small model
learns depends on what it reads, and with m inside D alone, runs of one size would be taken as limited by data only.
Terms are normalised so that m = 1 at the reference mix (the mean of the fitted runs), which keeps the meaning of the
loss level. One target has one row of the transfer matrix: a worth τ_s for each training domain s, of which only
differences matter.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from typing_extensions import override

from ...core.columns import alias_key
from ...core.errors import FitError
from ._registry import register_term
from ._term import Effect, Parameter, Term, mix_column, need, stock_column, varying_domains

_LEAST_SHARE = 1e-4  # added to every share: rounded tables write 0 for less than 0.0005, and log 0 has no value
_PUBLISHED_R_TOKENS = 15.387756  # R_D*, Muennighoff et al. 2023 (arXiv 2305.16264), fit on C4
_HARMFUL_REPEATS = 31.0
"""Scarce text in a mix is best seen 15 to 20 times (Sedova et al. 2026, arXiv 2605.12715, over 2,000 runs): repeats are
worth most at R*·log(1 + H/R*) of them, 17 with this H."""
_NO_HARM = 25.0  # log of repeats beyond any run
_FEWEST_MIXES = 3
_OWN_WORTH, _OWN_WORTH_OF_MANY, _MANY = 2.2, 4.5, 16
_WORTH_SPREAD = 1.3
_OWN_STRENGTH, _OWN_STRENGTH_SPREAD = math.log(0.15), 0.7
"""Where the target is one of the training domains, its own text is worth most: on RegMix's 512 runs of 1M the log worth
of a target's own domain is 2.1 to 6.8 above that of the 16 others (mean 4.5, sd 1.2), which spread by 1.3, and the
strength is .07 to .13, .45 once (13 targets). Where there is one other domain it is a broad one, worth about as much as
its best part, the best of those 16: 2.2. Between, by the logarithm of their number."""
_USUAL_STRENGTH = math.log(0.36)  # the usual exponent of data: worth counts as tokens do


class _Mix(Term):
    """Shared by both terms: shares, repeats by domain, strength, centring, and how many runs it takes.

    The reducible loss is multiplied by (m(w')/m(w_ref))^-s, with s = σ·(N/N₀)^c and `m` left to the members, and D
    becomes D'. D' = Σ D'_s and w'_s = D'_s/D' are D and w, except where `unique_tokens.<domain>` states a domain's
    stock U and D·w_s exceeds it: then D'_s = U·(1 + R*·(1 - exp(-R/R*))·exp(-R/H)) with R = D·w_s/U - 1: Muennighoff et
    al. 2023, eq. 5, domain by domain; beyond some repeats more of them do harm, until the domain is worth no more
    than seen once. The prior of c is what 13 domains of RegMix's tables show between 1M and 60M parameters
    (0.05 to 0.10 with eight runs at 60M): larger models tell mixes apart a little better.
    """

    takes_domains = True
    describes = "mix"
    rank = 90
    shape: tuple[Parameter, ...] = ()
    """Parameters of `m` beyond one worth for each domain."""
    domain_value = Parameter("worth", 0.0, 3.0, -15.0, 15.0)
    own: str | None = None
    """The training domain that the target is a loss of, where it is one and the prior knows it."""

    def __init__(self, domains: Sequence[str] = (), levels: Sequence[str] = ()):
        super().__init__(domains, levels)
        if not self.domains:
            raise FitError(f"term {self.name!r} needs training domains: columns mix.<domain> whose shares vary")
        if len(set(self.domains)) < len(self.domains):
            raise FitError(f"term {self.name!r} names a domain twice: {', '.join(self.domains)}")
        self.columns = tuple(mix_column(d) for d in self.domains)
        self.optional = tuple(stock_column(d) for d in self.domains)
        kind = self.domain_value
        self.parameters = (
            Parameter("log_mix_strength", _USUAL_STRENGTH, 0.7, -5.0, 3.0),
            Parameter("mix_strength_by_params", 0.07, 0.02, -1.0, 1.0),
            Parameter("log_domain_repeat_star", math.log(_PUBLISHED_R_TOKENS), 0.7, -1.5, 6.0),
            Parameter("log_domain_repeat_harm", math.log(_HARMFUL_REPEATS), 0.5, -1.0, _NO_HARM, unstated=_NO_HARM),
            *self.shape,
            *(Parameter(f"worth.{d}", kind.mean, kind.sd, kind.lower, kind.upper) for d in self.domains),
        )

    @override
    def prepare(self, columns, reference):
        shares = self._shares(columns)
        centre = np.array([reference.values.get(name, 0.0) for name in self.columns])
        features = {
            "x": np.log(need(columns, "params")) - reference.log("params"),
            "shares": shares,
            # the same in every row, so that rows can be taken from all features alike
            "centre": np.broadcast_to(centre, shares.shape),
        }
        repeats = self._repeats(columns, shares)
        return features | ({"repeats": repeats} if repeats.any() else {})

    @override
    def centre(self, columns, rows):
        means = {name: float(np.mean(values)) for name, values in columns.items() if name.startswith("mix.")}
        return {name: value for name, value in means.items() if value > 0}

    @override
    def rebase(self, theta, x, t, level):
        moved = theta.copy()
        moved[:, 0] += moved[:, 1] * x
        return moved

    @override
    def identifiable(self, columns):
        reason = self.absent(columns)
        if reason:
            return reason
        for name in self.columns:
            blank = ~np.isfinite(columns[name])
            if blank.any():
                return f"column {name!r} is blank in {int(blank.sum())} of {len(blank)} runs"
        varying = set(varying_domains(columns)) & set(self.domains)
        if len(varying) < 2:
            return f"the shares of {len(varying)} of {len(self.domains)} domains vary over the runs; 2 are needed"
        shares = self._shares(columns)
        if self.own is not None:
            own = columns[mix_column(self.own)]
            values = len(np.unique(np.round(own, 6)))
            if values < _FEWEST_MIXES:
                return f"the share of the target's own domain takes {values} values; {_FEWEST_MIXES} are needed"
            return None
        fewest = math.ceil(len(varying) / 2 + 4)
        if len(shares) < fewest:
            return f"{len(shares)} runs are too few for {len(varying)} domains; {fewest} are needed"
        mixes = len(np.unique(shares.round(6), axis=0))
        fewest = max(_FEWEST_MIXES, math.ceil(len(varying) / 2 + 1))
        if mixes < fewest:
            return f"{mixes} different mixes are too few for {len(varying)} domains; {fewest} are needed"
        return None

    @override
    def values(self, theta, features):
        return self._effect(theta, features, gradient=False)

    @override
    def effect(self, theta, features):
        return self._effect(theta, features, gradient=True)

    @abstractmethod
    def _log_worth(self, own: np.ndarray, shares: np.ndarray, gradient: bool) -> tuple[np.ndarray, Any, Any]:
        """log m `(K, n)` of shares `(S, n)` or `(K, S, n)`; its derivatives by `own: (K, p)` and the shares, or None.

        `own` are `shape` and the worths; the derivatives are `(K, p, n)` and broadcast to `(K, S, n)`.
        """

    def _effect(self, theta, features, gradient) -> Effect:
        """The effect on tokens (where any repeat) and on the reducible loss; gradients are empty unless asked for."""
        own, shares, empty = theta[:, 4:], features["shares"].T, np.empty((0, 0, 0))
        repeated = _repeated(shares, features["repeats"].T, theta[:, 2:4]) if "repeats" in features else None
        shares = shares if repeated is None else repeated.shares
        log_m, by_own, by_share = self._log_worth(own, shares, gradient)
        at_centre, by_centre, _ = self._log_worth(own, features["centre"][:1].T, gradient)
        strength = np.exp(theta[:, 0:1] + theta[:, 1:2] * features["x"])
        lost = strength * (at_centre - log_m)
        if not gradient:
            tokens = None if repeated is None else (repeated.log_tokens, empty)
            return Effect(log_tokens=tokens, log_reducible=(lost, empty))
        grad = np.zeros((*theta.shape, lost.shape[1]))
        grad[:, 0], grad[:, 1] = lost, lost * features["x"]
        np.multiply(by_centre - by_own, strength[:, None], out=grad[:, 4:])
        if repeated is None:
            return Effect(log_reducible=(lost, grad))
        tokens = np.zeros_like(grad)
        for place, by in enumerate(repeated.by, start=2):
            grad[:, place] = -strength * (by_share * by.shares).sum(axis=1)
            tokens[:, place] = by.log_tokens
        return Effect(log_tokens=(repeated.log_tokens, tokens), log_reducible=(lost, grad))

    def _shares(self, columns) -> np.ndarray:
        """Shares `(n, S)`; FitError for one that is no share."""
        shares = np.array([np.asarray(columns[name], dtype=float) for name in self.columns])
        wrong = ~(np.isfinite(shares) & (shares >= 0))
        if wrong.any():
            domain, run = np.argwhere(wrong)[0]
            raise FitError(
                f"column {self.columns[domain]!r}, run {run}: got {shares[domain, run]}; expected a share, 0 to 1"
            )
        return shares.T

    def _repeats(self, columns, shares) -> np.ndarray:
        """How many times each domain's stock is seen again, `(n, S)`: 0 where no stock is stated or none is used up."""
        stock = [np.asarray(columns.get(name, np.inf), dtype=float) for name in self.optional]
        stock = np.array([np.where(np.isfinite(s), s, np.inf) * np.ones(len(shares)) for s in stock]).T
        if not (stock > 0).all():
            domain = int(np.argwhere(~(stock > 0))[0][1])
            raise FitError(f"column {self.optional[domain]!r}: expected positive counts of tokens, or blank cells")
        return np.maximum(need(columns, "tokens")[:, None] * shares / stock - 1.0, 0.0)


@dataclass(frozen=True)
class _Change:
    """Shares w' `(K, S, n)` and log D' - log D `(K, n)`, or how fast they change."""

    shares: np.ndarray
    log_tokens: np.ndarray


@dataclass(frozen=True)
class _Repeated(_Change):
    """What repeats leave of each domain, and its derivatives by log R* and log H."""

    by: tuple[_Change, _Change]


def _repeated(shares: np.ndarray, repeats: np.ndarray, logs: np.ndarray) -> _Repeated:
    """Domains whose stock is used up count less. `shares, repeats: (S, n)`; `logs: (K, 2)` are log R* and log H."""
    star, most = np.exp(logs)[:, :, None, None].swapaxes(0, 1)
    decay, sound = np.exp(-repeats / star), np.exp(-repeats / most)
    each = shares / (1.0 + repeats)
    gained = star * (1.0 - decay) * sound
    worth = each * (1.0 + gained)
    kept = worth.sum(axis=1) / shares.sum(axis=0)
    moved = worth / kept[:, None]
    changes = []
    for slope in (each * (star * (1.0 - decay) - repeats * decay) * sound, each * gained * repeats / most):
        by_total = slope.sum(axis=1) / worth.sum(axis=1)
        changes.append(_Change(slope / kept[:, None] - moved * by_total[:, None], by_total))
    return _Repeated(moved, np.log(kept), (changes[0], changes[1]))


@register_term("mixture")
class MixtureTerm(_Mix):
    """Effective tokens with a constant elasticity of substitution: m(w) = (Σ_s T_s·w_s^κ)^(1/κ), T_s = exp(τ_s).

    κ = 1 is the plain effective-token law, in which domains replace each other at fixed rates and the best mix is all
    of one domain; κ < 1 gives diversity a value. On RegMix's table κ is 0.3 to 0.8 by target, and leaving it free cuts
    the squared error of the loss by a third (512 runs of 1M parameters, 13 targets).
    """

    shape = (Parameter("log_mix_curvature", math.log(0.5), 0.5, -3.0, 1.5),)

    @override
    def of_target(self, target):
        own = next((domain for domain in self.domains if alias_key(domain) == alias_key(target)), None)
        if own is None:
            return self
        term = type(self)(self.domains)
        term.own = own
        many = min(math.log(max(len(self.domains) - 1, 1)) / math.log(_MANY), 1.0)
        beliefs = {f"worth.{domain}": (0.0, _WORTH_SPREAD) for domain in self.domains}
        beliefs[f"worth.{own}"] = (_OWN_WORTH + many * (_OWN_WORTH_OF_MANY - _OWN_WORTH), _WORTH_SPREAD)
        beliefs["log_mix_strength"] = (_OWN_STRENGTH, _OWN_STRENGTH_SPREAD)
        term.parameters = tuple(
            replace(one, mean=beliefs[one.name][0], sd=beliefs[one.name][1]) if one.name in beliefs else one
            for one in self.parameters
        )
        return term

    @override
    def _log_worth(self, own, shares, gradient):
        kappa = np.exp(own[:, 0])[:, None]
        logs = np.log(shares + _LEAST_SHARE)
        parts = kappa[:, None] * logs
        parts += own[:, 1:, None]
        np.exp(parts, out=parts)
        total = parts.sum(axis=1)
        log_m = np.log(total) / kappa
        if not gradient:
            return log_m, None, None
        parts /= total[:, None]
        grad = np.empty((*own.shape, parts.shape[2]))
        grad[:, 0] = (parts * logs).sum(axis=1) - log_m
        np.divide(parts, kappa[:, None], out=grad[:, 1:])
        return log_m, grad, parts / (shares + _LEAST_SHARE)


@register_term("exponential_mixture")
class ExponentialMixture(_Mix):
    """The exponential mixing law, log m(w) = Σ_s τ_s·w_s: L = E + (reducible loss)·exp(-s·Σ_s τ_s·(w_s - w_ref,s)).

    Ye et al. 2024, "Data Mixing Laws" (arXiv 2403.16952), eq. 1, L = c + k·exp(Σ t_s·w_s), here joint with N and D.
    """

    rank = 91

    @override
    def _log_worth(self, own, shares, gradient):
        log_m = (own[:, None, :] @ shares)[:, 0]
        if not gradient:
            return log_m, None, None
        return log_m, np.broadcast_to(shares, (*own.shape, shares.shape[-1])), own[:, :, None]
