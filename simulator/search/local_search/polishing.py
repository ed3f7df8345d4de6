"""Local search from the best trials of a study: its starting points, its objectives, and the improved plans."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...cluster.estimate import PlannedStep
from ..evaluate import Evaluator, PlanEvaluation
from ..space.dimensions import Values
from ..study import Study
from .fronts import front_of, spread_out
from .polish import improve

__all__ = ["polished"]

_STARTS = 3
_FRONT_STARTS = 6
_LEAST_EVALUATIONS, _MOST_EVALUATIONS = 100, 400  # of one local search


def polished(
    evaluator: Evaluator,
    known: Sequence[PlanEvaluation],
    budget: int,
    done: set[str],
    progress: Callable[[float], None] | None = None,
) -> list[PlanEvaluation]:
    """Better plans than those known, found by local search from the best of them.

    Args:
        evaluator: Evaluates plans of the study.
        known: Evaluated plans.
        budget: Approximate number of evaluations. With one goal, the best plan found is then improved further, to a
            local optimum.
        done: Keys of plans from which a search has started before; those of this search are added.
        progress: Called with the share of starting points that are done.
    """
    study = evaluator.study
    starts = _starts(evaluator, [one for one in known if _key(one) not in done])
    found = []
    each = min(_MOST_EVALUATIONS, max(budget // max(len(starts), 1), _LEAST_EVALUATIONS))
    for number, (judge, start) in enumerate(starts):
        if progress is not None:
            progress(number / len(starts))
        done.add(_key(start))
        goal = number % len(study.goals)
        better = improve(judge, start, lambda one, goal=goal: _signed(study, one, goal), budget=each)
        if better is not start:
            found.append(better)
    if found and len(study.goals) == 1 and not _all_smooth(study):  # moves end where the budget does
        found.append(_to_the_end(evaluator, min(found, key=lambda one: (_missed(one), _signed(study, one, 0)))))
    return found


def _to_the_end(evaluator: Evaluator, one: PlanEvaluation) -> PlanEvaluation:
    """The local optimum that is reached from a plan without a limit on evaluations."""
    return improve(evaluator, one, lambda plan: _signed(evaluator.study, plan, 0), budget=_MOST_EVALUATIONS)


def _starts(evaluator: Evaluator, fresh: Sequence[PlanEvaluation]) -> list[tuple[Evaluator, PlanEvaluation]]:
    """Starting points with their evaluators: the best plan, points along the front, or the least infeasible."""
    study, feasible = evaluator.study, [one for one in fresh if one.feasible]
    if not feasible:
        return [(evaluator, one) for one in sorted(fresh, key=_missed)[:_STARTS]]
    if len(study.goals) == 1:
        ordered = sorted(feasible, key=lambda one: _signed(study, one, 0))
        return [(evaluator, one) for one in _different(ordered, study)]
    points = spread_out(front_of(feasible, study.directions), study.directions, _FRONT_STARTS)
    return [(_Capped.at(evaluator, one), one) for one in points]


def _key(one: PlanEvaluation) -> str:
    return repr(sorted(one.values.items()))


def _signed(study: Study, one: PlanEvaluation, goal: int) -> float:
    """A goal with the sign with which it is minimised."""
    return one.goals[goal] if study.directions[goal] == "minimize" else -one.goals[goal]


def _missed(one: PlanEvaluation) -> float:
    return sum(max(value, 0.0) for value in one.excess.values())


def _different(ordered: Sequence[PlanEvaluation], study: Study) -> list[PlanEvaluation]:
    """The first few of which no two share all that isn't smooth; fewer where there aren't as many."""
    smooth, seen, found = _smooth(study), set(), []
    for one in ordered:
        key = repr(sorted((path, value) for path, value in one.values.items() if path not in smooth))
        if key not in seen or _all_smooth(study):
            seen.add(key)
            found.append(one)
        if len(found) == _STARTS:
            break
    return found


def _smooth(study: Study) -> set[str]:
    return {dimension.path for dimension in study.space.smooth} | {"data.mix", "data.tokens"}


def _all_smooth(study: Study) -> bool:
    """Whether all dimensions are smooth, so that gradients alone reach the optimum."""
    return set(study.space.paths) <= _smooth(study)


@dataclass
class _Capped(Evaluator):
    """An evaluator with the goals of a point of the front as further limits, so that no goal gets worse."""

    inner: Evaluator
    caps: tuple[float, ...]

    @classmethod
    def at(cls, evaluator: Evaluator, point: PlanEvaluation) -> _Capped:
        return cls(evaluator, point.goals)

    def __post_init__(self) -> None:
        self.study = self.inner.study

    def many(self, plans: Sequence[Values], like: PlannedStep | None = None) -> list[PlanEvaluation]:
        return [self._with_caps(one) for one in self.inner.many(plans, like)]

    def step(self, config: Any) -> PlannedStep | None:
        return self.inner.step(config)

    def _with_caps(self, one: PlanEvaluation) -> PlanEvaluation:
        extra = {}
        for number, (value, cap, way) in enumerate(zip(one.goals, self.caps, self.study.directions, strict=True)):
            if value > 0 and cap > 0:
                ratio = math.log(value / cap)
                extra[f"goal {number}"] = (ratio if way == "minimize" else -ratio) - 1e-9
        return replace(one, excess={**one.excess, **extra})
