"""Local search from good trials: gradient steps in smooth dimensions, discrete moves in the others.

Sequential quadratic programming (SciPy's SLSQP) optimises tokens, learning rates and shares of the mix under the smooth
part of the predictor, law and process, in a fixed layout. Sizes, batches, devices and choices are then moved one at a
time, with tokens adjusted to the limits, and both alternate. The improved plans are added to the study as trials, which
the full forecast evaluates as any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..evaluate import MACHINES, Evaluator, PlanEvaluation
from ..space.dimensions import RangeDimension, Values
from .gradients import STEP_LOG_TOKENS, SmoothProblem

__all__ = ["Aim", "LocalSearch", "improve"]

Aim = Callable[[PlanEvaluation], float]
"""The objective that a local search minimises."""

_ROUNDS = 6
_GAIN = 1e-6  # relative; smaller gains end the search
_SECANTS = 4
_ON_LIMIT, _MARGIN = 1e-4, 3e-5  # log tokens from a limit that are no room; and what secants aim at
_FARTHEST = 3.0  # log tokens of one secant
_TOKENS = "data.tokens"


def improve(
    evaluator: Evaluator, start: PlanEvaluation, aim: Aim, *, budget: int, free: Sequence[str] = ()
) -> PlanEvaluation:
    """The best plan found near a starting point; the starting point itself if there is none better.

    Args:
        evaluator: Evaluates plans.
        start: The starting point.
        aim: The objective, minimised among plans that keep the limits.
        budget: Approximate number of evaluations.
        free: Names of limits that need not be kept.
    """
    search = LocalSearch(evaluator, aim, frozenset(free), budget)
    first = search.many([start.values])[0]  # with limits of this evaluator's own, and a step to keep
    best = search.along_gradients(first)
    for _ in range(_ROUNDS):
        moved = search.by_moves(best)
        if not search.better(moved, best) or search.left <= 0:
            break
        best = search.along_gradients(moved)
    return best if search.better(best, first) else start


@dataclass(frozen=True)
class _Trend:
    """The limits that bound the tokens in the direction of the aim; `slope` of their excess in log tokens."""

    limits: tuple[str, ...]
    slope: float

    def worst(self, one: PlanEvaluation) -> float:
        """The largest excess of these limits, log units."""
        return max(one.excess[name] for name in self.limits)


_UNKNOWN = _Trend((), 0.0)


@dataclass
class LocalSearch:
    """The state of one local search: its objective, the limits that need not be kept, the evaluations left."""

    evaluator: Evaluator
    aim: Aim
    free: frozenset[str]
    left: int
    """Evaluations that may still be made."""
    trend: _Trend | None = field(default_factory=lambda: _UNKNOWN)

    def missed(self, one: PlanEvaluation) -> float:
        """Total excess over the limits that must be kept, log units."""
        return sum(max(value, 0.0) for name, value in one.excess.items() if name not in self.free)

    def better(self, one: PlanEvaluation, other: PlanEvaluation) -> bool:
        """Whether one plan keeps more of the limits, or as many and aims better by more than rounding."""
        ours, theirs = self.missed(one), self.missed(other)
        if ours > 0 or theirs > 0:
            return ours < theirs - 1e-9
        gain = self.aim(other) - self.aim(one)
        return gain > _GAIN * max(abs(self.aim(other)), 1e-12)

    def many(self, plans: Sequence[Values], like: Any = None) -> list[PlanEvaluation]:
        """Evaluate plans, and count the evaluations."""
        self.left -= len(plans)
        return self.evaluator.many(plans, like)

    def by_moves(self, best: PlanEvaluation) -> PlanEvaluation:
        """The first better plan along each dimension that isn't smooth, one after the other."""
        for dimension in self.evaluator.study.space.dimensions:
            for value in dimension.moves(best.values):
                if self.left <= 0:
                    return best
                moved = self.to_limits(self.many([{**best.values, dimension.path: value}])[0])
                if self.better(moved, best):
                    best = moved
        return best

    def to_limits(self, one: PlanEvaluation) -> PlanEvaluation:
        """The plan with as many tokens as its limits allow, or as few, by secants in log tokens.

        As many where the aim falls with tokens, as a loss does; as few where it rises, as a cost does. The plan is
        unchanged if no limit bounds the tokens in that direction.
        """
        tokens, step = self.tokens, self.step_of(one)
        trend = None if tokens is None or one.why is not None else self._trend(one, tokens, step)
        if tokens is None or trend is None:
            return one
        best, here, slope, worst = one, math.log(one.values[_TOKENS]), trend.slope, trend.worst(one)
        for _ in range(_SECANTS):
            if -_ON_LIMIT * abs(slope) < worst <= 0:
                break
            move = (-_MARGIN * abs(slope) - worst) / slope
            wanted = tokens.snapped(math.exp(here + min(max(move, -_FARTHEST), _FARTHEST)))
            if wanted == one.values[_TOKENS]:
                break
            one = self.many([{**one.values, _TOKENS: wanted}], step)[0]
            best = one if self.better(one, best) else best
            place, excess = math.log(wanted), trend.worst(one)
            if place == here:  # at the end of the range already, but for rounding
                break
            secant = (excess - worst) / (place - here)
            slope = secant if secant * slope > 0 else slope
            here, worst = place, excess
        return best

    def _trend(self, one: PlanEvaluation, tokens: RangeDimension, step: Any) -> _Trend | None:
        """The effect of more tokens, found at the first plan and reused for plans near it; None if there is none."""
        if self.trend is _UNKNOWN:
            here = float(one.values[_TOKENS])
            move = -STEP_LOG_TOKENS if here * math.exp(STEP_LOG_TOKENS) > tokens.high else STEP_LOG_TOKENS
            moved = self.many([{**one.values, _TOKENS: tokens.snapped(here * math.exp(move))}], step)[0]
            gain = (self.aim(one) - self.aim(moved)) * move
            held = [name for name in one.excess if name not in (*self.free, MACHINES)]
            slopes = {name: (moved.excess[name] - one.excess[name]) / move for name in held}
            ends = {name: slope for name, slope in slopes.items() if slope * gain > 0}
            steepest = max(ends.values(), key=abs, default=0.0)
            self.trend = _Trend(tuple(ends), 1.0 if gain > 0 else steepest) if ends else None
        return self.trend

    def along_gradients(self, start: PlanEvaluation) -> PlanEvaluation:
        """The result of sequential quadratic programming from a plan; the plan itself if that doesn't improve it."""
        problem = SmoothProblem(self, start)
        if start.why is not None or not problem.size or self.left < 2 * problem.size:
            return start
        if problem.size == 1 and self.tokens is not None:
            found = self.to_limits(start)
            if self.better(found, start) or self.on_limit(start):
                return found  # tokens are where a limit ends them: nothing is left for gradients
        found = problem.solve()
        return found if self.better(found, start) else start

    @property
    def tokens(self) -> RangeDimension | None:
        """The range of tokens, if they may take any value of one."""
        return next((d for d in self.evaluator.study.space.smooth if d.path == _TOKENS), None)

    def on_limit(self, one: PlanEvaluation) -> bool:
        """Whether some limit is just kept."""
        return any(-_ON_LIMIT < value <= 0 for name, value in one.excess.items() if name not in self.free)

    def step_of(self, one: PlanEvaluation) -> Any:
        """The step of a plan on its machines, None where those don't matter."""
        return None if one.config is None else self.evaluator.step(one.config)
