"""Bootstraps of a fit: many refits of reweighted runs from the optimum, all at once, and thinning to a size for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..laws import Features
from ._newton import Problem, curvature, minimise

_DRAW_ROWS = 2000  # bootstraps of a larger table resample this many runs: wider, never narrower
_CHUNK = 1_200_000  # numbers in one gradient block, so that it stays in cache


def bootstrap(problem, theta, weights, mean, prior, count, rng, origins):
    """Bayesian bootstrap: Dirichlet weights on the runs and, with a prior, its centre redrawn for each draw."""
    some, w = thin(problem, weights, _DRAW_ROWS)
    n = len(some.log_loss)
    centres = np.broadcast_to(mean, (count, len(mean)))
    if prior is not None:
        centres = centres + prior.spread(problem.law, rng, count)
    bend = curvature(some, theta)
    size = max(1, _CHUNK // (n * len(theta)))
    out = []
    for at in range(0, count, size):
        k = min(size, count - at)
        resampled = _resampled(rng, k, n, origins) * w
        start = np.repeat(theta[None], k, axis=0)
        found, _ = minimise(some, start, resampled, centres[at : at + k], iterations=60, tolerance=1e-5, frozen=bend)
        out.append(found)
    return np.concatenate(out)


def _resampled(rng, count, n, origins) -> np.ndarray:
    """Dirichlet weights of mean 1, `(count, n)`: of each row, or of the training run that it comes from."""
    if origins is None or len(origins) != n:  # a thinned table has few rows of any run
        return rng.dirichlet(np.ones(n), size=count) * n
    runs = int(origins.max()) + 1
    weights = (rng.dirichlet(np.ones(runs), size=count) * runs)[:, origins]
    return weights * (n / weights.sum(axis=1, keepdims=True))


def thin(problem: Problem, weights: np.ndarray, rows: int) -> tuple[Problem, np.ndarray]:
    """The same problem on at most `rows` runs, evenly spread over the order of their losses."""
    n = len(problem.log_loss)
    if n <= rows:
        return problem, weights
    order = np.argsort(problem.log_loss, kind="stable")
    keep = np.sort(order[np.linspace(0, n - 1, rows).round().astype(int)])
    return replace(problem, features=take_rows(problem.features, keep), log_loss=problem.log_loss[keep]), weights[
        keep
    ] * (n / rows)


def take_rows(features: Features, rows) -> Features:
    """The features of some runs: all arrays have the runs along their first axis."""
    return [{key: values[rows] for key, values in block.items()} for block in features]
