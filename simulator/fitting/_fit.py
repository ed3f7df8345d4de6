"""Fit one law to one target: starts, robust Newton, the prior's weight from the noise, and draws of the parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import FitError
from ..laws import Columns, Features, Law, Reference
from ._bootstrap import bootstrap, take_rows, thin
from ._laplace import gaussian_draws, has_gaussian_draws, laplace
from ._newton import DELTA, Problem, minimise
from .prior import LawPrior

_CONTINUATION = (0.1, 0.01)  # Huber thresholds before DELTA: far starts see a smooth objective first
_START_ROWS = 2000  # starts are compared on at most this many runs, spread over compute
_FULL_WEIGHT_EFFECT = 2e-3  # a term's effect on log loss that halves a run's weight; see benchmarks/extrapolation.py
_USUAL_NOISE, _USUAL_RUNS = 5e-3, 2.0  # what residuals are like across the public tables, worth this many runs
_MIXED_DELTA = 1e-2  # widest Huber threshold of laws that read the mix, see _settle
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
        return np.log(self.law.loss(self.theta[None], self.law.prepare(columns, self.reference))[0])

    def distance_from_tuned(self, columns: Columns) -> np.ndarray:
        """How far repeats or a wrong learning rate move each run's log loss, in absolute value `(n,)`."""
        return distance_from_tuned(self.law, self.theta, self.law.prepare(columns, self.reference))

    def log_loss_draws(self, columns: Columns) -> np.ndarray:
        """The same for every draw, `(K, n)`."""
        if has_gaussian_draws(self.law):
            return self.log_loss(columns) + (self.draws - self.theta) @ self.log_loss_gradient(columns)
        features = self.law.prepare(columns, self.reference)
        n = len(features[0]["x"])
        size = max(1, _BLOCK // (len(self.draws) * (1 + len(self.law.domains))))
        parts = [take_rows(features, slice(at, at + size)) for at in range(0, n, size)]
        return np.concatenate([np.log(self.law.loss(self.draws, part)) for part in parts], axis=1)

    def log_loss_gradient(self, columns: Columns) -> np.ndarray:
        """Derivative of log loss by the law's parameters at the optimum, `(P, n)`; zero for fixed ones."""
        value, grad = self.law.loss(self.theta[None], self.law.prepare(columns, self.reference), gradient=True)
        return grad[0] / value[0]

    def covariance(
        self, columns: Columns, weights: np.ndarray | None = None, prior: LawPrior | None = None
    ) -> np.ndarray:
        """Covariance `(P, P)` of the parameters, in the law's coordinates, after runs like `columns` (see `laplace`).

        With the columns, weights and prior of the fit itself this is what its draws stand for; with further runs, what
        a fit on those too would leave open. The variance of log loss elsewhere is gᵀ·cov·g with `log_loss_gradient`.
        """
        features = self.law.prepare(columns, self.reference)
        n, dims = len(features[0]["x"]), len(self.theta)
        trusted = (np.ones(n) if weights is None else weights) * _weight(self.law, self.theta, features)
        precision = np.zeros((dims, dims)) if prior is None else prior.for_law(self.law, self.reference)[1]
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
) -> Fit:
    """Fit `law` to runs (each column and `loss`, in nats, `(n,)`). No starting point is needed.

    Without `prior`, this is the plain robust fit. With one, the prior is weighed against the runs by their residual
    noise, and `draws` are bootstraps with the prior's centre redrawn each time, so that what the runs can't tell
    stays as wide as the prior. Rows of one training run share its luck: where `origins` numbers them, a bootstrap
    resamples runs rather than rows.
    """
    log_loss, weights = _checked(law, columns, loss, weights)
    n = len(log_loss)
    reference = law.reference(columns)
    features = law.prepare(columns, reference)
    dims = len(law.parameters)
    mean, shape = (np.zeros(dims), np.zeros((dims, dims))) if prior is None else prior.for_law(law, reference)
    problem = Problem(law, features, log_loss, np.zeros((dims, dims)), _MIXED_DELTA if law.domains else DELTA)
    theta, trusted, noise = _settle(problem, weights, mean, shape, prior)
    final = trusted * (n / trusted.sum())
    residual, _ = problem.linearise(theta[None])
    value = problem.objective(residual, theta[None], final[None], mean=theta[None])[0]  # at its mean a prior is zero
    drawn = theta[None]
    if draws and has_gaussian_draws(law):
        covariance = laplace(law, problem.linearise(theta[None])[1][0], final, noise, shape)
        drawn = gaussian_draws(law, theta, covariance, np.random.default_rng(seed), draws)
    elif draws:
        drawn = bootstrap(problem, theta, final, mean, prior, draws, np.random.default_rng(seed), origins)
    return Fit(law, reference, theta, drawn, noise, float(value))


