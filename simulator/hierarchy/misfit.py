"""Predictions from the posterior of a table: its law's draws, and what neighbouring runs say beyond the law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fitting import Fit
from ..laws import Columns
from .coordinates import LAW, REFERENCE, UNFINISHED, clipped, log_loss, to_law
from .errors import Runs, Spread, misfit_covariance, shared
from .posterior import Component

_SCALE, _FLOOR = 0.8, 0.008
"""Of what a posterior leaves open, and sd of log loss beside it: so chosen, with the sources left out, that errors over
their scale are alike with no run of one's own and with many (benchmarks/few_runs.py)."""
_LEAST_WEIGHT = 0.01  # components that hardly explain the runs get no draws


@dataclass(frozen=True)
class Misfit:
    """How the runs of a table deviate from each draw of its law, and so what is to be expected near them.

    `which: (K,)` numbers the spread of errors that each draw belongs to, `variance: (C, n)` are the runs' own noise
    variances under each spread, and `unfinished: (K,)` what unfinished runs are above finished ones in each draw.
    """

    runs: Runs
    spreads: tuple[Spread, ...]
    variance: np.ndarray
    which: np.ndarray
    unfinished: np.ndarray

    def expected(self, parameters: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """What to add to each draw's law at finished runs.

        Args:
            parameters: The law's parameters of each draw, the core's first, `(K, P)`.
            columns: `params` and `tokens` of the runs to predict, each `(m,)`.

        Returns:
            The expected deviation in log loss `(K, m)`, and the covariance of what stays open `(m, m)`.
        """
        new = {name: np.asarray(columns[name], float) for name in ("params", "tokens")}
        count = len(new["params"])
        deviation = np.zeros((len(parameters), count))
        covariance = np.zeros((count, count))
        residual = self._residuals(parameters)
        for number, spread in enumerate(self.spreads):
            draws = self.which == number
            share = draws.mean()
            if not share:
                continue
            at_new = misfit_covariance(new, new, spread)
            if len(self.runs):
                across = misfit_covariance(new, self.runs.columns, spread)
                gain = across @ np.linalg.inv(shared(self.runs, spread) + np.diag(self.variance[number]))
                deviation[draws] = residual[draws] @ gain.T
                at_new = at_new - gain @ across.T
            covariance += share * at_new
        return deviation, covariance

    @property
    def noise(self) -> float:
        """Standard deviation of a single run's own noise, in log loss."""
        shares = np.bincount(self.which, minlength=len(self.spreads)) / len(self.which)
        return float(np.sqrt(sum(s * spread.noise**2 for s, spread in zip(shares, self.spreads, strict=True))))

    def _residuals(self, parameters: np.ndarray) -> np.ndarray:
        """Log loss of the runs less each draw's law, `(K, n)`."""
        if not len(self.runs):
            return np.zeros((len(parameters), 0))
        features = LAW.prepare(self.runs.columns, REFERENCE)
        by_law = np.log(LAW.loss(parameters[:, :UNFINISHED], features))
        return self.runs.log_loss - by_law - self.unfinished[:, None] * self.runs.unfinished


def deviations(runs: Runs, theta: np.ndarray, spread: Spread, variance: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What is to be expected beyond one law, `theta: (7,)`, at the sizes of the runs at `places`, in log loss."""
    there = runs.take(places)
    residual = runs.log_loss - log_loss(theta[None], runs.columns, runs.unfinished)[0]
    across = misfit_covariance(there.columns, runs.columns, spread)
    return across @ np.linalg.solve(shared(runs, spread) + np.diag(variance), residual)


def predicted(fit: Fit, misfit: Misfit, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Log loss of finished runs `(m,)`: the median over a fit's draws, and the covariance of its error `(m, m)`.

    A single run's own noise is left out.
    """
    deviation, covariance = misfit.expected(fit.draws, columns)
    values = fit.log_loss_draws(columns) + deviation
    centre = np.median(values, axis=0)
    off = values - centre
    return centre, covariance + off.T @ off / len(off)


def posterior_scale(covariance: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """What n runs share of their errors `(n, n)`, and the s of each error as a whole `(n,)`, in log loss."""
    shared = _SCALE**2 * covariance
    return shared, np.sqrt(np.diag(shared) + _FLOOR**2 + noise**2)


def drawn(
    components: list[Component], runs: Runs, count: int, seed: int, support: Runs | None = None
) -> tuple[np.ndarray, Misfit]:
    """Draws of the law's parameters `(K, 6)` from a posterior, each spread's in proportion to its weight.

    Args:
        components: The posterior.
        runs: The runs that it rests on.
        count: How many draws to make, about.
        seed: Seed of the draws.
        support: Stands in for runs that the prior knows already: what neighbours show beyond its law.
    """
    rng = np.random.default_rng(seed)
    spreads = tuple(dict.fromkeys(component.spread for component in components))
    variance = np.zeros((len(spreads), len(runs)))
    total = sum(component.weight for component in components if component.weight >= _LEAST_WEIGHT)
    blocks, which = [], []
    for component in components:
        if component.weight < _LEAST_WEIGHT:
            continue
        number = spreads.index(component.spread)
        size = max(1, round(count * component.weight / total))
        blocks.append(_stratified(component, size, rng))
        which.append(np.full(size, number))
        variance[number] = component.variance
    theta = clipped(np.concatenate(blocks))
    if support is not None and not len(runs):
        runs = support
        variance = np.array([support.variance(spread) for spread in spreads])
    misfit = Misfit(runs, spreads, variance, np.concatenate(which), theta[:, UNFINISHED])
    return to_law(theta), misfit


def _stratified(component: Component, size: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian draws `(size, 7)` in pairs around the mean, so that their mean is the component's own."""
    belief = component.belief
    root = np.linalg.cholesky(belief.covariance + 1e-12 * np.eye(len(belief.mean)))
    half = rng.standard_normal(((size + 1) // 2, len(belief.mean)))
    return belief.mean + np.concatenate([half, -half])[:size] @ root.T
