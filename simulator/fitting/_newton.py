"""Damped Newton on a robust objective, for many problems over the same runs at once.

Each problem k minimises  F(θ) = Σ_i w_ki·H_δ(log L_i(θ) - log y_i) + ½ (θ - μ_k)ᵀ Λ (θ - μ_k)
with H_δ the Huber function (quadratic below δ, linear above) and an optional Gaussian prior. Problems differ in their
start, their weights (a bootstrap is integer weights) and their prior mean; they share runs, law and precision Λ.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from ..laws import Features, Law
from .linear import solve

DELTA = 1e-3  # Huber threshold on log loss, as in Hoffmann et al. 2022, appendix D.2
_STEP = 1e-5  # finite-difference step for second derivatives, in the law's unit-free coordinates


@dataclass
class Problem:
    """The runs to fit: `features` of `law.prepare`, `log_loss: (n,)`, a prior `precision: (P, P)`, Huber's `delta`."""

    law: Law
    features: Features
    log_loss: np.ndarray
    precision: np.ndarray
    delta: float = DELTA

    @property
    def exact(self) -> bool:
        """Are second derivatives worth their price? With a worth for each domain they cost as much as P evaluations,
        while the many residuals that such a law leaves hardly bend it. Where parameters share a spread, the product of
        both bends it so much that bootstraps get stuck short of their optima."""
        return not self.law.domains and not self.law.spreads

    def objective(
        self,
        residual: np.ndarray,
        theta: np.ndarray,
        weights: np.ndarray,
        mean: np.ndarray,
        delta: float | None = None,
    ) -> np.ndarray:
        """F for each problem, `(K,)`. `residual, weights: (K, n)`, `theta, mean: (K, P)`."""
        if delta is None:
            delta = self.delta
        away = theta - mean
        of_runs = np.einsum("kn,kn->k", weights, huber(residual, delta))
        of_prior = 0.5 * np.einsum("kp,pq,kq->k", away, self.precision, away)
        return of_runs + of_prior

    def linearise(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals `(K, n)` and the gradient of log L `(K, P, n)`; not finite where a trial step goes too far."""
        with np.errstate(over="ignore", invalid="ignore"):
            value, grad = self.law.loss(theta, self.features, gradient=True)
            value = np.maximum(value, 1e-300)
            grad /= value[:, None]
        return np.log(value) - self.log_loss, grad


def huber(residual: np.ndarray, delta: float) -> np.ndarray:
    """Huber's function: r²/2 up to δ, δ(|r| - δ/2) beyond."""
    size = np.abs(residual)
    inner = np.minimum(size, delta)
    return inner * (size - 0.5 * inner)


@dataclass(frozen=True)
class Method:
    """How to minimise. `delta` is the Huber threshold (the problem's own by default), `tolerance` is relative.

    `frozen: (n, P·P)` replaces the second derivatives of log L by those at one point: right for bootstraps, whose
    optima lie close to it, and P times cheaper. Without `exact` they are left out (Gauss-Newton), which is enough while
    the threshold is wide.
    """

    delta: float | None = None
    iterations: int = 100
    tolerance: float = 1e-12
    frozen: np.ndarray | None = None
    exact: bool = True


@dataclass
class _State:
    """The problems that still move: parameters, their own weights and prior means, and log L linearised there."""

    theta: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    residual: np.ndarray
    grad: np.ndarray

    def accept(self, better: np.ndarray, trial: np.ndarray, residual: np.ndarray, grad: np.ndarray) -> None:
        """Move the problems at `better: (K,)` to the trial point, linearised there."""
        self.theta = np.where(better[:, None], trial, self.theta)
        self.residual = np.where(better[:, None], residual, self.residual)
        self.grad = np.where(better[:, None, None], grad, self.grad)

    def take(self, going: np.ndarray) -> _State:
        """Only the problems at `going: (K,)`."""
        return _State(
            theta=self.theta[going],
            weights=self.weights[going],
            mean=self.mean[going],
            residual=self.residual[going],
            grad=self.grad[going],
        )


def minimise(
    problem: Problem, theta: np.ndarray, weights: np.ndarray, mean: np.ndarray, **method: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Newton from each start.

    Args:
        problem: The runs to fit.
        theta: Starts `(K, P)`.
        weights: Weights of the runs, `(n,)` or `(K, n)`.
        mean: The prior's centre, `(P,)` or `(K, P)`.
        **method: As `Method` takes it.

    Returns:
        The optima `(K, P)`, and F there `(K,)`.
    """
    with one_thread():
        return _minimise(problem, problem.law.complete(theta), weights, mean, Method(**method))


def _minimise(
    problem: Problem, theta: np.ndarray, weights: np.ndarray, mean: np.ndarray, method: Method
) -> tuple[np.ndarray, np.ndarray]:
    count = len(theta)
    weights = np.broadcast_to(weights, (count, len(problem.log_loss)))
    mean = np.broadcast_to(mean, theta.shape)
    residual, grad = problem.linearise(theta)
    state = _State(theta, weights, mean, residual, grad)
    value = problem.objective(residual, theta, weights, mean, method.delta)
    damping = np.full(count, 1e-3)
    active = np.arange(count)  # where the problems that still move stand among all
    for _ in range(method.iterations):
        trial, predicted = _propose(problem, state, method, damping[active])
        residual, grad = problem.linearise(trial)
        new = problem.objective(residual, trial, state.weights, state.mean, method.delta)
        gain = value[active] - new
        better = gain > 0
        state.accept(better, trial, residual, grad)
        theta[active] = state.theta
        value[active] = np.where(better, new, value[active])

        # a step that keeps its promise frees the next one, a step that fails shortens it
        kept = better & (gain > 0.25 * predicted)
        factor = np.where(kept, 0.1, np.where(better, 1.0, 10.0))
        damping[active] = np.maximum(damping[active] * factor, 1e-14)

        small = method.tolerance * (np.abs(value[active]) + 1e-300)
        promising = predicted >= small  # false for what is not finite, too
        arrived = better & (gain < 0.1 * small)
        going = promising & ~arrived & (damping[active] < 1e12)
        if not going.all():
            active = active[going]
            state = state.take(going)
            if not len(active):
                break
    return problem.law.complete(theta), value


@cache
def _controller(scipy: bool) -> ThreadpoolController:
    """Finds the BLAS libraries that are loaded; scipy brings one of its own when its linear algebra is imported."""
    return ThreadpoolController()


def one_thread() -> AbstractContextManager:
    """BLAS on one thread: on stacks of small matrices its threads cost more than they bring (4 to 50 times here)."""
    return _controller("scipy.linalg" in sys.modules).limit(limits=1, user_api="blas")


def _propose(problem: Problem, state: _State, method: Method, damping: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A damped Newton step inside the box, `(K, P)`, and the fall of F that it promises, `(K,)`."""
    theta, grad = state.theta, state.grad
    delta = problem.delta if method.delta is None else method.delta
    free = problem.law.free

    # F's gradient: weights times Huber's slope, and the prior's pull
    slope = state.weights * np.clip(state.residual, -delta, delta)
    gradient = _weighted(grad, slope) + (theta - state.mean) @ problem.precision

    # its Hessian: only residuals below δ are bent
    size = np.abs(state.residual)
    inner = state.weights * (size <= delta)
    hessian = (grad * inner[:, None]) @ grad.transpose(0, 2, 1) + problem.precision
    if method.exact and problem.exact:
        hessian += _second_order(problem, theta, grad, slope, method.frozen)

    # the metric that damps it: of the quadratic that touches F from above
    bend = state.weights * (delta / np.maximum(size, delta))
    metric = (grad * bend[:, None]) @ grad.transpose(0, 2, 1)
    if not problem.exact:
        # Marquardt's damping: Gauss-Newton alone takes far too long steps along what the runs hardly see
        diagonal = np.einsum("kpp->kp", metric + problem.precision)
        metric = diagonal[:, :, None] * np.eye(theta.shape[1])

    # parameters at their bound that want to leave the box stay there
    lower, upper = problem.law.box()
    below = (theta <= lower) & (gradient > 0)
    above = (theta >= upper) & (gradient < 0)
    stuck = below | above | ~free
    gradient[stuck] = 0.0
    step, predicted = _step(hessian, metric, gradient, stuck, damping)
    return np.where(free, np.clip(theta + step, lower, upper), theta), predicted


def _weighted(grad: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Σ_i slope_i ∂ log L_i, `(K, P)`. `grad: (K, P, n)`, `slope: (K, n)`."""
    return (grad @ slope[:, :, None])[..., 0]


def _second_order(
    problem: Problem, theta: np.ndarray, grad: np.ndarray, slope: np.ndarray, frozen: np.ndarray | None
) -> np.ndarray:
    """Σ_i slope_i ∂² log L_i, `(K, P, P)`: by differences of the exact gradient, or from the frozen curvature."""
    k, p = theta.shape
    if frozen is not None:
        return (slope @ frozen).reshape(k, p, p)
    base = _weighted(grad, slope)
    out = np.zeros((k, p, p))
    for j in np.flatnonzero(problem.law.free):
        moved = theta.copy()
        moved[:, j] += _STEP
        _, moved_grad = problem.linearise(moved)
        out[:, j] = (_weighted(moved_grad, slope) - base) / _STEP
    return 0.5 * (out + out.transpose(0, 2, 1))


def _step(
    hessian: np.ndarray, metric: np.ndarray, gradient: np.ndarray, stuck: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solve (H + d·M) p = -g with M the majorising metric; fall back to the metric alone where H makes p ascend."""
    eye = np.eye(gradient.shape[1])
    diagonal = np.einsum("kii->ki", metric)
    ridge = 1e-12 * diagonal.max(-1)[:, None] + 1e-300
    metric = metric + np.einsum("kp,pq->kpq", diagonal + ridge, eye) * 1e-6
    d = damping[:, None, None]

    # a stuck parameter has the row and column of the identity, so that it doesn't move
    blocked = stuck[:, :, None] | stuck[:, None, :]
    held = eye * stuck[:, :, None]
    full = np.where(blocked, held, hessian + d * metric)
    step = -solve(full, gradient[..., None])[..., 0]
    slope = np.einsum("kp,kp->k", gradient, step)
    bad = ~(slope < 0)
    if bad.any():
        safe = np.where(blocked, held, metric * (1 + d))[bad]
        step[bad] = -solve(safe, gradient[bad][..., None])[..., 0]
        slope = np.einsum("kp,kp->k", gradient, step)
    return step, -0.5 * slope


def curvature(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Second derivatives of log L at one point, `(n, P·P)`, for bootstraps around it. `theta: (P,)`."""
    _, grad = problem.linearise(theta[None])
    n, p = len(problem.log_loss), len(theta)
    out = np.zeros((n, p, p))
    for j in np.flatnonzero(problem.law.free):
        moved = theta.copy()
        moved[j] += _STEP
        _, moved_grad = problem.linearise(moved[None])
        out[:, j] = (moved_grad[0] - grad[0]).T / _STEP
    return (0.5 * (out + out.transpose(0, 2, 1))).reshape(n, p * p)
