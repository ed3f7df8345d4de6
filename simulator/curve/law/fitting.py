"""Robust fit of the multi-power law to whole curves: one shape for all, one level (L0, A, B) per group of runs.

Damped Gauss-Newton with exact derivatives on log loss, soft-Huber weights and Gaussian priors. It starts from the
prior's shape with the level solved for (the law is linear in it), so it needs no grid of starts and takes ten steps.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ....core.errors import DataWarning, FitError
from ...fitting.linear import inverse, solve
from ..library import Curve
from ..rates.path import Decay, RatePath
from .multipower import B_SHARE, B_SPREAD, LEVEL, SHAPE, SHAPE_MEAN, SHAPE_SD, basis, basis_gradient

DELTA = 1e-3
"""Soft-Huber threshold on log loss: 0.1 % is how closely reruns of one curve agree (shared notes: curves.md)."""
POINTS = 15.0
"""Effective number of independent points of a curve, however densely it was logged, since neighbours share run-to-run
noise. They are spread by the square root of the stretch of log progress that each point stands for: evenly over log
progress, the early part would dominate, evenly over steps, long flat tails (mean error on unseen schedules, 25M / 100M,
with exponents 1, .75, .5, .25, 0: .0029/.0028, .0028/.0027, .0028/.0026, .0029/.0026, .0030/.0026 nats)."""
MIN_ANNEALED = 0.1
"""Least annealing term (of at most 1) in the data that identifies B; constant rates have 0, a cosine to 10 % 0.7."""
_LEAST_POINTS = 8
_ITERATIONS, _TRIES, _TOLERANCE = 60, 8, 1e-8
_LOW, _HIGH = np.array([0.02, -20.0, 0.02, -0.5]), np.array([2.0, 5.0, 5.0, 2.0])  # bounds of the shape


@dataclass(frozen=True)
class CurveFit:
    """A fitted law: `shape: (4,)` in the order of SHAPE, `level: {group: (3,)}` in that of LEVEL, nats.

    `covariance: (4 + 3G, 4 + 3G)` is Laplace's, over the shape and then each group's level; `residual_sd` is that of
    log loss. `identified` says whether the curves contain enough decay of the rate to identify B.
    """

    shape: np.ndarray
    level: dict[str, np.ndarray]
    covariance: np.ndarray
    residual_sd: float
    identified: bool
    evaluations: int = 0

    def loss(self, path: RatePath, step: np.ndarray, group: str | None = None) -> np.ndarray:
        """Loss in nats at `step: (n,)` of a run of `group` (by default the only one)."""
        return basis(self.shape, path.decay(step)) @ self.level[self._group(group)]

    def log_sd(self, path: RatePath, step: np.ndarray, group: str | None = None) -> np.ndarray:
        """Standard deviation of log loss at `step: (n,)` from the uncertainty of the fitted parameters."""
        group = self._group(group)
        values, gradient = basis_gradient(self.shape, path.decay(step))
        at = 4 + 3 * list(self.level).index(group)
        some = np.r_[0:4, at : at + 3]
        jac = np.concatenate([np.einsum("pni,i->np", gradient, self.level[group]), values], axis=1)
        jac /= (values @ self.level[group])[:, None]
        return np.sqrt(np.einsum("np,pq,nq->n", jac, self.covariance[np.ix_(some, some)], jac))

    def _group(self, group: str | None) -> str:
        return next(iter(self.level)) if group is None else group

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "shape": dict(zip(SHAPE, self.shape.tolist(), strict=True)),
            "level": [{"group": g, **dict(zip(LEVEL, v.tolist(), strict=True))} for g, v in self.level.items()],
            "covariance": self.covariance.tolist(),
            "residual_sd": self.residual_sd,
            "identified": self.identified,
        }

    @classmethod
    def from_dict(cls, data: dict) -> CurveFit:
        """The inverse of `to_dict`."""
        level = {str(v["group"]): np.array([v[name] for name in LEVEL]) for v in data["level"]}
        shape = np.array([data["shape"][name] for name in SHAPE])
        covariance = np.array(data["covariance"])
        return cls(shape, level, covariance, float(data["residual_sd"]), bool(data["identified"]))


def annealed(curves: list[Curve]) -> float:
    """The largest annealing term among the curves' points, 0 (constant rates) to 1, which identifies B."""
    return max(float(np.abs(basis(SHAPE_MEAN, c.path.decay(c.step))[:, 2]).max()) for c in curves)


