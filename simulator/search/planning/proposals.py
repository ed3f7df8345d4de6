"""`Proposal`, a plan for a real run that a planner suggests, and `ProposalResult`, its reported result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....core.errors import InputError
from ...config.run_config import RunConfig
from ...forecast.forecast import Forecast
from ...forecast.law_inputs import planned, run_columns
from ...predictor.prediction import LossPrediction
from ...predictor.predictor import Predictor
from .outcomes.outcome import RunOutcome

__all__ = ["LEVEL", "Expected", "Proposal", "ProposalResult", "expect"]

LEVEL = 0.9
"""Level of the central intervals that results are compared with."""


@dataclass(frozen=True)
class Proposal:
    """One plan that waits for a real run."""

    number: int
    """The trial's number, unique among all processes of the planner."""
    name: str
    """`<planner>-<number>`: a run of this name is matched to the proposal by it."""
    values: Mapping[str, Any]
    """The values that the search chose, by path of the run configuration."""
    config: RunConfig
    """The complete plan, named like the proposal."""
    forecast: Forecast
    """The forecast by the current predictor."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `config` is a run configuration that a job can be launched from."""
        return {
            "trial": self.number,
            "name": self.name,
            "values": dict(self.values),
            "config": self.config.to_mapping(),
            "forecast": self.forecast.to_dict(),
        }


@dataclass(frozen=True)
class Expected:
    """A predicted loss: its median and 90 % interval, nats per token."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, prediction: LossPrediction) -> Expected:
        """From the prediction of one run."""
        low, high = prediction.interval(LEVEL)
        return cls(float(prediction.loss_nats[0]), float(low[0]), float(high[0]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in the form that forecasts use for a quantity."""
        return {"median": self.median, "intervals": {f"{LEVEL:g}": [self.low, self.high]}}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Expected:
        """The inverse of `to_dict`."""
        low, high = facts["intervals"][f"{LEVEL:g}"]
        return cls(float(facts["median"]), float(low), float(high))


@dataclass(frozen=True)
class ProposalResult:
    """A reported result beside its forecast, by target (`loss`, `loss.<domain>`), nats per token."""

    number: int
    name: str
    told: RunOutcome
    before: Mapping[str, Expected]
    """The forecast before the result was known."""
    places: Mapping[str, float]
    """The quantile of that forecast at which the result fell: 0.5 its median, below 0.05 under its 90 % interval."""
    after: Mapping[str, Expected]
    """The forecast of the same plan after refitting; empty in a history, which is stored before refitting."""
    notes: Sequence[str] = ()
    news: bool = True
    """False if the same result had been reported before."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        return {
            "trial": self.number,
            "name": self.name,
            "status": self.told.status,
            "observed_nats": dict(self.told.losses),
            "before_nats": {target: one.to_dict() for target, one in self.before.items()},
            "quantiles": dict(self.places),
            "after_nats": {target: one.to_dict() for target, one in self.after.items()},
            "news": self.news,
            "notes": list(self.notes),
            "told": self.told.to_dict(),
        }

    def record(self) -> dict[str, Any]:
        """The part of it that the trial stores."""
        facts = self.to_dict()
        return {key: facts[key] for key in ("told", "before_nats", "quantiles", "notes")}

    @classmethod
    def restore(cls, number: int, name: str, record: Mapping[str, Any]) -> ProposalResult:
        """The inverse of `record`. InputError for a record that wasn't written by a planner."""
        try:
            return cls(
                number,
                name,
                _outcome(record["told"]),
                {target: Expected.from_dict(facts) for target, facts in record["before_nats"].items()},
                {target: float(place) for target, place in record["quantiles"].items()},
                {},
                tuple(record["notes"]),
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            raise InputError(f"trial {number}: its result isn't one that a planner of foretrain's wrote") from None


def expect(
    predictor: Predictor, config: RunConfig, losses: Mapping[str, float]
) -> tuple[dict[str, Expected], dict[str, float]]:
    """The predicted losses of a run, and the quantiles at which its observed `losses` lie, both by target."""
    columns, expected, places = run_columns(config, predictor, []), {}, {}
    for target, loss in losses.items():
        prediction, _ = planned(config, predictor.models[target], columns)
        expected[target] = Expected.of(prediction)
        places[target] = float(prediction.probability_at_most(loss)[0])
    return expected, places


def _outcome(facts: Mapping[str, Any]) -> RunOutcome:
    """The inverse of `RunOutcome.to_dict`."""
    return RunOutcome(
        run_id=str(facts["run_id"]),
        status=facts["status"],
        losses={target: float(loss) for target, loss in facts["losses_nats"].items()},
        tokens=facts["tokens"],
        params=facts["params_total"],
        trial=facts["trial"],
        where=str(facts["where"]),
        columns=dict(facts["columns"]),
        notices=tuple(facts["notices"]),
    )
