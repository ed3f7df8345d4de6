"""The record of a plan in a trial: stored in Optuna's attributes, and read back for local search and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ....core.errors import InputError
from ..evaluate import PlanEvaluation

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial

__all__ = ["ORIGIN", "PLAN", "evaluations", "keep", "restore"]

PLAN = "plan"
"""User attribute of a trial: its values by path, what counts against its limits, why it is impossible if it is."""
ORIGIN = "origin"
"""User attribute of a trial that the sampler didn't choose: the name of a warm start, or `polish`."""


def keep(trial: Trial, evaluation: PlanEvaluation) -> Sequence[float]:
    """Store an evaluation in a running trial, and return the trial's objective values."""
    for name, excess in evaluation.excess.items():
        trial.set_constraint(name, excess)
    plan = {"values": dict(evaluation.values), "measured": dict(evaluation.measured), "why": evaluation.why}
    trial.set_user_attr(PLAN, plan)
    return evaluation.goals


def restore(trial: FrozenTrial) -> PlanEvaluation:
    """Read the evaluation that `keep` stored. InputError for a trial that wasn't written by it."""
    plan: Any = trial.user_attrs.get(PLAN)
    try:
        return PlanEvaluation(
            values=dict(plan["values"]),
            config=None,
            goals=tuple(trial.values),
            excess=dict(trial.constraints),
            measured={name: float(value) for name, value in plan["measured"].items()},
            why=plan["why"],
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        raise InputError(
            f"trial {trial.number}: holds no plan of foretrain's; expected a study that only foretrain has written to"
        ) from None


def evaluations(found: OptunaStudy) -> dict[int, PlanEvaluation]:
    """Every complete trial's evaluation by its number."""
    from optuna.trial import TrialState

    return {t.number: restore(t) for t in found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
