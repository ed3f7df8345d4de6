"""What data and prior leave open, near the optimum: a Gaussian instead of hundreds of refits.

For laws with a worth for each of many domains, bootstraps are too slow, and their Gauss-Newton approximation is close:
with g_i the gradient of log L at run i, σ the noise, w_i the weights and Λ the prior's precision,

    A = Σ w_i·g_i·g_iᵀ/σ² + Λ        cov = A⁻¹·(Σ w_i²·g_i·g_iᵀ/σ² + Λ)·A⁻¹

is the covariance of optima over resampled runs and redrawn prior centres. With equal weights it is A⁻¹, the posterior.
Where rows are points of runs, Σ w_i²·g_i·g_iᵀ becomes Σ_r (Σ_i∈r w_i·g_i)(Σ_i∈r w_i·g_i)ᵀ: the points of a run share
its luck, so any number of them tells what one does (a sandwich clustered by run; Liang & Zeger 1986).
What such draws predict is linear in them too: the valley of good fits bends (strength times exponent is known, each of
them is not), and steps along its tangent that leave it would look like ignorance of the loss.

The same Gaussian says how wide levels of a category are spread, see `spread_centres`.
"""

from __future__ import annotations

import numpy as np

from ..laws import Law

_SD_PER_MEAN = 1.2533  # sd of a normal whose mean absolute value is 1
_MANY = 16
_SLACK = 0.99  # as far out as a predictor's file may state draws
_LEAST_CURVATURE = 1e-10  # directions flatter than this share of the steepest are open: neither runs nor prior see them


def has_gaussian_draws(law: Law) -> bool:
    """Are the draws of this law Gaussian? With a mix and more than 16 free parameters; others are bootstrapped."""
    return bool(law.domains) and int(law.free.sum()) > _MANY


def laplace(
    law: Law,
    grad: np.ndarray,
    weights: np.ndarray,
    noise: float,
    precision: np.ndarray,
    origins: np.ndarray | None = None,
    heavier: float = 1.0,
) -> np.ndarray:
    """The covariance `(P, P)` above, zero where parameters are fixed or where nothing bends the objective.

    Args:
        law: The law.
        grad: Gradient of log L, `(P, n)`.
        weights: Weight of each row, `(n,)`, of mean 1.
        noise: Mean absolute residual of log loss.
        precision: The prior's, `(P, P)`, as it enters the objective.
        origins: Numbers the training run of each row, `(n,)`; None where every row is a run of its own.
        heavier: How many times the prior's own precision that is: the rows for each run that they are worth.
    """
    at = np.ix_(law.free, law.free)
    g = grad[law.free] / (_SD_PER_MEAN * noise)
    prior = precision[at]
    inverse = np.linalg.pinv((g * weights) @ g.T + prior, rcond=_LEAST_CURVATURE, hermitian=True)
    score = g * weights
    if origins is not None:
        by_run = np.zeros((len(g), int(origins.max()) + 1))
        np.add.at(by_run.T, origins, score.T)
        score = by_run
    out = np.zeros_like(precision)
    out[at] = inverse @ (score @ score.T + heavier * prior) @ inverse
    return out


def gaussian_draws(
    law: Law, theta: np.ndarray, covariance: np.ndarray, rng: np.random.Generator, count: int
) -> np.ndarray:
    """`count` parameter vectors `(count, P)` around `theta: (P,)`, on its tangent: at most 1 outside the law's box."""
    values, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))
    lower, upper = law.box()
    moved = np.clip(theta + rng.standard_normal((count, len(theta))) @ factor.T, lower - _SLACK, upper + _SLACK)
    return np.where(law.free, moved, theta)


def spread_centres(
    law: Law,
    theta: np.ndarray,
    grad: np.ndarray,
    weights: np.ndarray,
    noise: float,
    mean: np.ndarray,
    shape: np.ndarray,
) -> np.ndarray:
    """The prior's centre at which the optimum has the most likely spreads of `law.spreads`, `(P,)`.

    Where effects τ·z_v are found together with τ, the optimum's τ is too large: a wide prior of τ·z costs nothing. What
    is lacking there is -½ log det H, with H the precision of all else (Laplace's approximation, Tierney & Kadane 1986).
    Its derivative by log τ is -Σ_v (1 - h_v), with h_v the variance that the runs leave to z_v, 1 where they say
    nothing of it. A Gaussian log τ of variance s² feels that as its centre moved by -s²·Σ_v (1 - h_v).

    Args:
        law: The law.
        theta: Its optimum, `(P,)`.
        grad: Gradient of log L there, `(P, n)`.
        weights: Weight of each row, `(n,)`, of mean 1.
        noise: Mean absolute residual of log loss.
        mean: The prior's centre, `(P,)`.
        shape: Its precision as it enters the objective, `(P, P)`.
    """
    centre = mean.copy()
    spreads = [spread for spread, _ in law.spreads]
    others = np.flatnonzero(law.free & ~np.isin(np.arange(len(theta)), spreads))
    g = grad[others] / (_SD_PER_MEAN * noise)
    inverse = np.linalg.pinv((g * weights) @ g.T + shape[np.ix_(others, others)], _LEAST_CURVATURE, hermitian=True)
    left_open = dict(zip(others.tolist(), np.diag(inverse), strict=True))
    for spread, places in law.spreads:
        known = sum(1.0 - min(max(left_open.get(place, 1.0), 0.0), 1.0) for place in places)
        centre[spread] -= known / shape[spread, spread]
    return centre
