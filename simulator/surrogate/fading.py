"""How much of a correction is left at sizes where nothing like it was tried.

What a law leaves over at one size comes back weaker at the next: on RegMix's tables a correction learned at 1M
parameters is right at 1M (the truth's slope on it is 1.00), and .77 of it is left at 60M, 1.8 decades further, while
the bare law ranks mixes there as well. So a correction fades with the decades from the sizes at which it was learned,
as a process whose correlation over sizes is exp(-rate·decades) would, and what faded comes back as uncertainty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..fitting import Observations, extrapolation_decades, ranges
from ..laws import Columns, Law
from ._process import Process

PER_DECADE = 0.143
"""e-folds of a correction for each decade: -ln(.775)/1.78, RegMix from 1M to 60M (mean of 13 domains)."""

_SPREAD = 0.7  # sd of the log rate: by domain, the slope at 60M is .70 to 1.04
_RATES = PER_DECADE * np.exp(_SPREAD * np.linspace(-2.5, 2.5, 11))
_PRIOR = np.exp(-0.5 * np.linspace(-2.5, 2.5, 11) ** 2)
_SIZES_APART = 0.1  # decades between sizes, below which they are one
_ROWS = 320  # from which a rate is learned, every size alike


@dataclass(frozen=True)
class Fade:
    """The sizes at which a correction was learned, and how fast it fades beyond: `rates: (K,)` with their `weights`.

    `tried` are the lowest and highest params, tokens and compute of those sizes; weights sum to 1.
    """

    tried: Mapping[str, tuple[float, float]]
    rates: np.ndarray
    weights: np.ndarray

    @classmethod
    def usual(cls, tried: Mapping[str, tuple[float, float]]) -> Fade:
        """As usual: .143 per decade, give or take a factor of two."""
        return cls(tried, _RATES, _PRIOR / _PRIOR.sum())

    @classmethod
    def learned(cls, observations: Observations, law: Law, process: Process) -> Fade:
        """What a process that was learned on these runs says of it: usual, unless a mix (or what else) has two sizes.

        The weight of a rate is its prior times the likelihood of the runs under the process with its residual
        correlated by exp(-rate·decades) between sizes, the law being open.
        """
        mask = tried_rows(observations, law)
        usual = cls.usual(ranges(observations.take(mask)))
        rows, apart = _between_sizes(observations, mask)
        if apart.max(initial=0.0) < _SIZES_APART:
            return usual
        fit = process.log_likelihoods(rows, (np.exp(-rate * apart) for rate in usual.rates))
        weights = usual.weights * np.exp(fit - fit.max())
        return cls(usual.tried, usual.rates, weights / weights.sum())

    @property
    def rate(self) -> float:
        """e-folds for each decade, the weighted geometric mean."""
        return float(np.exp(self.weights @ np.log(self.rates)))

    def decades(self, columns: Columns) -> np.ndarray:
        """How far from the sizes that were tried each run is, `(n,)`."""
        return extrapolation_decades(dict(self.tried), columns)

    def share(self, decades: np.ndarray) -> np.ndarray:
        """What is left of a correction so far off, by rate: `(K, n)`."""
        return np.exp(-self.rates[:, None] * decades)

    def mean(self, decades: np.ndarray) -> np.ndarray:
        """What is expected to be left of a correction, `(n,)`; 1 where sizes were tried."""
        return np.where(decades > 0, self.weights @ self.share(decades), 1.0)

    def covariance(
        self, decades: np.ndarray, others: np.ndarray, learned: np.ndarray, prior: np.ndarray, mean: np.ndarray
    ) -> np.ndarray:
        """Covariance of faded corrections of n runs and m others, `(n, m)`.

        What is left keeps its own covariance; what faded varies as before anything was learned; and how much is left
        is not known exactly, which all corrections have in common.

        Args:
            decades: From sizes that were tried, `(n,)`.
            others: Those of the others, `(m,)`.
            learned: Covariance of the corrections where sizes were tried, `(n, m)`.
            prior: Their covariance before anything was learned, `(n, m)`.
            mean: Products of their means, `(n, m)`.
        """
        near, far = self.share(decades), self.share(others)
        both = np.einsum("k,kn,km->nm", self.weights, near, far)
        apart = np.abs(decades[:, None] - others)
        alike = sum(weight * np.exp(-rate * apart) for rate, weight in zip(self.rates, self.weights, strict=True))
        unsure = both - np.outer(self.weights @ near, self.weights @ far)
        return both * learned + (alike - both) * prior + unsure * mean

    def variance(self, decades: np.ndarray, learned: np.ndarray, prior: float, mean: np.ndarray) -> np.ndarray:
        """The diagonal of `covariance` of runs with themselves, `(n,)`, from the variances and the means, `(n,)`."""
        share = self.share(decades)
        both = self.weights @ share**2
        return both * learned + (1.0 - both) * prior + (both - (self.weights @ share) ** 2) * mean**2


def tried_rows(observations: Observations, law: Law) -> np.ndarray:
    """The runs in which what a learner learns was varied, a mask `(n,)`.

    Under a law that reads the mix, those whose mix isn't the table's most frequent one (a ladder's, if there is a
    ladder); else all.
    """
    every = np.ones(len(observations), dtype=bool)
    if not law.domains:
        return every
    shares = np.array([observations.columns[f"mix.{domain}"] for domain in law.domains]).T.round(3)
    _, mix, count = np.unique(shares, axis=0, return_inverse=True, return_counts=True)
    return every if count.max() == 1 else mix.ravel() != count.argmax()


def _between_sizes(observations: Observations, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some runs where the mask holds, every size alike, and the decades between their sizes: `(r,)`, `(r, r)`."""
    where = np.flatnonzero(mask)
    sizes = np.log10(np.stack([observations.columns[name][where] for name in ("params", "tokens")]))
    _, size = np.unique((sizes / _SIZES_APART).round(), axis=1, return_inverse=True)
    members = [np.flatnonzero(size.ravel() == number) for number in range(size.max(initial=-1) + 1)]
    most = max(1, _ROWS // max(len(members), 1))
    spread = [
        rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))] for rows in members
    ]
    some = np.sort(np.concatenate([*spread, np.zeros(0, dtype=int)]))
    apart = np.abs(sizes[:, some, None] - sizes[:, None, some]).sum(axis=0)
    return where[some], apart
