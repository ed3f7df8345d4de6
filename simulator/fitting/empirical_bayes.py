"""Learn a prior across run tables: how a law's unit-free shape varies from one table to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..laws import Law
from .backtest import fit_observations
from .observations import Observations
from .prior import SHAPE, LawPrior

_ROUNDS = 5
_DRAWS = 48
_SHRINK = 0.3  # correlations are pulled this far towards zero: a handful of sources can't tell ten of them
_WIDE = LawPrior("wide", np.array([-0.6, 0.0, 0.33, 0.33, -0.3]), np.diag(np.array([1.0, 1.5, 0.15, 0.15, 0.6]) ** 2))


def learn_prior(
    law: Law, tables: Mapping[str, Sequence[Observations]], *, seed: int = 0, provenance: Mapping | None = None
) -> LawPrior:
    """Empirical Bayes by expectation-maximisation. `tables` maps a source to its tables; each source counts once.

    Every round fits each table under the current prior (the draws give its remaining uncertainty) and then sets the
    prior to the mean and covariance of the shapes between tables, remaining uncertainty included.
    """
    fitted = [(1.0 / len(group), table) for group in tables.values() for table in group]
    share = np.array([weight for weight, _ in fitted])
    share /= share.sum()
    sources = len(tables)
    prior = _WIDE
    columns = [law.names.index(name) for name in SHAPE]
    for _ in range(_ROUNDS):
        fits = [fit_observations(law, table, prior, draws=_DRAWS, seed=seed) for _, table in fitted]
        shapes = np.array([fit.theta[columns] for fit in fits])
        within = np.array([np.cov(fit.draws[:, columns].T) for fit in fits])
        mean = share @ shapes
        distance = shapes - mean
        # n + 1 over n - 1: the spread of a new table around a mean that is itself estimated from n sources
        between = np.einsum("i,ij,ik->jk", share, distance, distance) * (sources + 1) / max(sources - 1, 1)
        prior = LawPrior("public", mean, _shrunk(between + np.einsum("i,ijk->jk", share, within)), provenance or {})
    return prior


def _shrunk(covariance: np.ndarray) -> np.ndarray:
    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)
    correlation = (1 - _SHRINK) * correlation + _SHRINK * np.eye(len(spread))
    return correlation * np.outer(spread, spread)
