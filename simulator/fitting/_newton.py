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

from ..laws import Law
from .linear import solve

DELTA = 1e-3  # Huber threshold on log loss, as in Hoffmann et al. 2022, appendix D.2
_STEP = 1e-5  # finite-difference step for second derivatives, in the law's unit-free coordinates


@dataclass
class Problem:
    """The runs to fit: `features` of `law.prepare`, `log_loss: (n,)`, a prior `precision: (P, P)`, Huber's `delta`."""

    law: Law
    features: list[dict[str, np.ndarray]]
    log_loss: np.ndarray
    precision: np.ndarray
    delta: float = DELTA

    @property
    def exact(self) -> bool:
        """Are second derivatives worth their price? With a worth for each domain they cost as much as P evaluations,
        while the many residuals that such a law leaves hardly bend it."""
        return not self.law.domains

    def objective(self, residual, theta, weights, mean, delta=None):
        """F for each problem, `(K,)`. `residual, weights: (K, n)`, `theta, mean: (K, P)`."""
        delta = self.delta if delta is None else delta
        step = theta - mean
        prior = 0.5 * np.einsum("kp,pq,kq->k", step, self.precision, step)
        return np.einsum("kn,kn->k", weights, huber(residual, delta)) + prior

    def linearise(self, theta):
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
        self.theta = np.where(better[:, None], trial, self.theta)
        self.residual = np.where(better[:, None], residual, self.residual)
        self.grad = np.where(better[:, None, None], grad, self.grad)

    def take(self, going: np.ndarray) -> _State:
        return _State(*(a[going] for a in (self.theta, self.weights, self.mean, self.residual, self.grad)))


def minimise(
    problem: Problem, theta: np.ndarray, weights: np.ndarray, mean: np.ndarray, **method: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Newton from each start, as `Method(**method)` says. Returns `theta: (K, P)`, objectives `(K,)`.

    `weights: (n,)` or `(K, n)`, `mean: (P,)` or `(K, P)`.
    """
    with one_thread():
        return _minimise(problem, problem.law.complete(theta), weights, mean, Method(**method))


def _minimise(problem, theta, weights, mean, method):
    weights = np.broadcast_to(weights, (len(theta), len(problem.log_loss)))
    state = _State(theta, weights, np.broadcast_to(mean, theta.shape), *problem.linearise(theta))
    value = problem.objective(state.residual, theta, weights, state.mean, method.delta)
    damping, active = np.full(len(theta), 1e-3), np.arange(len(theta))
    for _ in range(method.iterations):
        trial, predicted = _propose(problem, state, method, damping[active])
        residual, grad = problem.linearise(trial)
        new = problem.objective(residual, trial, state.weights, state.mean, method.delta)
        gain = value[active] - new
        better = gain > 0
        state.accept(better, trial, residual, grad)
        theta[active], value[active] = state.theta, np.where(better, new, value[active])
        factor = np.where(better & (gain > 0.25 * predicted), 0.1, np.where(better, 1.0, 10.0))
        damping[active] = np.maximum(damping[active] * factor, 1e-14)
        small = method.tolerance * (np.abs(value[active]) + 1e-300)
        going = (predicted >= small) & ~(better & (gain < 0.1 * small)) & (damping[active] < 1e12)
        if not going.all():
            active, state = active[going], state.take(going)
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


def _propose(problem, state, method, damping):
    """A damped Newton step inside the box, and the fall of F that it promises."""
    theta, grad = state.theta, state.grad
    delta = problem.delta if method.delta is None else method.delta
    free = problem.law.free
    lower, upper = problem.law.box()
    slope = state.weights * np.clip(state.residual, -delta, delta)
    gradient = _weighted(grad, slope) + (theta - state.mean) @ problem.precision
    size = np.abs(state.residual)
    hessian = (grad * (state.weights * (size <= delta))[:, None]) @ grad.transpose(0, 2, 1) + problem.precision
    if method.exact and problem.exact:
        hessian += _second_order(problem, theta, grad, slope, method.frozen)
    bend = state.weights * (delta / np.maximum(size, delta))
    metric = (grad * bend[:, None]) @ grad.transpose(0, 2, 1)
    if not problem.exact:
        # Marquardt's damping: Gauss-Newton alone takes far too long steps along what the runs hardly see
        metric = np.einsum("kpp->kp", metric + problem.precision)[:, :, None] * np.eye(theta.shape[1])
    # parameters at their bound that want to leave the box stay there
    stuck = ((theta <= lower) & (gradient > 0)) | ((theta >= upper) & (gradient < 0)) | ~free
    gradient[stuck] = 0.0
    step, predicted = _step(hessian, metric, gradient, stuck, damping)
    return np.where(free, np.clip(theta + step, lower, upper), theta), predicted


def _weighted(grad, slope):
    return (grad @ slope[:, :, None])[..., 0]


def _second_order(problem, theta, grad, slope, frozen):
    """Σ_i slope_i ∂² log L_i, `(K, P, P)`: by differences of the exact gradient, or from the frozen curvature."""
    k, p = theta.shape
    if frozen is not None:
        return (slope @ frozen).reshape(k, p, p)
    base = _weighted(grad, slope)
    out = np.zeros((k, p, p))
    for j in np.flatnonzero(problem.law.free):
        moved = theta.copy()
        moved[:, j] += _STEP
        _, other = problem.linearise(moved)
        out[:, j] = (_weighted(other, slope) - base) / _STEP
    return 0.5 * (out + out.transpose(0, 2, 1))


def _step(hessian, metric, gradient, stuck, damping):
    """Solve (H + d·M) p = -g with M the majorising metric; fall back to the metric alone where H makes p ascend."""
    p = gradient.shape[1]
    eye = np.eye(p, dtype=bool)
    ridge = 1e-12 * np.einsum("kii->ki", metric).max(-1)[:, None] + 1e-300
    blocked = stuck[:, :, None] | stuck[:, None, :]
    one = np.where(eye, 1.0, 0.0)
    metric = metric + np.einsum("kp,pq->kpq", np.einsum("kii->ki", metric) + ridge, one) * 1e-6
    full = np.where(blocked, one * stuck[:, :, None], hessian + damping[:, None, None] * metric)
    step = -solve(full, gradient[..., None])[..., 0]
    slope = np.einsum("kp,kp->k", gradient, step)
    bad = ~(slope < 0)
    if bad.any():
        safe = np.where(blocked, one * stuck[:, :, None], metric * (1 + damping[:, None, None]))[bad]
        step[bad] = -solve(safe, gradient[bad][..., None])[..., 0]
        slope = np.einsum("kp,kp->k", gradient, step)
    return step, -0.5 * slope


def curvature(problem, theta):
    """Second derivatives of log L at one point, `(n, P·P)`, for bootstraps around it. `theta: (P,)`."""
    _, base = problem.linearise(theta[None])
    n, p = len(problem.log_loss), len(theta)
    out = np.zeros((n, p, p))
    for j in np.flatnonzero(problem.law.free):
        moved = theta.copy()
        moved[j] += _STEP
        out[:, j] = (problem.linearise(moved[None])[1][0] - base[0]).T / _STEP
    return (0.5 * (out + out.transpose(0, 2, 1))).reshape(n, p * p)
