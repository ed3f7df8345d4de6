"""The law of continued pretraining with a share r of one domain, after D-CPT (Que et al. 2024, arXiv:2406.01375).

    L(N, D, r) / L₀(N) = E + A / N^α + B / D^β + C · ((r D^η + ε)^(−γ) − 1) / γ

for the loss of the domain; for the general loss r is the share of everything else. N are parameters, D tokens of
continued pretraining, L₀(N) the general loss before, which who continues a model knows: most of what size does is in
it, so that one size tells of another. The published form is of L itself, its terms of tokens and share B r^η / D^β +
C / (r + ε)^γ with γ > 0. It tells shares above 0 as well from one another, but nothing of a share of 0 or of a size
that it wasn't fitted to (`benchmarks/continued.py` compares both). Where the weights never saw the domain the loss
falls ever faster with ln r, which asks for γ < 0, and what counts are tokens of the domain, r D^η.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..draws import decades_outside, rounded

__all__ = ["NAMES", "ContinuedLaw", "continued_ratio"]

_SD_PER_DECADE = 0.04  # of the log ratio, that forms alike differ by outside the runs that they were fitted to
_LOGARITHM = 1e-6  # of γ, within which the last term is its limit

NAMES = ("E", "A", "alpha", "B", "beta", "C", "eta", "epsilon", "gamma")
"""Parameters in their order: logs of the positive ones, then γ itself."""


def continued_ratio(values: np.ndarray, n: np.ndarray, d: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The loss over the general loss before continuing.

    Args:
        values: Parameters in the order of NAMES, `(…, 9)`.
        n: Parameters over a reference size, which broadcast against the leading axes of `values`.
        d: Tokens over a reference budget.
        share: Share of the text that the loss is of, 0 to 1.

    >>> values = np.array([*np.log([0.6, 0.01, 0.3, 0.05, 0.3, 0.1, 0.3, 0.05]), 0.0])
    >>> continued_ratio(values, np.array(1.0), np.array(1.0), np.array([0.1, 0.95])).round(3).tolist()
    [0.85, 0.66]
    """
    e, a, alpha, b, beta, c, eta, epsilon = np.moveaxis(np.exp(values[..., :8]), -1, 0)
    gamma = values[..., 8]
    log_d = np.log(d)
    # powers as exponentials of logs: three times as fast, and a fit evaluates this some 10 million times
    log_seen = np.log(share * np.exp(eta * log_d) + epsilon)
    by_share = np.where(np.abs(gamma) < _LOGARITHM, -log_seen, np.expm1(-gamma * log_seen) / _nonzero(gamma))
    return e + a * np.exp(-alpha * np.log(n)) + b * np.exp(-beta * log_d) + c * by_share


def _nonzero(gamma: np.ndarray) -> np.ndarray:
    return np.where(np.abs(gamma) < _LOGARITHM, 1.0, gamma)


@dataclass(frozen=True)
class ContinuedLaw:
    """The law of one loss relative to the general loss before, as equally likely draws.

    >>> values = np.array([[*np.log([0.6, 0.01, 0.3, 0.05, 0.3, 0.1, 0.3, 0.05]), 0.0]])
    >>> law = ContinuedLaw("domain", 1e6, 1e6, values, np.array([0.0]), {})
    >>> law.ratio(1e6, 1e6, 0.5).round(3).tolist()
    [0.72]
    """

    of: str
    """`domain` or `general`: which share of the text it reads."""
    params: float
    """Reference size."""
    tokens: float
    """Reference budget."""
    values: np.ndarray
    """`(draws, 9)`: parameters in the order of NAMES."""
    noise: np.ndarray
    """`(draws,)`: one sd of the log loss of one run around the law."""
    measured: Mapping[str, tuple[float, float]]
    """Least and most of params, tokens and share among the runs."""

    def ratio(self, params: float, tokens: float, share: np.ndarray | float) -> np.ndarray:
        """The loss over the general loss before: at a share `(draws,)`, at several `(shares, draws)`."""
        share = np.asarray(share, dtype=float)
        own = share if self.of == "domain" else 1.0 - share
        n, d = np.asarray(params / self.params), np.asarray(tokens / self.tokens)
        return continued_ratio(self.values, n, d, own[..., None] if own.ndim else own)

    def one_run(self, params: float, tokens: float, share: np.ndarray | float, rng: np.random.Generator) -> np.ndarray:
        """What a single run may come to: as `ratio`, with its luck and what a law may be off beyond its runs."""
        beyond = sum(self.beyond_decades(params, tokens).values())
        sd = np.hypot(self.noise, _SD_PER_DECADE * beyond)
        return self.ratio(params, tokens, share) * np.exp(sd * rng.standard_normal(len(self.noise)))

    def beyond_decades(self, params: float, tokens: float) -> dict[str, float]:
        """How far a run lies outside the fitted ones, in decades of params and tokens; only what does."""
        return decades_outside(self.measured, {"params": params, "tokens": tokens})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which an equal law is read back, to seven digits."""
        return {
            "of": self.of,
            "params": self.params,
            "tokens": self.tokens,
            "values": rounded(self.values),
            "noise": rounded(self.noise),
            "measured": {name: list(ends) for name, ends in self.measured.items()},
        }
