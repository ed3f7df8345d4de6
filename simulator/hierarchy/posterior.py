"""What some runs say about the law of their table, given what tables are like: a Gaussian for each spread of errors.

Gauss-Newton finds the most probable coordinates, their curvature gives the covariance (Laplace), and the evidence
weighs the spreads against each other. With no runs at all the answer is the prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .coordinates import LEVEL, SIZE, UNFINISHED, clipped, linearised
from .errors import FREEDOM, NOISY, SPREADS, Runs, Spread, shared

_ROUNDS = 4  # of reweighting: runs far off their neighbours count less
_STEPS = 25
_TOLERANCE = 1e-7
WIDE = 1.7
"""How much wider than usual the shapes of tables may be spread, with the chance below: their spread is an estimate."""
_WIDE_CHANCE = 0.3
_LOG_NOISY = np.log(0.02)
_FEWEST_FOR_NOISE = 8  # fewer runs can't show that they aren't of one recipe


@dataclass(frozen=True)
class Belief:
    """A Gaussian over the coordinates of a table: mean `(7,)`, covariance `(7, 7)`."""

    mean: np.ndarray
    covariance: np.ndarray

    def widened(self, factor: float) -> Belief:
        """The same with the spread of all but the level times `factor`."""
        stretch = np.full(SIZE, factor)
        stretch[LEVEL] = 1.0
        stretch[UNFINISHED] = 1.0
        return Belief(self.mean, self.covariance * np.outer(stretch, stretch))


@dataclass(frozen=True)
class Summary:
    """What runs say by themselves, to second order: exp(-½ θᵀ·information·θ + θᵀ·vector)."""

    information: np.ndarray
    vector: np.ndarray


@dataclass(frozen=True)
class Component:
    """The posterior under one spread of errors: its Gaussian, its weight, and the runs' noise variances `(n,)`."""

    belief: Belief
    spread: Spread
    weight: float
    variance: np.ndarray


def posterior(runs: Runs, prior: Belief, spreads: Sequence[Spread] | None = None) -> list[Component]:
    """The posterior of a table's coordinates as a mixture over spreads of errors and of shapes.

    Args:
        runs: The table's runs; there may be none.
        prior: What is believed of the table without them.
        spreads: The spreads of errors to weigh; by default all that explain tables.

    Returns:
        Components whose weights sum to 1.

    >>> from foretrain.simulator.hierarchy.labels import describe
    >>> from foretrain.simulator.hierarchy.shipped import population
    >>> prior = population().expected(describe("fineweb", "llama2"))
    >>> run = Runs.finished(np.array([1e9]), np.array([2e10]), np.log([2.9]))
    >>> before, after = (posterior(runs, prior)[0].belief.covariance for runs in (Runs.none(), run))
    >>> bool(after[LEVEL, LEVEL] < before[LEVEL, LEVEL])
    True
    """
    if spreads is None:
        spreads = (*SPREADS, *NOISY) if len(runs) >= _FEWEST_FOR_NOISE else SPREADS
    found, logs = [], []
    for factor, chance in ((1.0, 1.0 - _WIDE_CHANCE), (WIDE, _WIDE_CHANCE)):
        widened = prior.widened(factor)
        for spread in spreads:
            belief, _, evidence, variance = most_probable(runs, widened, spread)
            found.append((belief, spread, variance))
            logs.append(evidence + np.log(chance) + (_LOG_NOISY if spread in NOISY else 0.0))
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    return [Component(b, s, float(w), v) for (b, s, v), w in zip(found, weights, strict=True)]


def most_probable(runs: Runs, prior: Belief, spread: Spread) -> tuple[Belief, Summary, float, np.ndarray]:
    """The most probable coordinates of a table and their covariance under one spread of errors.

    Args:
        runs: The table's runs; with none, the prior comes back.
        prior: What is believed of the table without them.
        spread: How large noise and misfit are.

    Returns:
        The Gaussian, what the runs say by themselves around it, the log evidence, and the noise variance of each run
        `(n,)` with far-off runs counted less.
    """
    if len(runs) == 0:
        nothing = Summary(np.zeros((SIZE, SIZE)), np.zeros(SIZE))
        return prior, nothing, 0.0, np.zeros(0)
    precision = np.linalg.inv(prior.covariance)
    common = shared(runs, spread)
    base = runs.variance(spread)
    weight = np.ones(len(runs))
    theta = _start(runs, prior)
    for _ in range(_ROUNDS):
        inverse, _ = _inverse(common + np.diag(base / weight))
        theta, residual, slope = _descend(runs, theta, prior.mean, precision, inverse)
        # the part of the residual that is the run's own, once neighbours have said what is shared
        own = (base / weight) * (inverse @ residual)
        weight = (FREEDOM + 1.0) / (FREEDOM + own**2 / base)
        weight = np.minimum(weight, 1.0)
    variance = base / weight
    inverse, half_log_determinant = _inverse(common + np.diag(variance))
    theta, residual, slope = _descend(runs, theta, prior.mean, precision, inverse)
    solved = inverse @ slope
    information = slope.T @ solved
    vector = solved.T @ (residual + slope @ theta)
    covariance = np.linalg.inv(information + precision)
    covariance = 0.5 * (covariance + covariance.T)
    off = theta - prior.mean
    evidence = -0.5 * residual @ inverse @ residual - half_log_determinant
    evidence += -0.5 * off @ precision @ off
    evidence += 0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * np.linalg.slogdet(prior.covariance)[1]
    # the density of the weights themselves, Gamma(ν/2, ν/2): otherwise every far-off run would be excused for free
    evidence += float(np.sum((0.5 * FREEDOM) * (np.log(weight) - weight + 1.0)))
    return Belief(theta, covariance), Summary(information, vector), float(evidence), variance


def _start(runs: Runs, prior: Belief) -> np.ndarray:
    """The prior's mean with the level that the runs have."""
    theta = prior.mean.copy()
    value, _ = linearised(theta, runs.columns, runs.unfinished)
    theta[LEVEL] += np.median(runs.log_loss - value)
    return clipped(theta)


def _inverse(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """The inverse of a covariance `(n, n)`, and half the log of its determinant."""
    root = np.linalg.cholesky(covariance)
    return np.linalg.inv(covariance), float(np.log(np.diag(root)).sum())


def _descend(
    runs: Runs, theta: np.ndarray, mean: np.ndarray, precision: np.ndarray, inverse: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Damped Gauss-Newton from `theta`: the optimum, the residuals and the derivatives there."""
    damping = 1e-3

    def objective(at):
        value, slope = linearised(at, runs.columns, runs.unfinished)
        residual = runs.log_loss - value
        solved = inverse @ residual
        off = at - mean
        return 0.5 * residual @ solved + 0.5 * off @ precision @ off, residual, slope, solved

    best, residual, slope, solved = objective(theta)
    for _ in range(_STEPS):
        gradient = slope.T @ solved - precision @ (theta - mean)
        curvature = slope.T @ inverse @ slope + precision
        while True:
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            trial = clipped(theta + step)
            value, r, s, v = objective(trial)
            if value <= best or damping > 1e6:
                break
            damping *= 10.0
        if not value <= best:
            break
        gained = best - value
        theta, best, residual, slope, solved = trial, value, r, s, v
        damping = max(damping / 10.0, 1e-9)
        if gained < _TOLERANCE * (1.0 + abs(best)):
            break
    return theta, residual, slope
