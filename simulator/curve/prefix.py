"""The posterior of a running job's loss curve, from its plan, its points so far, and a prior over curves.

    log loss at step t = log law(θ; t) + bias(t) + δ(t) + noise

θ has a Gaussian prior (`prior`); the bias is the law's mean error under the same schedule at other sizes; δ is a run's
deviation from the law (`deviation`); the noise is white, with the spread estimated from the points (`smoothing`). θ is
found by Gauss-Newton; all else is Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import FitError
from .deviation import Deviation, Times, weigh
from .law.multipower import basis_gradient
from .law.prior import CurvePrior
from .library import LEAST_WARMUP
from .rates.changes import expected_level
from .rates.path import Decay, RatePath
from .smoothing import Points, smooth

_EARLY = 2.0  # warm-ups after which the law holds: until then curves keep traces of the start
_SETTLED = 0.1  # share of the plan from which runs without points are taken to deviate from the law
_EARLY_SHARE = 0.2  # of the run so far is left out in any case, for the same reason
_MIN_POINTS = 6  # fewer are taken from the early part if need be
_USABLE = 0.5  # of the steps until the law holds; earlier points carry no information about the rest
_ENOUGH = 6  # points from which a job's own deviation is estimated
_STEPS, _HALVINGS, _TOLERANCE = 25, 5, 1e-6
_LEAST_LOSS = 1e-2  # of L0: the law is cut off there, with zero derivatives
_LEAST_FLOOR = 0.05  # of the prior mean of L0: below, the law would forecast losses near 0
_REACH = 20.0  # prior standard deviations; nonsensical points would otherwise overflow the law
_WIDEST = 3.0  # sd of log loss, a factor of 20: a wider forecast carries no information
Z = {0.5: 0.674490, 0.8: 1.281552, 0.9: 1.644854, 0.95: 1.959964}
"""Half-widths of central intervals of a Gaussian, in standard deviations."""


@dataclass(frozen=True)
class LossBand:
    """Loss in nats at `step: (n,)`: median `loss: (n,)` and the standard deviation `log_sd: (n,)` of its logarithm."""

    step: np.ndarray
    loss: np.ndarray
    log_sd: np.ndarray

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Central interval at `level`, one of Z: two arrays `(n,)`."""
        wide = Z[level] * self.log_sd
        return self.loss * np.exp(-wide), self.loss * np.exp(wide)