def _settle(problem, weights, mean, shape, prior) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit, then again with what the fit says of the noise (how heavy the prior is) and of how far runs stray.

    Laws of size and tokens miss by 0.1 to 0.5 %, laws of the mix by 1 to 2 %: there Huber's threshold is set at the
    noise, because absolute deviations waste a third of such runs and a few dozen is all there are.
    """
    deviates = any(term.deviates for term in problem.law.terms)
    problem.precision = shape * (problem.delta * _USUAL_NOISE)
    theta = _optimum(problem, weights, mean, prior)
    for _ in range(2 if prior is not None else 1 if deviates else 0):
        trusted = weights * _weight(problem.law, theta, problem.features)
        noise = _noise(problem, theta, trusted)
        problem.delta = min(noise, _MIXED_DELTA) if problem.law.domains else DELTA
        problem.precision = shape * (problem.delta * noise)
        theta = minimise(problem, theta[None], trusted, mean, tolerance=1e-9)[0][0]
    trusted = weights * _weight(problem.law, theta, problem.features)
    return theta, trusted, _noise(problem, theta, trusted)


def _checked(law, columns, loss, weights) -> tuple[np.ndarray, np.ndarray]:
    """Log losses and weights (mean 1) as arrays; FitError for what can't be fitted."""
    loss = np.asarray(loss, dtype=float)
    n = len(loss)
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    lengths = {name: len(columns[name]) for name in law.columns if name in columns} | {"weights": len(weights)}
    wrong = [name for name, length in lengths.items() if length != n]
    if wrong or n == 0:
        raise FitError(
            f"{n} losses" + "".join(f", {lengths[name]} values of {name}" for name in wrong) + "; expected runs"
        )
    bad = np.flatnonzero(~(np.isfinite(loss) & (loss > 0)))
    if len(bad):
        raise FitError(f"loss, run {bad[0]}: got {loss[bad[0]]}; expected positive finite nats")
    if not np.all(np.isfinite(weights) & (weights >= 0)) or not weights.sum() > 0:
        raise FitError("weights: expected finite numbers, none negative and not all zero")
    floor = law.fixed.get("E", 0.0)
    if floor >= loss[weights > 0].min():
        raise FitError(
            f"can't fix E at {floor:g}: the lowest loss is {loss[weights > 0].min():g}, and E lies below all"
        )
    return np.log(loss), weights * (n / weights.sum())


def _weight(law, theta, features):
    """The weight of each run, `(n,)`: 1/(1 + distance/τ), with its distance from a tuned run in log loss."""
    return 1.0 / (1.0 + distance_from_tuned(law, theta, features) / _FULL_WEIGHT_EFFECT)


def distance_from_tuned(law: Law, theta: np.ndarray, features: Features) -> np.ndarray:
    """Absolute effect on log loss of the terms that describe departures from good practice, `(n,)`. `theta: (P,)`."""
    if not any(term.deviates for term in law.terms):
        return np.zeros(len(features[0]["x"]))
    tuned = [features[0], *({} if t.deviates else f for t, f in zip(law.terms, features[1:], strict=True))]
    return np.abs(np.log(law.loss(theta[None], features)[0]) - np.log(law.loss(theta[None], tuned)[0]))


def starts(problem: Problem, mean: np.ndarray | None) -> np.ndarray:
    """Starting points `(K, P)`: the prior's centre (else the generic one) and moves along its soft directions."""
    law = problem.law
    base = np.array([p.mean for p in law.parameters]) if mean is None else mean.copy()
    level = problem.log_loss[np.argsort(problem.log_loss, kind="stable")[: max(1, len(problem.log_loss) // 5)]]
    base[0] = np.median(level)
    moves = np.zeros((5, len(base)))
    moves[1, 1] = moves[1, 3] = moves[1, 4] = -1.0  # lower floor share, flatter
    moves[2, 1] = moves[2, 3] = moves[2, 4] = 1.0  # steeper
    moves[3, 2] = -1.5  # limited by data rather than by size
    moves[4, 5] = -2.5  # far from additive
    scale = np.array([p.sd for p in law.parameters])
    lower, upper = law.box()
    return np.unique(law.complete(np.clip(base + moves * np.minimum(scale, 1.0) * 0.7, lower, upper)), axis=0)


def _optimum(problem, weights, mean, prior) -> np.ndarray:
    """The best optimum over the starts."""
    some, w = thin(problem, weights, _START_ROWS)
    theta = starts(some, None if prior is None else mean)
    for delta in [delta for delta in _CONTINUATION if delta > problem.delta]:
        theta, value = minimise(some, theta, w, mean, delta=delta, iterations=15, tolerance=1e-3, exact=False)
    theta, value = minimise(some, theta, w, mean, iterations=8, tolerance=1e-6)
    theta, value = minimise(some, theta[np.argsort(value)[:2]], w, mean, tolerance=1e-11 if problem.exact else 1e-8)
    theta = theta[np.argmin(value)]
    if some is problem:
        return theta
    return minimise(problem, theta[None], weights, mean, iterations=50, tolerance=1e-9)[0][0]


def _noise(problem, theta, weights):
    residual = np.abs(np.log(problem.law.loss(theta[None], problem.features)[0]) - problem.log_loss)
    freedom = max(len(residual) - int(problem.law.free.sum()), 0)
    # a fit with as many parameters as runs leaves no residual, which says nothing of the noise
    total = float(weights @ residual) / weights.sum() * len(residual) + _USUAL_RUNS * _USUAL_NOISE
    return max(total / (freedom + _USUAL_RUNS), _NOISE_FLOOR)