def fit_curves(curves: list[Curve], *, strict: bool = False) -> CurveFit:
    """Fit the law to `curves`; runs of one group share a level, all runs share the shape.

    Where the rate hardly decays in the curves, the effect of a decay is not in them: B is then the prior's, with its
    width, and a DataWarning says so (with `strict`, a FitError).
    """
    _check(curves)
    curves = _warmed(curves)
    groups = list(dict.fromkeys(curve.group for curve in curves))
    seen = annealed(curves)
    if seen < MIN_ANNEALED:
        _unidentified(curves, seen, strict)
    problem = _Problem(curves, groups)
    theta, count = problem.minimise()
    residual, jac = problem.evaluate(theta)
    trust = problem.trust(residual)
    noise = float(np.sqrt(trust @ residual**2 / trust.sum()))
    information = (jac * trust[:, None]).T @ jac / max(noise, DELTA / 4) ** 2
    covariance = inverse(information + np.diag(1.0 / problem.prior_sd**2))
    level = dict(zip(groups, theta[4:].reshape(-1, 3), strict=True))
    return CurveFit(theta[:4], level, covariance, noise, seen >= MIN_ANNEALED, count)


def _warmed(curves: list[Curve]) -> list[Curve]:
    """The curves from the end of their warm-ups on, as the law holds from there; all of them if that leaves too little.

    Logs that start at the first step would otherwise bend the fitted exponents: misses of the OLMo ladder's curves are
    .6 % of the loss with the warm-up, .15 % without.
    """
    later = [warm for curve in curves if len((warm := curve.warmed()).step)]
    same_groups = {curve.group for curve in later} == {curve.group for curve in curves}
    return later if same_groups and sum(len(curve.step) for curve in later) >= _LEAST_POINTS else curves


def _weights(curve: Curve) -> np.ndarray:
    """Weight of each point, `(n,)`: the root of its stretch of log progress, in all POINTS (or n if that is less)."""
    stretch = np.gradient(np.log(np.maximum(curve.path.behind(curve.step), 1.0))) if len(curve.step) > 1 else np.ones(1)
    if not stretch.any():  # the first steps of a warm-up
        stretch = np.ones(len(stretch))
    stretch = np.maximum(stretch, 1e-2 * stretch.mean())  # a rate of 0 makes no progress, yet its points are data
    weight = np.sqrt(stretch)
    return weight * (min(POINTS, len(weight)) / weight.sum())


def check_curve(curve: Curve) -> None:
    """Raise FitError, with run and step, unless losses are above 0 at steps of the run that rise."""
    step, loss = curve.step, curve.loss
    if step.ndim != 1 or step.shape != loss.shape:
        raise FitError(
            f"{curve.run_id}: {step.size} steps, {loss.size} losses; expected as many of one as of the other"
        )
    for bad, what in (
        (~(np.isfinite(loss) & (loss > 0)), "loss is not a number of nats above 0"),
        (~((step >= 0) & (step <= curve.path.steps)), f"step lies outside the run's {curve.path.steps} steps"),
        (np.diff(step, prepend=-np.inf) <= 0, "step does not rise"),
    ):
        if bad.any():
            at = int(np.argmax(bad))
            raise FitError(f"{curve.run_id}, step {step[at]:g}, loss {loss[at]:g}: {what}")


def _check(curves: list[Curve]) -> None:
    if not curves:
        raise FitError("no curves to fit; expected at least one")
    for curve in curves:
        check_curve(curve)
    points = sum(len(curve.step) for curve in curves)
    if points < _LEAST_POINTS:
        raise FitError(f"{points} points in all; expected at least {_LEAST_POINTS}")


def _unidentified(curves: list[Curve], seen: float, strict: bool) -> None:
    families = ", ".join(dict.fromkeys(curve.family for curve in curves))
    text = (
        f"{families}: the learning rate hardly falls in these curves (annealing term {seen:.2f}, {MIN_ANNEALED:g} "
        "needed): they can't tell what a decay does; add a curve with a decay (cosine, WSD, two-stage)"
    )
    if strict:
        raise FitError(text)
    warnings.warn(f"{text}. Until then the usual effect is assumed, with a wide interval", DataWarning, stacklevel=3)


