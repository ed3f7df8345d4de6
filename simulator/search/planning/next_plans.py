"""Plans to propose for real runs: the best of a search, then others that differ from those and from tried plans."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ....core.progress import Progress
from ..evaluate import Evaluator, PlanEvaluation
from ..local_search.fronts import balanced, front_of, spread_out
from ..optimize import open_search, optimize, run_search
from ..space.dimensions import MixDimension, RangeDimension, Values
from ..space.spaces import Space
from ..study import Study
from ..trials.records import evaluations
from ..trials.samplers import choose_sampler

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["ProposedPlan", "apart", "judged_at", "search_plans"]

_SPACINGS = (0.05, 0.025, 0.0125, 0.003, 1e-4)
"""Least distances between plans, as shares of a range; the next is used when no plan at the one before is left."""
_MOST_ORDERED = 1_000


@dataclass(frozen=True)
class ProposedPlan:
    """A plan with its Optuna parameters."""

    values: Values
    evaluation: PlanEvaluation
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    spacing: float
    """The least distance that was required from the other plans."""


def judged_at(study: Study, quantile: float) -> Study:
    """The study with its goals evaluated at a quantile of the forecast, or at 1 - quantile where it maximises."""

    def at(direction: str) -> float:
        return quantile if direction == "minimize" else 1.0 - quantile

    goals = tuple(
        replace(goal, goal=goal.goal.model_copy(update={"quantile": at(goal.goal.direction)})) for goal in study.goals
    )
    return replace(study, goals=goals)


def search_plans(study: Study, taken: Sequence[Values], progress: Progress | None = None) -> Iterator[ProposedPlan]:
    """Feasible plans, the best first, each at a distance from earlier ones and from those `taken`.

    The search runs in memory and the iterator ends when no such plan is left. Raises InfeasibleError, with the
    smallest relaxation of the limits, if no plan is feasible.
    """
    study = replace(study, options=study.options.model_copy(update={"storage": None}))
    evaluator = Evaluator(study)
    feasible = [one for one in _searched(study, evaluator, progress) if one.feasible]
    if not feasible:
        found = optimize(study)
        found.require_feasible()
        feasible = [found.best.evaluation]
    chosen, exact = list(taken), _Exact(study, evaluator)
    ordered = _ordered(feasible, study.directions)
    for spacing in _SPACINGS:
        for one in ordered:
            if _near(study.space, one.values, chosen) < spacing:
                continue
            plan = exact(one)
            if plan is not None and _near(study.space, plan.values, chosen) >= spacing:
                chosen.append(plan.values)
                yield replace(plan, spacing=spacing)


def _near(space: Space, one: Values, others: Sequence[Values]) -> float:
    """Distance to the nearest of the others, 0 to 1."""
    return min((apart(space, one, other) for other in others), default=1.0)


def apart(space: Space, one: Values, other: Values) -> float:
    """Distance between two plans, 0 to 1: the largest difference in any dimension, as a share of its range."""
    return max((_apart(dimension, one, other) for dimension in space.dimensions), default=0.0)


def _apart(dimension: Any, one: Values, other: Values) -> float:
    mine, theirs = one.get(dimension.path), other.get(dimension.path)
    if isinstance(dimension, MixDimension):
        return float(abs(dimension.array(one) - dimension.array(other)).max())
    if isinstance(dimension, RangeDimension):
        return abs(_place(dimension, mine) - _place(dimension, theirs))
    return float(mine != theirs)


def _place(dimension: RangeDimension, value: Any) -> float:
    low, high = dimension.low, dimension.high
    if not high > low:
        return 0.0
    return math.log(value / low) / math.log(high / low) if dimension.log else (value - low) / (high - low)


def _searched(study: Study, evaluator: Evaluator, progress: Progress | None) -> list[PlanEvaluation]:
    """All plans that a search of the study evaluates, local search from the best included."""

    total = study.options.trials
    found = open_search(study, None, choose_sampler(study, total))
    run_search(study, evaluator, found, total, progress)
    return list(evaluations(found).values())


def _ordered(feasible: Sequence[PlanEvaluation], directions: Sequence[str]) -> list[PlanEvaluation]:
    """The best first; with several goals the balanced plan, then the rest of its Pareto front, then the next front."""
    if len(directions) == 1:
        sign = 1.0 if directions[0] == "minimize" else -1.0
        return sorted(feasible, key=lambda one: sign * one.goals[0])[:_MOST_ORDERED]
    left, found = list(feasible), []
    while left and len(found) < _MOST_ORDERED:
        front = front_of(left, directions)
        first = balanced(front, directions)
        found += [first, *(one for one in spread_out(front, directions, len(front)) if one is not first)]
        known = {id(one) for one in front}
        left = [one for one in left if id(one) not in known]
    return found


class _Exact:
    """Converts evaluations to plans, each only once."""

    def __init__(self, study: Study, evaluator: Evaluator) -> None:
        self._study, self._evaluator = study, evaluator
        self._known: dict[int, ProposedPlan | None] = {}

    def __call__(self, one: PlanEvaluation) -> ProposedPlan | None:
        """The plan as Optuna's parameters reproduce it; None if they can't, or if it then violates a limit."""
        if id(one) not in self._known:
            self._known[id(one)] = self._plan(one)
        return self._known[id(one)]

    def _plan(self, one: PlanEvaluation) -> ProposedPlan | None:
        from optuna.trial import FixedTrial

        params = self._study.space.encode(one.values)
        if params is None:
            return None
        trial = FixedTrial(params)
        values = self._study.space.suggest(trial)  # type: ignore[arg-type] - a FixedTrial suggests as a Trial does
        evaluation = self._evaluator(values)
        return ProposedPlan(values, evaluation, trial.params, trial.distributions, 0.0) if evaluation.feasible else None
