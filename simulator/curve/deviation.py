"""The covariance of a run's deviations from its law.

It is the sum of a Brownian motion in log progress, by which the forecast widens with the part still to come; a
short-range term for the correlation of neighbouring points; and slow noise that a job may have (a drifting corpus,
smoothed logs), weighted by its marginal likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rates.changes import loose_parts
from .rates.path import RatePath

SHORT = (1e-3, 0.1)
"""Deviation that every run has: 0.1 % of the loss, over a tenth of log progress (public curves)."""
SLOW_NOISE = tuple((sd, reach) for sd in (1.5e-3, 3e-3, 6e-3, 1.2e-2) for reach in (0.01, 0.03, 0.08))
"""Autocorrelated noise that a job may have on top: sd of log loss and length as a share of the planned steps."""
_OPTIONS = tuple((sd, reach, white) for sd, reach in SLOW_NOISE for white in (1.0, 0.3))
_LATEST = 80  # points from which the slow noise is estimated
_RELUCTANCE = 3.0  # nats of evidence that a job must show before it is taken to have slow noise
_FAINT = 3e-4  # slow noise below this is none
_ROOM = 0.5  # log progress between the Brownian path's start and the first point


@dataclass(frozen=True)
class Deviation:
    """`drift`: sd of log loss while progress grows e-fold; `slow_sd`, `slow_reach`: see SLOW_NOISE."""

    drift: float
    slow_sd: float = 0.0
    slow_reach: float = 0.02
    origin: float = 0.0
    """Log progress at which the Brownian path starts."""

    def kernel(self, a: Times, b: Times) -> np.ndarray:
        """Covariance between two sets of times: `(len(a), len(b))`."""
        x, y = a.progress[:, None], b.progress[None]
        short_sd, short_reach = SHORT
        total = self.drift**2 * np.maximum(np.minimum(x, y) - self.origin, 0.0)
        total += short_sd**2 * np.exp(-np.abs(x - y) / short_reach)
        if self.slow_sd:
            total += self.slow_sd**2 * np.exp(-np.abs(a.share[:, None] - b.share[None]) / self.slow_reach)
        return total + a.loose @ b.loose.T if a.loose.shape[1] else total

    def whitener(self, at: Times, spread: np.ndarray) -> np.ndarray:
        """Inverse Cholesky factor `(n, n)` of the points' covariance; `spread: (n,)` is their white noise."""
        return _inverse_factor(self.kernel(at, at) + np.diag(spread**2))


@dataclass(frozen=True)
class Times:
    """Times of points on two scales: log progress, and share of the planned steps, `(n,)` each.

    `loose: (n, J)` is what planned changes before them may have moved, see `rates.changes`.
    """

    progress: np.ndarray
    share: np.ndarray
    loose: np.ndarray

    @classmethod
    def of(cls, path: RatePath, step: np.ndarray) -> Times:
        """Progress is half peak steps and half plain ones, so that it never stands still."""
        step = np.asarray(step, dtype=float)
        progress = np.log(np.maximum(0.5 * path.behind(step) + 0.5 * step, 1.0))
        return cls(progress, step / path.steps, loose_parts(path.changes, step, path.steps))

    def take(self, some: slice) -> Times:
        """Some of them."""
        return Times(self.progress[some], self.share[some], self.loose[some])

    def usual(self, drift: float) -> Deviation:
        """Deviation of a run without slow noise, for points at these times."""
        return Deviation(drift, origin=float(self.progress[0]) - _ROOM)


def weigh(
    at: Times, spread: np.ndarray, residual: np.ndarray, jac: np.ndarray, sd: np.ndarray, drift: float
) -> tuple[Deviation, float]:
    """Estimate the slow noise of a job: levels of it are averaged by their marginal likelihood.

    Args:
        at: Times of the points.
        spread: Sd of each point's noise in log loss, `(n,)`.
        residual: Residuals of log loss, `(n,)`, where the law was linearised.
        jac: Derivatives there by the law's parameters, `(n, P)`, which are integrated out as Gaussian.
        sd: Prior sd of the parameters, `(P,)`.
        drift: Sd of log loss while progress grows e-fold.

    Returns:
        The deviation with slow noise, and the share of `spread` that is white noise beside it.
    """
    usual, last = at.usual(drift), slice(-_LATEST, None)
    some = at.take(last)
    own, white = usual.kernel(some, some), spread[last] ** 2
    distance = np.abs(some.share[:, None] - some.share[None])
    scores = [_evidence(own + np.diag(white), residual[last], jac[last], sd) + _RELUCTANCE]
    for size, reach, share in _OPTIONS:
        covariance = own + size**2 * np.exp(-distance / reach) + np.diag(share**2 * white)
        scores.append(_evidence(covariance, residual[last], jac[last], sd))
    weight = np.exp(np.array(scores) - max(scores))
    weight /= weight.sum()
    sizes, reaches, shares = np.array(_OPTIONS).T
    variance = float(weight[1:] @ sizes**2)
    if variance < _FAINT**2:
        return usual, 1.0
    reach = float(np.exp((weight[1:] * sizes**2) @ np.log(reaches) / variance))
    share = float(np.sqrt(weight[0] + weight[1:] @ shares**2))
    return Deviation(drift, float(np.sqrt(variance)), reach, usual.origin), share


def _evidence(covariance: np.ndarray, residual: np.ndarray, jac: np.ndarray, sd: np.ndarray) -> float:
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, np.column_stack([residual, jac * sd]))
    r, j = white[:, 0], white[:, 1:]
    hessian = j.T @ j + np.eye(len(sd))
    pull = j.T @ r
    log_det = -np.log(np.diag(factor)).sum() - 0.5 * np.linalg.slogdet(hessian)[1]
    return float(log_det - 0.5 * (r @ r - pull @ np.linalg.solve(hessian, pull)))


def _inverse_factor(covariance: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.linalg.cholesky(covariance))