@dataclass(frozen=True)
class CurvePosterior:
    """The posterior of a run's loss curve given its points so far; made by `condition`.

    `theta: (7,)` in the order of `prior.NAMES` and its `covariance: (7, 7)`; `now` is the last step seen, 0 if none.
    """

    path: RatePath
    prior: CurvePrior
    points: Points
    deviation: Deviation
    theta: np.ndarray
    covariance: np.ndarray
    now: float
    _whitener: np.ndarray
    _residual: np.ndarray
    _jac: np.ndarray

    @property
    def settled(self) -> float:
        """The step from which the law holds; earlier values of the band are meaningless."""
        return _settled(self.path)

    def log_loss(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean `(n,)` and covariance `(n, n)` of log loss at `step: (n,)`, without the noise of single points."""
        step = np.asarray(step, dtype=float)
        at = Times.of(self.path, step)
        value, jac = _law(self.theta, self.path.decay(step))
        value = value + _beside_law(self.path, self.prior, step, self.now)
        cross = self.deviation.kernel(at, Times.of(self.path, self.points.step)) @ self._whitener.T
        rest = jac - cross @ self._jac
        covariance = self.deviation.kernel(at, at) - cross @ cross.T + rest @ self.covariance @ rest.T
        return value + cross @ self._residual, covariance

    def band(self, step: np.ndarray) -> LossBand:
        """The smooth loss at `step: (n,)`, without the noise of single points."""
        mean, covariance = self.log_loss(step)
        sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        return LossBand(np.asarray(step, float), np.exp(mean), np.minimum(sd, _WIDEST))

    def final(self, step: np.ndarray | None = None) -> LossBand:
        """The final loss as it will be logged, noise included: at the last step, or the mean over `step: (n,)`."""
        step = np.array([self.path.steps]) if step is None else np.asarray(step, float)
        mean, covariance = self.log_loss(step)
        sd = np.sqrt(covariance.mean() + self.points.noise**2 / len(step))
        return LossBand(step[-1:], np.exp([mean.mean()]), np.minimum([sd], _WIDEST))

    def end_of(self, path: RatePath) -> LossBand:
        """The smooth loss at the end of another path of the same job, as `along` gives it."""
        return self.along(path, np.array([path.steps], dtype=float))

    def along(self, path: RatePath, step: np.ndarray) -> LossBand:
        """The smooth loss at `step: (n,)` of another path of the same job, such as a cooldown that leaves it earlier.

        What the points tell beside the law's parameters is left out, so the interval is rather wide.
        """
        at = Times.of(path, step)
        value, jac = _law(self.theta, path.decay(step))
        value = value + expected_level(path.changes, step)
        variance = self.deviation.kernel(at, at) + jac @ self.covariance @ jac.T
        return LossBand(step, np.exp(value), np.minimum(np.sqrt(np.diag(variance)), _WIDEST))


def condition(
    path: RatePath,
    prior: CurvePrior,
    step: Sequence[float] | np.ndarray = (),
    loss: Sequence[float] | np.ndarray = (),
    *,
    anchor: tuple[float, float] | None = None,
) -> CurvePosterior:
    """Condition the prior of a curve on a prefix.

    Args:
        path: The run's learning rates.
        prior: The prior of its curve.
        step: Rising optimizer steps, `(n,)`; any n, also 0.
        loss: Losses there in nats, `(n,)`.
        anchor: An independent forecast of the final loss (a scaling law's): nats, and the standard deviation of its
            logarithm. Without points it sets the level.
    """
    step, loss = np.asarray(step, float), np.asarray(loss, float)
    _check(path, step, loss, anchor)
    breaks = [one.step for one in path.changes]
    points = smooth(step, loss, first=_first(path, step), breaks=breaks)
    now = float(step[-1]) if len(step) else 0.0
    at, decay, target = _view(path, prior, points, now)
    deviation = (at if len(points.step) else Times.of(path, np.array([_SETTLED * path.steps]))).usual(prior.drift)
    theta = _solve(prior, decay, target, deviation.whitener(at, points.spread), prior.mean)[0]
    if len(points.step) >= _ENOUGH:
        value, jac = _law(theta, decay)
        deviation, white = weigh(at, points.spread, target - value, jac, prior.sd, prior.drift)
        points = points.calmer(white)
    if anchor is not None:
        points = points.with_end(path.steps, *anchor)
        at, decay, target = _view(path, prior, points, now)
    whitener = deviation.whitener(at, points.spread)
    theta, covariance, residual, jac = _solve(prior, decay, target, whitener, theta)
    return CurvePosterior(path, prior, points, deviation, theta, covariance, now, whitener, residual, jac)


def _view(path: RatePath, prior: CurvePrior, points: Points, now: float) -> tuple[Times, Decay, np.ndarray]:
    """Times of the points, the law's inputs there, and the observed log loss with the bias subtracted."""
    bias = _beside_law(path, prior, points.step, now)
    return Times.of(path, points.step), path.decay(points.step), np.log(points.loss) - bias


def _beside_law(path: RatePath, prior: CurvePrior, step: np.ndarray, now: float) -> np.ndarray:
    """Log loss beside that of the law at `step: (n,)`: the law's bias, and the levels of planned changes."""
    bias = prior.bias_after(step / path.steps, now / path.steps)
    return bias + expected_level(path.changes, step) if path.changes else bias


def _check(path: RatePath, step: np.ndarray, loss: np.ndarray, anchor: tuple[float, float] | None) -> None:
    if step.shape != loss.shape or step.ndim != 1:
        raise FitError(f"{step.size} steps, {loss.size} losses; expected as many of one as of the other")
    bad = np.flatnonzero(~(np.isfinite(loss) & (loss > 0)))
    if len(bad):
        raise FitError(f"step {step[bad[0]]:g}: got loss {loss[bad[0]]}; expected nats > 0")
    falls = np.flatnonzero(np.diff(step) <= 0)
    if len(falls):
        raise FitError(f"step {step[falls[0] + 1]:g} follows step {step[falls[0]]:g}; expected rising steps")
    if len(step) and step[-1] > path.steps:
        raise FitError(f"step {step[-1]:g} lies beyond the planned end, step {path.steps}")
    if anchor is not None and not (anchor[0] > 0 and anchor[1] > 0):
        raise FitError(f"anchor: got {anchor}; expected a loss in nats > 0 and a standard deviation > 0")


def _first(path: RatePath, step: np.ndarray) -> float:
    """The step from which points count."""
    if not len(step):
        return 0.0
    settled = _settled(path)
    early = max(settled, _EARLY_SHARE * step[-1])
    return max(min(early, step[max(0, len(step) - _MIN_POINTS)]), _USABLE * settled)


def _settled(path: RatePath) -> float:
    return _EARLY * max(path.warmup, LEAST_WARMUP * path.steps)


def _law(theta: np.ndarray, decay: Decay) -> tuple[np.ndarray, np.ndarray]:
    """Log of the law's loss `(n,)` and its derivatives by theta `(n, 7)`."""
    values, gradient = basis_gradient(theta[:4], decay)
    level = np.array([theta[4], np.exp(theta[5]), np.exp(theta[6])])
    law = values @ level
    loss = np.maximum(law, _LEAST_LOSS * theta[4])
    by_level = values * np.array([1.0, level[1], level[2]])
    jac = np.concatenate([np.einsum("pni,i->np", gradient, level), by_level], axis=1)
    return np.log(loss), np.where((law == loss)[:, None], jac / loss[:, None], 0.0)


def _solve(
    prior: CurvePrior, decay: Decay, log_loss: np.ndarray, whitener: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The most likely theta, its covariance, whitened residuals `(n,)` and whitened derivatives `(n, 7)` there."""
    theta = theta.copy()
    if len(log_loss):
        trust = 1.0 / (1.0 + (1e-2 * theta[4] / prior.sd[4]) ** 2)  # a level left open by the prior starts at the data
        theta[4] += trust * (np.exp(log_loss[-1]) - np.exp(_law(theta, decay)[0][-1]))

    def at(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, jac = _law(theta, decay)
        residual, away = whitener @ (log_loss - value), (theta - prior.mean) / prior.sd
        return float(residual @ residual + away @ away), residual, whitener @ jac

    low, high = prior.mean - _REACH * prior.sd, prior.mean + _REACH * prior.sd
    low[4] = max(low[4], _LEAST_FLOOR * prior.mean[4])
    theta = np.clip(theta, low, high)
    value, residual, jac = at(theta)
    for _ in range(_STEPS):
        u, s, vt = _factors(jac * prior.sd)
        move = prior.sd * (vt.T @ (u.T @ np.append(residual, (prior.mean - theta) / prior.sd) / s))
        for halving in range(_HALVINGS):
            trial = np.clip(theta + move / 4**halving, low, high)
            new = at(trial)
            if new[0] < value:
                break
        else:
            break
        gain, theta, (value, residual, jac) = value - new[0], trial, new
        if gain < _TOLERANCE:
            break
    _, s, vt = _factors(jac * prior.sd)
    root = prior.sd[:, None] * vt.T / s
    return theta, root @ root.T, residual, jac


def _factors(jac: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular vectors and values, each at least 1, of derivatives `(n, 7)` over a unit matrix: the prior's.

    The normal equations would square large derivatives, from nonsensical points, and lose the prior to rounding.
    """
    return np.linalg.svd(np.concatenate([jac, np.eye(jac.shape[1])]), full_matrices=False)
