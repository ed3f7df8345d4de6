"""`after_pretraining`: what the stages after a planned run give and cost, and what all of it costs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.quantity import Quantity
from ..cluster.cluster_estimate import ClusterEstimate
from ..config.run_config import RunConfig
from ..post_training.continued.outlook import ContinuedOutlook, continued_laws, continued_outlook
from ..post_training.feedback.outlook import FeedbackOutlook, feedback_law, feedback_outlook
from ..post_training.oversight.outlook import OversightOutlook, oversight_outlook
from ..predictor.prediction import LossPrediction
from ..predictor.predictor import Predictor
from .law_inputs import planned, run_columns

__all__ = ["AfterPretraining", "after_pretraining", "check_laws", "states_stages", "totals"]

_S_PER_DAY = 86_400.0


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

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of all stages."""
        stages = (self.continued, self.feedback, self.oversight)
        return tuple(note for stage in stages if stage is not None for note in stage.notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for what the plan doesn't state."""
        plain = {"continued_pretraining": self.continued, "post_training": self.feedback, "oversight": self.oversight}
        totals = {"total_cost_usd": self.total_cost_usd, "total_wall_clock_days": self.total_days}
        return {name: None if one is None else one.to_dict() for name, one in (plain | totals).items()}


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
    cost, days = totals(continued, feedback, cluster)
    return AfterPretraining(continued, feedback, oversight, cost, days)


def totals(
    continued: ContinuedOutlook | None, feedback: FeedbackOutlook | None, cluster: ClusterEstimate | None
) -> tuple[Quantity | None, Quantity | None]:
    """Cost, US dollars, and days of pretraining and the stages after it."""
    if cluster is None:
        return None, None
    stages = [one.machines for one in (continued, feedback) if one is not None]
    days = _sum([cluster.wall_clock_days, feedback and feedback.label_days], sum(one.days or 0.0 for one in stages))
    if cluster.cost_usd is None or any(one.usd is None for one in stages):
        return None, days
    labels = None if feedback is None else feedback.label_usd
    return _sum([cluster.cost_usd, labels], sum(one.usd or 0.0 for one in stages)), days


def _sum(parts: list[Quantity | None], certain: float) -> Quantity:
    """The sum of parts that err each by itself; its median is the sum of their medians, so that rows add up."""
    known = [part for part in parts if part is not None]
    median = sum(part.median for part in known) + certain
    levels = known[0].intervals
    intervals = {}
    for level in levels:
        low = np.hypot.reduce([part.median - part.intervals[level][0] for part in known])
        high = np.hypot.reduce([part.intervals[level][1] - part.median for part in known])
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
