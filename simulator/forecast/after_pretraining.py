"""`after_pretraining`: what the stages after a planned run give and cost, and what all of it costs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.quantity import LEVELS, Quantity
from ..after_pretraining.continued.outlook import ContinuedOutlook, continued_laws, continued_outlook
from ..after_pretraining.feedback.outlook import FeedbackOutlook, feedback_law, feedback_outlook
from ..after_pretraining.machine_time import MachineTime
from ..after_pretraining.oversight.outlook import OversightOutlook, oversight_outlook
from ..cluster.cluster_estimate import ClusterEstimate
from ..config.run_config import RunConfig
from ..predictor.prediction import LossPrediction
from ..predictor.predictor import Predictor
from .law_inputs import planned, run_columns

__all__ = [
    "AfterPretraining",
    "StagePart",
    "after_pretraining",
    "check_laws",
    "stage_parts",
    "states_stages",
    "totals",
]


@dataclass(frozen=True)
class StagePart:
    """A part of what a plan with its stages costs; None what it says too little for, and of labels without wall clock.

    What has no doubt of its own has intervals of no width.
    """

    name: str
    cost_usd: Quantity | None
    wall_clock_days: Quantity | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        both = {"cost_usd": self.cost_usd, "wall_clock_days": self.wall_clock_days}
        return {"name": self.name, **{key: None if one is None else one.to_dict() for key, one in both.items()}}


@dataclass(frozen=True)
class AfterPretraining:
    """The stages after a run; None what the plan doesn't state."""

    continued: ContinuedOutlook | None
    feedback: FeedbackOutlook | None
    oversight: OversightOutlook | None
    total_cost_usd: Quantity | None
    """Pretraining, machines of all stages and labels, US dollars; None where the plan states no price."""
    total_days: Quantity | None
    """Their wall clock one after the other; None where it says too little of its machines."""
    parts: tuple[StagePart, ...] = ()
    """What both are the sums of; empty where the plan says too little of its machines."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of all stages."""
        stages = (self.continued, self.feedback, self.oversight)
        return tuple(note for stage in stages if stage is not None for note in stage.notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for what the plan doesn't state."""
        plain = {"continued_pretraining": self.continued, "post_training": self.feedback, "oversight": self.oversight}
        totals = {"total_cost_usd": self.total_cost_usd, "total_wall_clock_days": self.total_days}
        every = {name: None if one is None else one.to_dict() for name, one in (plain | totals).items()}
        return {**every, "parts": [part.to_dict() for part in self.parts]}


def states_stages(config: RunConfig) -> bool:
    """Whether a plan states any stage after pretraining."""
    return any(one is not None for one in (config.continued_pretraining, config.post_training, config.oversight))


def check_laws(config: RunConfig) -> None:
    """Raise InputError, or ConfigError, where a stage of a plan names a law that can't be read or isn't of it."""
    if config.continued_pretraining is not None:
        continued_laws(config)
    if config.post_training is not None:
        feedback_law(config)


def after_pretraining(
    config: RunConfig,
    predictor: Predictor,
    predictions: Mapping[str, LossPrediction],
    main: str,
    cluster: ClusterEstimate | None,
) -> AfterPretraining | None:
    """What the stages after a planned run give and cost; None for a plan without any.

    Args:
        config: The plan.
        predictor: Predicts the loss.
        predictions: What it says of the plan, by target.
        main: The target of the headline.
        cluster: The plan's machines; None where it states too little of them.

    Raises:
        InputError: A law's file can't be read, or the plan lies too far beyond its runs.
    """
    if not states_stages(config):
        return None
    continued = _continued(config, predictor, predictions, main, cluster)
    feedback = feedback_outlook(config, cluster)
    oversight = oversight_outlook(config, None if feedback is None else feedback.label_hours)
    parts = stage_parts(continued, feedback, cluster)
    return AfterPretraining(continued, feedback, oversight, *totals(parts), parts)


def stage_parts(
    continued: ContinuedOutlook | None, feedback: FeedbackOutlook | None, cluster: ClusterEstimate | None
) -> tuple[StagePart, ...]:
    """Pretraining, then machines and labels of the stages after it; none where the plan's machines aren't known."""
    if cluster is None:
        return ()
    found = [StagePart("pretraining", cluster.cost_usd, cluster.wall_clock_days)]
    if continued is not None:
        found.append(_machines("continued pretraining", continued.machines))
    if feedback is not None:
        found.append(_machines("feedback, machines", feedback.machines))
        found.append(StagePart("feedback, labels", feedback.label_usd, feedback.label_days))
    return tuple(found)


def totals(parts: Sequence[StagePart]) -> tuple[Quantity | None, Quantity | None]:
    """Cost, US dollars, and days of all parts; None where there are none, the cost where that of any isn't known."""
    if not parts:
        return None, None
    costs = [part.cost_usd for part in parts if part.cost_usd is not None]
    days = [part.wall_clock_days for part in parts if part.wall_clock_days is not None]
    return _sum(costs) if len(costs) == len(parts) else None, _sum(days)


def _machines(name: str, machines: MachineTime) -> StagePart:
    return StagePart(name, _certain(machines.usd), _certain(machines.days))


def _certain(value: float | None) -> Quantity | None:
    return None if value is None else Quantity(value, dict.fromkeys(LEVELS, (value, value)))


def _sum(parts: Sequence[Quantity]) -> Quantity:
    """The sum of parts that err each by itself; its median is the sum of their medians, so that rows add up."""
    median = sum(part.median for part in parts)
    intervals = {}
    for level in parts[0].intervals:
        low = np.hypot.reduce([part.median - part.intervals[level][0] for part in parts])
        high = np.hypot.reduce([part.intervals[level][1] - part.median for part in parts])
        intervals[level] = (median - float(low), median + float(high))
    return Quantity(median, intervals)


def _continued(
    config: RunConfig,
    predictor: Predictor,
    predictions: Mapping[str, LossPrediction],
    main: str,
    cluster: ClusterEstimate | None,
) -> ContinuedOutlook | None:
    stage = config.continued_pretraining
    if stage is None:
        return None
    general = predictor.mean({name: predictions[name] for name in predictor.parts(main)})
    target = f"loss.{stage.domain}"
    domain = predictions.get(target)
    generalist = None if domain is None else _generalist(config, predictor, target)
    return continued_outlook(
        config,
        general.quantity(),
        None if domain is None else domain.quantity(),
        None if generalist is None else generalist.quantity(),
        cluster,
    )


def _generalist(config: RunConfig, predictor: Predictor, target: str) -> LossPrediction:
    """The loss on a domain of the same plan with as many tokens more, of its own mix."""
    stage = config.continued_pretraining
    assert stage is not None
    tokens = config.data.tokens + stage.tokens
    longer = config.model_copy(update={"data": config.data.model_copy(update={"tokens": tokens})})
    return planned(longer, predictor.models[target], run_columns(longer, predictor, []))[0]
