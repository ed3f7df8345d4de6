"""Predictions from the posterior of a table: draws of its law, and what no law says of runs beside those it rests on.

How a table deviates from its law at its largest run is added to the level of every draw. It isn't let go again further
out, as a process would: then more tokens could raise a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..fitting import Fit
from ..laws import Columns
from .coordinates import LEVEL, clipped, log_loss, to_law
from .errors import Runs, Spread, misfit_covariance, shared
from .posterior import Component

_SCALE, _FLOOR = 0.8, 0.008
"""Of what a posterior leaves open, and sd of log loss beside it: so chosen, with the sources left out, that errors over
their scale are alike with no run of one's own and with many (benchmarks/known_corpora.py)."""
_LEAST_WEIGHT = 0.01  # components that hardly explain the runs get no draws


@dataclass(frozen=True)
class Misfit:
    """What stays open of runs beside those of a table, however well its law is known.

    `shares: (C,)` are the weights of the spreads of errors, `variance: (C, n)` the runs' noise variances under each.
    """

    runs: Runs
    spreads: tuple[Spread, ...]
    shares: np.ndarray
    variance: np.ndarray

    def covariance(self, columns: Columns) -> np.ndarray:
        """Covariance of the deviations from the law at finished runs, in log loss `(m, m)`.

        Args:
            columns: `params` and `tokens` of the runs, each `(m,)`.
        """
        new = {name: np.asarray(columns[name], float) for name in ("params", "tokens")}
        found = np.zeros((len(new["params"]), len(new["params"])))
        for spread, share, known in zip(self.spreads, self.shares, self._known, strict=True):
            open_there = misfit_covariance(new, new, spread)
            if len(self.runs):
                across = misfit_covariance(new, self.runs.columns, spread)
                open_there -= across @ np.linalg.solve(known, across.T)
            found += share * open_there
        return found

    @cached_property
    def _known(self) -> list[np.ndarray]:
        """Covariance of the runs' own deviations under each spread, `(n, n)`; the same for every forecast."""
        each = zip(self.spreads, self.variance, strict=True)
        return [shared(self.runs, spread) + np.diag(variance) for spread, variance in each]

    @property
    def noise(self) -> float:
        """Standard deviation of a single run's own noise, in log loss."""
        squares = [share * spread.noise**2 for share, spread in zip(self.shares, self.spreads, strict=True)]
        return float(np.sqrt(sum(squares)))


def predicted(fit: Fit, misfit: Misfit, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Predict finished runs from a posterior; a single run's own noise is left out of the error.

    Args:
        fit: The draws of the law.
        misfit: What stays open beside them.
        columns: Columns of the runs, each `(m,)`.

    Returns:
        Log loss, the mean of the middle half of the draws at each run (nearly their median, but smooth over runs),
        `(m,)`, and the covariance of its error, `(m, m)`.
    """
    values = fit.log_loss_draws(columns)
    quarter = len(values) // 4
    centre = np.sort(values, axis=0)[quarter : len(values) - quarter].mean(axis=0)
    off = values - centre
    return centre, misfit.covariance(columns) + off.T @ off / len(off)


def posterior_scale(covariance: np.ndarray, noise: float, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """What n runs share of their errors `(n, n)`, and the s of each error as a whole `(n,)`, in log loss.

    Args:
        covariance: What the posterior leaves open of the runs, `(n, n)`.
        noise: Standard deviation of a single run's own noise.
        columns: `params` and `tokens` of the runs, each `(n,)`.

    Returns:
        The covariance of the common part, `(n, n)`, and the whole scale, `(n,)`, above the root of its diagonal.
    """
    sizes = {name: np.asarray(columns[name], float) for name in ("params", "tokens")}
    common = _SCALE**2 * covariance + misfit_covariance(sizes, sizes, Spread(noise, _FLOOR))
    return common, np.sqrt(np.diag(common) + noise**2)


def drawn(components: list[Component], runs: Runs, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, Misfit]:
    """The law of a posterior and draws of it, with the deviation at the largest run in their levels.

    Args:
        components: The posterior.
        runs: The runs that it rests on; there may be none.
        count: How many draws to make, about.
        seed: Seed of the draws.

    Returns:
        The mean of the law's parameters `(6,)`, the draws `(K, 6)`, and what stays open beside them.
    """
    rng = np.random.default_rng(seed)
    kept = [component for component in components if component.weight >= _LEAST_WEIGHT]
    total = sum(component.weight for component in kept)
    spreads = tuple(dict.fromkeys(component.spread for component in kept))
    shares = np.zeros(len(spreads))
    variance = np.zeros((len(spreads), len(runs)))
    blocks = []
    for component in kept:
        number = spreads.index(component.spread)
        shares[number] += component.weight / total
        variance[number] = component.variance
        theta = _in_pairs(component, max(2, round(count * component.weight / total)), rng)
        theta[:, LEVEL] += deviation(runs, theta, component.spread, component.variance)
        blocks.append(theta)
    theta = clipped(np.concatenate(blocks))
    mean = to_law(theta.mean(axis=0)[None])[0]
    # in single precision, as they are stored, so that a predictor that was saved answers as before
    return mean, to_law(theta).astype(np.float32).astype(float), Misfit(runs, spreads, shares, variance)


def deviation(runs: Runs, theta: np.ndarray, spread: Spread, variance: np.ndarray) -> np.ndarray:
    """What is to be expected beyond each law at the largest finished run, in log loss `(K,)`. `theta: (K, 7)`."""
    if not len(runs):
        return np.zeros(len(theta))
    finished = runs.unfinished == runs.unfinished.min()
    largest = runs.take(np.flatnonzero(finished)[[np.argmax(runs.compute[finished])]])
    residual = runs.log_loss - log_loss(theta, runs.columns, runs.unfinished)
    across = misfit_covariance(runs.columns, largest.columns, spread)
    return (residual @ np.linalg.solve(shared(runs, spread) + np.diag(variance), across))[:, 0]


def _in_pairs(component: Component, size: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian draws `(size, 7)` in pairs around the mean, so that their mean is the component's own."""
    belief = component.belief
    root = np.linalg.cholesky(belief.covariance + 1e-12 * np.eye(len(belief.mean)))
    half = rng.standard_normal(((size + 1) // 2, len(belief.mean)))
    return belief.mean + np.concatenate([half, -half])[:size] @ root.T
