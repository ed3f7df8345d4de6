"""Sequential quadratic programming in the smooth dimensions of a plan: tokens, learning rates, shares of the mix.

SciPy's SLSQP optimises them under the smooth part of the predictor, law and process, in a fixed layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ..evaluate import Evaluator, PlanEvaluation
from ..space.dimensions import MixDimension, RangeDimension, Values

__all__ = ["STEP_LOG_TOKENS", "SmoothProblem"]

STEP_LOG_TOKENS = 0.02
"""Step of finite differences: interruptions are random draws, so that times are slightly noisy in tokens."""
_STEP_SHARE, _STEP_UNIT = 1e-4, 1e-3
_ITERATIONS = 25
_BISECTIONS = 10
_TOKENS = "data.tokens"


class Judge(Protocol):
    """The interface of the local search that evaluates the plans."""

    @property
    def evaluator(self) -> Evaluator:
        """What turns values into evaluations."""
        ...

    @property
    def free(self) -> frozenset[str]:
        """Limits that need not be kept."""
        ...

    @property
    def aim(self) -> Callable[[PlanEvaluation], float]:
        """The objective that is minimised."""
        ...

    def missed(self, one: PlanEvaluation) -> float:
        """Total excess over the limits that must be kept, log units."""
        ...

    def better(self, one: PlanEvaluation, other: PlanEvaluation) -> bool:
        """Whether one plan is better than another."""
        ...

    def many(self, plans: Sequence[Values], like: Any = None) -> list[PlanEvaluation]:
        """Evaluate plans, and count the evaluations."""
        ...

    def step_of(self, one: PlanEvaluation) -> Any:
        """The step of a plan on its machines, None where those don't matter."""
        ...


class SmoothProblem:
    """The smooth part of a plan as a vector: ranges in the unit of their width, then the shares of the mix.

    What the plan leaves to its default, such as a learning rate, has no place in its range and stays as it is.
    """

    def __init__(self, search: Judge, start: PlanEvaluation) -> None:
        space = search.evaluator.study.space
        self.search, self.start = search, start
        self.ranges: list[RangeDimension] = [one for one in space.smooth if start.values[one.path] is not None]
        self.mix: MixDimension | None = space.mix
        self.size = len(self.ranges) + (0 if self.mix is None else len(self.mix.domains))
        self.step = search.step_of(start)
        self.scale = max(abs(search.aim(start)), 1e-12)
        self.names = [name for name in start.excess if name not in search.free]
        self._known: dict[bytes, PlanEvaluation] = {}
        self._slopes: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def solve(self) -> PlanEvaluation:
        """Minimise, then go back towards the start until every limit is kept again."""
        from scipy.optimize import minimize

        x0 = self.vector(self.start.values)
        limits: list[dict[str, Any]] = [
            {"type": "ineq", "fun": lambda x: -self.excess(self.at(x)), "jac": lambda x: -self.slopes(x)[1]}
        ]
        if self.mix is not None:
            place = np.r_[np.zeros(len(self.ranges)), np.ones(len(self.mix.domains))]
            limits.append({"type": "eq", "fun": lambda x: float(place @ x) - 1.0, "jac": lambda x: place[None]})
        found = minimize(
            lambda x: self.search.aim(self.at(x)) / self.scale,
            x0,
            jac=lambda x: self.slopes(x)[0],
            bounds=self.bounds(),
            constraints=limits,
            method="SLSQP",
            options={"maxiter": _ITERATIONS, "ftol": 1e-9},
        )
        end = np.clip(np.nan_to_num(found.x, nan=0.5), *np.array(self.bounds()).T)
        return self._kept(x0, end)

    def _kept(self, x0: np.ndarray, end: np.ndarray) -> PlanEvaluation:
        best = self.at(end)
        if self.search.missed(best) <= self.search.missed(self.start):
            return best
        low, high = 0.0, 1.0
        best = self.start
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            one = self.at(x0 + middle * (end - x0))
            if self.search.missed(one) <= self.search.missed(self.start):
                low = middle
                best = one if self.search.better(one, best) else best
            else:
                high = middle
        return best

    def vector(self, values: Values) -> np.ndarray:
        """The vector of a plan, `(size,)`."""
        parts = [_unit(one, float(values[one.path])) for one in self.ranges]
        return np.array([*parts, *(() if self.mix is None else self.mix.array(values))])

    def values(self, x: np.ndarray) -> dict[str, Any]:
        """The plan of a vector `(size,)`."""
        found = dict(self.start.values)
        for one, u in zip(self.ranges, x, strict=False):
            found[one.path] = _value(one, float(u))
        if self.mix is not None:
            shares = np.clip(x[len(self.ranges) :], 0.0, 1.0)
            found[self.mix.path] = self.mix.shares(shares / shares.sum())
        return found

    def bounds(self) -> list[tuple[float, float]]:
        """Bounds of each coordinate."""
        shares = [] if self.mix is None else list(zip(self.mix.low, self.mix.high, strict=True))
        return [(0.0, 1.0)] * len(self.ranges) + [(float(low), float(high)) for low, high in shares]

    def at(self, x: np.ndarray) -> PlanEvaluation:
        """The evaluation of the plan of a vector `(size,)`."""
        key = np.asarray(x).tobytes()
        if key not in self._known:
            self._known[key] = self.search.many([self.values(x)], self.step)[0]
        return self._known[key]

    def excess(self, one: PlanEvaluation) -> np.ndarray:
        """Excess of the limits that must be kept."""
        return np.array([one.excess[name] for name in self.names])

    def slopes(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient of the aim `(size,)` and of the limits `(limits, size)`, by differences in one batch."""
        key = np.asarray(x).tobytes()
        if key not in self._slopes:
            steps = self._steps(x)
            here = self.at(x)
            moved = self.search.many([self.values(x + step) for step in np.diag(steps)], self.step)
            aims = np.array([self.search.aim(one) - self.search.aim(here) for one in moved]) / steps / self.scale
            limits = np.array(
                [(self.excess(one) - self.excess(here)) / by for one, by in zip(moved, steps, strict=True)]
            )
            self._slopes[key] = aims, limits.T.reshape(len(self.names), len(x))
        return self._slopes[key]

    def _steps(self, x: np.ndarray) -> np.ndarray:
        """Lengths of differences, inwards at the upper end."""
        widths = [
            STEP_LOG_TOKENS / math.log(one.high / one.low) if one.path == _TOKENS and one.log else _STEP_UNIT
            for one in self.ranges
        ]
        steps = np.array([*widths, *[_STEP_SHARE] * (len(x) - len(widths))])
        return np.where(x + steps > [high for _, high in self.bounds()], -steps, steps)


def _unit(one: RangeDimension, value: float) -> float:
    """A value's place in its range, 0 to 1."""
    if one.log:
        return math.log(value / one.low) / math.log(one.high / one.low)
    return (value - one.low) / (one.high - one.low)


def _value(one: RangeDimension, u: float) -> float | int:
    """The value at a place of a range."""
    u = min(max(u, 0.0), 1.0)
    return one.snapped(one.low * (one.high / one.low) ** u if one.log else one.low + u * (one.high - one.low))