class _Problem:
    """The points of all curves in one table, and the penalised objective over `theta: (4 + 3G,)`."""

    def __init__(self, curves: list[Curve], groups: list[str]) -> None:
        self.decay = Decay.stack([curve.path.decay(curve.step) for curve in curves])
        self.loss = np.concatenate([curve.loss for curve in curves])
        self.member = np.concatenate([np.full(len(c.step), groups.index(c.group)) for c in curves])
        self.prior_mean = np.zeros(4 + 3 * len(groups))
        self.prior_sd = np.full(len(self.prior_mean), 1e3)  # nats: L0 and A are left to the data
        self.prior_mean[:4], self.prior_sd[:4] = SHAPE_MEAN, SHAPE_SD
        for g in range(len(groups)):
            usual = B_SHARE * np.median(self.loss[self.member == g])
            self.prior_mean[6 + 3 * g], self.prior_sd[6 + 3 * g] = usual, B_SPREAD * usual
        self.penalty = (DELTA / self.prior_sd) ** 2  # the data term is in units of DELTA² as well
        self.weight = np.concatenate([_weights(curve) for curve in curves])

    def start(self) -> np.ndarray:
        """The prior's shape, with each group's level solved for."""
        theta = self.prior_mean.copy()
        values = basis(theta[:4], self.decay) / self.loss[:, None]
        for g in range(self.member.max() + 1):
            at, rows = slice(4 + 3 * g, 7 + 3 * g), self.member == g
            a, b = values[rows], np.ones(rows.sum())
            normal = a.T @ a + np.diag(self.penalty[at])
            theta[at] = solve(normal, a.T @ b + self.penalty[at] * self.prior_mean[at])
        return theta

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals of log loss `(n,)` and their derivatives `(n, P)`."""
        values, gradient = basis_gradient(theta[:4], self.decay)
        level = theta[4:].reshape(-1, 3)[self.member]
        predicted = np.maximum(np.einsum("ni,ni->n", values, level), 1e-3 * self.loss)
        jac = np.zeros((len(self.loss), len(theta)))
        jac[:, :4] = np.einsum("pni,ni->np", gradient, level)
        rows = np.arange(len(self.loss))
        for i in range(3):
            jac[rows, 4 + 3 * self.member + i] = values[:, i]
        return np.log(predicted / self.loss), jac / predicted[:, None]

    def trust(self, residual: np.ndarray) -> np.ndarray:
        """Weights `(n,)` times Soft-Huber's factor: 1 for small residuals, DELTA/|r| for large ones."""
        return self.weight / np.sqrt(1.0 + (residual / DELTA) ** 2)

    def objective(self, theta: np.ndarray, residual: np.ndarray) -> float:
        """Soft-Huber sum plus the priors."""
        rho = 2 * DELTA**2 * (np.sqrt(1.0 + (residual / DELTA) ** 2) - 1.0)
        return float(self.weight @ rho + self.penalty @ (theta - self.prior_mean) ** 2)

    def minimise(self) -> tuple[np.ndarray, int]:
        """Levenberg-Marquardt on the reweighted problem; returns theta and the number of evaluations."""
        theta = self.start()
        residual, jac = self.evaluate(theta)
        value, damping, count = self.objective(theta, residual), 1e-3, 1
        for _ in range(_ITERATIONS):
            trust = self.trust(residual)
            gradient = jac.T @ (trust * residual) + self.penalty * (theta - self.prior_mean)
            hessian = (jac * trust[:, None]).T @ jac + np.diag(self.penalty)
            gain = 0.0
            for _ in range(_TRIES):
                trial = theta - solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
                trial[:4] = np.clip(trial[:4], _LOW, _HIGH)
                new_residual, new_jac = self.evaluate(trial)
                new, count = self.objective(trial, new_residual), count + 1
                if new < value:
                    gain, theta, residual, jac, value = value - new, trial, new_residual, new_jac, new
                    damping = max(damping / 10, 1e-9)
                    break
                damping *= 10
            if gain <= _TOLERANCE * value:
                break
        return theta, count
