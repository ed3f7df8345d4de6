"""Local search from good trials: gradients along what is smooth, small moves along what isn't.

Sequential quadratic programming (SciPy's SLSQP) moves tokens, learning rates and shares of the mix on the predictor's
smooth side: law and process, in a layout that is kept. Sizes, batches, devices and choices are then moved one at a
time, tokens following to the limits, and so on in turn. What comes out goes back to the study as trials, which the
full forecast scores as any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dimensions import MixDimension, RangeDimension, Values
from .evaluate import MACHINES, Evaluation, Evaluator

__all__ = ["Aim", "improve"]

Aim = Callable[[Evaluation], float]
"""What a local search makes small."""

_ROUNDS = 6
_GAIN = 1e-6  # relative; smaller gains end the search
_STEP_LOG_TOKENS = 0.02  # of finite differences: interruptions are drawn, so that times are a little rough in tokens
_STEP_SHARE, _STEP_UNIT = 1e-4, 1e-3
_ITERATIONS = 25
_BISECTIONS = 10
_SECANTS = 4
_ON_LIMIT, _MARGIN = 1e-4, 3e-5  # log units below a limit that are no room; and what secants aim at
_TOKENS = "data.tokens"


def improve(evaluator: Evaluator, start: Evaluation, aim: Aim, *, budget: int, free: Sequence[str] = ()) -> Evaluation:
    """The best plan found near `start` with about `budget` evaluations; `start` itself where there is none better.

    Limits named in `free` need not be kept. A plan that keeps fewer limits is never better.
    """
    search = _LocalSearch(evaluator, aim, frozenset(free), budget)
    first = search.many([start.values])[0]  # with limits of this evaluator's own, and a step to keep
    best = search.along_gradients(first)
    for _ in range(_ROUNDS):
        moved = search.by_moves(best)
        if not search.better(moved, best) or search.left <= 0:
            break
        best = search.along_gradients(moved)
    return best if search.better(best, first) else start


@dataclass
class _LocalSearch:
    evaluator: Evaluator
    aim: Aim
    free: frozenset[str]
    left: int
    """Evaluations that may still be made."""

    def missed(self, one: Evaluation) -> float:
        """By how much limits are exceeded that must be kept, log units in all."""
        return sum(max(value, 0.0) for name, value in one.excess.items() if name not in self.free)

    def better(self, one: Evaluation, other: Evaluation) -> bool:
        """Whether one plan keeps more of the limits, or as many and aims better by more than rounding."""
        ours, theirs = self.missed(one), self.missed(other)
        if ours > 0 or theirs > 0:
            return ours < theirs - 1e-9
        gain = self.aim(other) - self.aim(one)
        return gain > _GAIN * max(abs(self.aim(other)), 1e-12)

    def many(self, plans: Sequence[Values], like: Any = None) -> list[Evaluation]:
        """Judge plans, and count them."""
        self.left -= len(plans)
        return self.evaluator.many(plans, like)

    def by_moves(self, best: Evaluation) -> Evaluation:
        """The first better plan along each dimension that isn't smooth, one after the other."""
        for dimension in self.evaluator.study.space.dimensions:
            for value in dimension.moves(best.values):
                if self.left <= 0:
                    return best
                moved = self.to_limits(self.many([{**best.values, dimension.path: value}])[0])
                if self.better(moved, best):
                    best = moved
        return best

    def to_limits(self, one: Evaluation) -> Evaluation:
        """The plan with as many tokens as its limits allow, by secants in log tokens; as it is without such limits."""
        tokens = self.tokens
        held = [name for name in one.excess if name not in (*self.free, MACHINES)]
        if tokens is None or one.why is not None or not held:
            return one
        best, step = one, self._step_of(one)
        for _ in range(_SECANTS):
            worst = max(one.excess[name] for name in held)
            if -_ON_LIMIT < worst <= 0:
                break
            wanted = tokens.snapped(one.values[_TOKENS] * math.exp(-worst - _MARGIN))
            if wanted == one.values[_TOKENS]:
                break
            one = self.many([{**one.values, _TOKENS: wanted}], step)[0]
            best = one if self.better(one, best) else best
        return best

    def along_gradients(self, start: Evaluation) -> Evaluation:
        """The end of sequential quadratic programming from a plan; the plan where that gains nothing."""
        problem = _Smooth(self, start)
        if start.why is not None or not problem.size or self.left < 2 * problem.size:
            return start
        if problem.size == 1 and self.tokens is not None:
            found = self.to_limits(start)
            if self.better(found, start) or self.on_limit(start):
                return found  # more tokens are better, up to a limit: nothing is left for gradients
        found = problem.solve()
        return found if self.better(found, start) else start

    @property
    def tokens(self) -> RangeDimension | None:
        """The range of tokens, if they may take any value of one."""
        return next((d for d in self.evaluator.study.space.smooth if d.path == _TOKENS), None)

    def on_limit(self, one: Evaluation) -> bool:
        """Whether some limit is just kept."""
        return any(-_ON_LIMIT < value <= 0 for name, value in one.excess.items() if name not in self.free)

    def _step_of(self, one: Evaluation) -> Any:
        return None if one.config is None else self.evaluator.step(one.config)


class _Smooth:
    """The smooth part of a plan as a vector: ranges in the unit of their width, then the shares of the mix."""

    def __init__(self, search: _LocalSearch, start: Evaluation) -> None:
        space = search.evaluator.study.space
        self.search, self.start = search, start
        self.ranges: list[RangeDimension] = space.smooth
        self.mix: MixDimension | None = space.mix
        self.size = len(self.ranges) + (0 if self.mix is None else len(self.mix.domains))
        self.step = search._step_of(start)
        self.scale = max(abs(search.aim(start)), 1e-12)
        self.names = [name for name in start.excess if name not in search.free]
        self._known: dict[bytes, Evaluation] = {}
        self._slopes: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def solve(self) -> Evaluation:
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

    def _kept(self, x0: np.ndarray, end: np.ndarray) -> Evaluation:
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
        """A plan's place, `(size,)`."""
        parts = [_unit(one, float(values[one.path])) for one in self.ranges]
        return np.array([*parts, *(() if self.mix is None else self.mix.array(values))])

    def values(self, x: np.ndarray) -> dict[str, Any]:
        """The plan at a place."""
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

    def at(self, x: np.ndarray) -> Evaluation:
        """What the plan at a place is worth."""
        key = np.asarray(x).tobytes()
        if key not in self._known:
            self._known[key] = self.search.many([self.values(x)], self.step)[0]
        return self._known[key]

    def excess(self, one: Evaluation) -> np.ndarray:
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
            _STEP_LOG_TOKENS / math.log(one.high / one.low) if one.path == _TOKENS and one.log else _STEP_UNIT
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
