"""`Candidate`: one plan of a study with its full forecast and its differences to the run as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.errors import ForetrainError
from ...core.quantity import Difference
from ..forecast.compare import differences
from ..forecast.forecast import Forecast
from .evaluate import Evaluator, PlanEvaluation
from .study import Study

__all__ = ["Candidate", "compared", "forecast_of"]


@dataclass(frozen=True)
class Candidate:
    """One plan of a study."""

    number: int | None
    """Its trial; None for the run as it is, where that can't be a trial."""
    origin: str
    """sampler, polish, or the recipe's name."""
    evaluation: PlanEvaluation
    forecast: Forecast | None
    """None where the plan can't be run."""
    difference: Mapping[str, Difference] = field(default_factory=dict)
    """By figure, the forecast minus that of the run as it is; empty where one of them can't be run."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        one = self.evaluation
        facts: dict[str, Any] = {
            "trial": self.number,
            "origin": self.origin,
            "values": dict(one.values),
            "goals": list(one.goals),
            "limits": dict(one.measured),
            "feasible": one.feasible,
            "why": one.why,
            "config": None,
            "forecast": None,
            "difference": {name: value.to_dict() for name, value in self.difference.items()},
        }
        if one.why is not None:
            facts["goals"] = [None] * len(one.goals)
        if self.forecast is not None:
            facts["config"] = self.forecast.config.to_mapping()
            facts["forecast"] = self.forecast.to_dict()
        return facts


def forecast_of(evaluator: Evaluator, one: PlanEvaluation) -> Forecast | None:
    """The full forecast of a plan; None where it can't be run."""
    if one.why is not None:
        return None
    try:
        return evaluator.forecast(one.values)
    except ForetrainError:
        return None


def compared(study: Study, baseline: Candidate, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with their differences to the run as it is."""
    runnable = [one.forecast for one in candidates if one.forecast is not None]
    if baseline.forecast is None or not runnable:
        return list(candidates)
    found = iter(differences([baseline.forecast, *runnable], study.predictor, study.step_times)[1:])
    return [one if one.forecast is None else replace(one, difference=next(found)) for one in candidates]
