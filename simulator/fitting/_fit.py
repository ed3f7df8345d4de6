"""Fit one law to one target: starts, robust Newton, the prior's weight from the noise, and draws of the parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import FitError
from ..laws import (
    CAPACITY,
    LEVEL,
    LOG_GAMMA,
    PARAMS_EXPONENT,
    REDUCIBLE,
    TOKENS_EXPONENT,
    Columns,
    Features,
    Law,
    Reference,
)
from ._bootstrap import bootstrap, take_rows, thin
from ._laplace import gaussian_draws, has_gaussian_draws, laplace, spread_centres
from ._newton import DELTA, Problem, minimise
from .prior import LawPrior

_CONTINUATION = (0.1, 0.01)  # Huber thresholds before DELTA: far starts see a smooth objective first
_START_ROWS = 2000  # starts are compared on at most this many runs, spread over compute
_FULL_WEIGHT_EFFECT = 2e-3  # a term's effect on log loss that halves a run's weight; see benchmarks/extrapolation.py
_USUAL_NOISE = 5e-3  # what residuals are like across the public tables
_USUAL_RUNS = 2.0  # and how many runs that is worth
_MIXED_DELTA = 1e-2  # widest Huber threshold of laws that read the mix, see _settle
_SPREAD_ROUNDS = 6  # halfway each: what runs say of a spread follows from the spread
_BLOCK = 8_000_000  # numbers in one block of shares × draws × runs
_NOISE_FLOOR = 1e-3  # no table is fitted closer than 0.1 %: the repeat-run noise of well-kept ladders (OLMo ladder C4)


@dataclass(frozen=True)
class Fit:
    """A fitted law. `theta: (P,)` is the optimum, `draws: (K, P)` what the data and the prior leave open.

    Draws of a law with many worths are Gaussian and belong to the tangent at the optimum (see `_laplace`).
    """

    law: Law
    reference: Reference
    theta: np.ndarray
    draws: np.ndarray
    noise: float
    """Mean absolute residual of log loss, corrected for the number of free parameters."""
    objective: float
    """Weighted Huber sum at the optimum, without the prior."""

    def log_loss(self, columns: Columns) -> np.ndarray:
        """Log of the predicted loss, `(n,)`."""
        features = self.law.prepare(columns, self.reference)
        return np.log(self.law.loss(self.theta[None], features)[0])

    def distance_from_tuned(self, columns: Columns) -> np.ndarray:
        """How far repeats or a wrong learning rate move each run's log loss, in absolute value `(n,)`."""
        features = self.law.prepare(columns, self.reference)
        return distance_from_tuned(self.law, self.theta, features)

    def log_loss_draws(self, columns: Columns) -> np.ndarray:
        """Log of the predicted loss for every draw, `(K, n)`."""
        if has_gaussian_draws(self.law):
            return self.log_loss(columns) + (self.draws - self.theta) @ self.log_loss_gradient(columns)
        features = self.law.prepare(columns, self.reference)
        n = len(features[0]["x"])
        numbers_per_run = len(self.draws) * (1 + len(self.law.domains))
        size = max(1, _BLOCK // numbers_per_run)
        parts = []
        for start in range(0, n, size):
            block = take_rows(features, slice(start, start + size))
            parts.append(np.log(self.law.loss(self.draws, block)))
        return np.concatenate(parts, axis=1)

    def log_loss_gradient(self, columns: Columns) -> np.ndarray:
        """Derivative of log loss by the law's parameters at the optimum, `(P, n)`; zero for fixed ones."""
        features = self.law.prepare(columns, self.reference)
        value, grad = self.law.loss(self.theta[None], features, gradient=True)
        return grad[0] / value[0]

    def covariance(
        self, columns: Columns, weights: np.ndarray | None = None, prior: LawPrior | None = None
    ) -> np.ndarray:
        """Covariance `(P, P)` of the parameters, in the law's coordinates, after runs like `columns` (see `laplace`).

        With the columns, weights and prior of the fit itself this is what its draws stand for; with further runs, what
        a fit on those too would leave open. The variance of log loss elsewhere is gᵀ·cov·g with `log_loss_gradient`.

        Args:
            columns: Columns of the runs, each `(n,)`.
            weights: Weight of each run, `(n,)`; equal ones by default.
            prior: The prior of the parameters, if there is one.
        """
        features = self.law.prepare(columns, self.reference)
        n = len(features[0]["x"])
        if weights is None:
            weights = np.ones(n)
        trusted = weights * _weight(self.law, self.theta, features)
        precision = np.zeros((len(self.theta), len(self.theta)))
        if prior is not None:
            _, precision = prior.for_law(self.law, self.reference)
        gradient = self.log_loss_gradient(columns)
        return laplace(self.law, gradient, trusted * (n / trusted.sum()), self.noise, precision)


def fit_law(
    law: Law,
    columns: Columns,
    loss: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    prior: LawPrior | None = None,
    draws: int = 0,
    seed: int = 0,
    origins: np.ndarray | None = None,
    runs: float | None = None,
) -> Fit:
    """Fit a law to runs. No starting point is needed.

    Without `prior`, this is the plain robust fit. With one, the prior is weighed against the runs by their residual
    noise, and `draws` are bootstraps with the prior's centre redrawn each time, so that what the runs can't tell
    stays as wide as the prior.

    Args:
        law: The law.
        columns: Columns of the runs, each `(n,)`.
        loss: Loss of the runs, nats, `(n,)`.
        weights: Weight of each run, `(n,)`; equal ones by default.
        prior: The prior of the parameters.
        draws: How many draws of the parameters to make.
        seed: Seed of the draws.
        origins: Numbers the training run of each row, `(n,)`. Rows of one training run share its luck, so a bootstrap
            resamples runs rather than rows.
        runs: How many runs all rows together count as against the prior; one each by default.

    Raises:
        FitError: Something in the runs can't be fitted.
    """
    log_loss, weights = _checked(law, columns, loss, weights)
    reference = law.reference(columns)
    features = law.prepare(columns, reference)

    dims = len(law.parameters)
    mean, shape = np.zeros(dims), np.zeros((dims, dims))
    heavier = 1.0 if runs is None else len(log_loss) / runs
    if prior is not None:
        mean, shape = prior.for_law(law, reference)
        shape = shape * heavier
    delta = _MIXED_DELTA if law.domains else DELTA
    problem = Problem(law, features, log_loss, np.zeros((dims, dims)), delta)
    theta, trusted, noise, mean = _settle(problem, weights, mean, shape, prior)

    final = trusted * (len(log_loss) / trusted.sum())
    residual, gradient = problem.linearise(theta[None])
    objective = problem.objective(residual, theta[None], final[None], mean=theta[None])[0]  # a prior is 0 at its mean

    drawn = theta[None]
    if draws:
        rng = np.random.default_rng(seed)
        if has_gaussian_draws(law):
            covariance = laplace(law, gradient[0], final, noise, shape, origins, heavier)
            drawn = gaussian_draws(law, theta, covariance, rng, draws)
        else:
            drawn = bootstrap(problem, theta, final, mean, prior, draws, rng, origins)
    return Fit(law, reference, theta, drawn, noise, float(objective))


def _settle(
    problem: Problem, weights: np.ndarray, mean: np.ndarray, shape: np.ndarray, prior: LawPrior | None
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Fit, then again with what the fit says of the noise (how heavy the prior is) and of how far runs stray.

    Laws of size and tokens miss by 0.1 to 0.5 %, laws of the mix by 1 to 2 %: there Huber's threshold is set at the
    noise, because absolute deviations waste a third of such runs and a few dozen is all there are.

    Returns:
        The optimum `(P,)`, the weight of each run `(n,)`, the noise, and the prior's centre `(P,)`: as given, but for
        spreads that parameters share.
    """
    law = problem.law
    shared = prior is not None and bool(law.spreads)
    given = mean
    if shared:
        rounds = _SPREAD_ROUNDS
    elif prior is not None:
        rounds = 2
    elif any(term.deviates for term in law.terms):
        rounds = 1
    else:
        rounds = 0

    problem.precision = shape * (problem.delta * _USUAL_NOISE)
    theta = _optimum(problem, weights, mean, prior)
    for _ in range(rounds):
        trusted = weights * _weight(law, theta, problem.features)
        noise = _noise(problem, theta, trusted)
        problem.delta = min(noise, _MIXED_DELTA) if law.domains else DELTA
        problem.precision = shape * (problem.delta * noise)
        if shared:
            _, grad = problem.linearise(theta[None])
            of_mean_1 = trusted * (len(trusted) / trusted.sum())
            mean = 0.5 * (mean + spread_centres(law, theta, grad[0], of_mean_1, noise, given, shape))
        moved, _ = minimise(problem, theta[None], trusted, mean, tolerance=1e-9)
        theta = moved[0]
    trusted = weights * _weight(law, theta, problem.features)
    return theta, trusted, _noise(problem, theta, trusted), mean


def _checked(law: Law, columns: Columns, loss: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Log losses and weights (mean 1) as arrays; FitError for what can't be fitted."""
    loss = np.asarray(loss, dtype=float)
    n = len(loss)
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=float)

    lengths = {name: len(columns[name]) for name in law.columns if name in columns}
    lengths["weights"] = len(weights)
    wrong = [f", {length} values of {name}" for name, length in lengths.items() if length != n]
    if wrong or n == 0:
        raise FitError(f"{n} losses{''.join(wrong)}; expected runs")

    bad = np.flatnonzero(~(np.isfinite(loss) & (loss > 0)))
    if len(bad):
        raise FitError(f"loss, run {bad[0]}: got {loss[bad[0]]}; expected positive finite nats")
    if not np.all(np.isfinite(weights) & (weights >= 0)) or not weights.sum() > 0:
        raise FitError("weights: expected finite numbers, none negative and not all zero")

    floor = law.fixed.get("E", 0.0)
    lowest = loss[weights > 0].min()
    if floor >= lowest:
        raise FitError(f"can't fix E at {floor:g}: the lowest loss is {lowest:g}, and E lies below all")
    return np.log(loss), weights * (n / weights.sum())


def _weight(law: Law, theta: np.ndarray, features: Features) -> np.ndarray:
    """The weight of each run, `(n,)`: 1/(1 + distance/τ), with its distance from a tuned run in log loss."""
    return 1.0 / (1.0 + distance_from_tuned(law, theta, features) / _FULL_WEIGHT_EFFECT)


def distance_from_tuned(law: Law, theta: np.ndarray, features: Features) -> np.ndarray:
    """Absolute effect on log loss of the terms that describe departures from good practice, `(n,)`. `theta: (P,)`."""
    if not any(term.deviates for term in law.terms):
        return np.zeros(len(features[0]["x"]))
    tuned = [features[0]]
    for term, feature in zip(law.terms, features[1:], strict=True):
        tuned.append({} if term.deviates else feature)
    as_run = np.log(law.loss(theta[None], features)[0])
    as_tuned = np.log(law.loss(theta[None], tuned)[0])
    return np.abs(as_run - as_tuned)


def starts(problem: Problem, mean: np.ndarray | None) -> np.ndarray:
    """Starting points `(K, P)`: the prior's centre (else the generic one) and moves along its soft directions."""
    law = problem.law
    if mean is None:
        centre = np.array([parameter.mean for parameter in law.parameters])
    else:
        centre = mean.copy()
    lowest_fifth = np.sort(problem.log_loss)[: max(1, len(problem.log_loss) // 5)]
    centre[LEVEL] = np.median(lowest_fifth)

    slopes = [REDUCIBLE, PARAMS_EXPONENT, TOKENS_EXPONENT]
    moves = np.zeros((5, len(centre)))
    moves[1, slopes] = -1.0  # lower share that is reducible, flatter
    moves[2, slopes] = 1.0  # steeper
    moves[3, CAPACITY] = -1.5  # limited by data rather than by size
    moves[4, LOG_GAMMA] = -2.5  # far from additive

    sd = np.array([parameter.sd for parameter in law.parameters])
    lower, upper = law.box()
    moved = np.clip(centre + moves * np.minimum(sd, 1.0) * 0.7, lower, upper)
    return np.unique(law.complete(moved), axis=0)


def _optimum(problem: Problem, weights: np.ndarray, mean: np.ndarray, prior: LawPrior | None) -> np.ndarray:
    """The best optimum over the starts, `(P,)`: coarse from all of them, then to the end from the two best."""
    some, w = thin(problem, weights, _START_ROWS)
    theta = starts(some, None if prior is None else mean)
    for delta in _CONTINUATION:
        if delta > problem.delta:
            theta, _ = minimise(some, theta, w, mean, delta=delta, iterations=15, tolerance=1e-3, exact=False)
    theta, value = minimise(some, theta, w, mean, iterations=8, tolerance=1e-6)
    best_two = theta[np.argsort(value)[:2]]
    theta, value = minimise(some, best_two, w, mean, tolerance=1e-11 if problem.exact else 1e-8)
    best = theta[np.argmin(value)]
    if some is not problem:
        on_all_runs, _ = minimise(problem, best[None], weights, mean, iterations=50, tolerance=1e-9)
        best = on_all_runs[0]
    return best


def _noise(problem: Problem, theta: np.ndarray, weights: np.ndarray) -> float:
    """Mean absolute residual of log loss, for the number of free parameters, never below the floor."""
    predicted = np.log(problem.law.loss(theta[None], problem.features)[0])
    residual = np.abs(predicted - problem.log_loss)
    n = len(residual)
    freedom = max(n - int(problem.law.felt(problem.features).sum()), 0)
    # a fit with as many parameters as runs leaves no residual, which says nothing of the noise
    total = float(weights @ residual) / weights.sum() * n + _USUAL_RUNS * _USUAL_NOISE
    return max(total / (freedom + _USUAL_RUNS), _NOISE_FLOOR)
