"""`what_would_narrow`: everything that would narrow a forecast, the most useful first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...cluster.step_time.step_model import StepTimeModel
from ...predictor.predictor import Predictor
from ..forecast import Forecast
from .machines import on_machines
from .measures import Measure
from .text import name_the_text, own_run

__all__ = ["WhatNarrows", "what_would_narrow"]

_LEAST_SHARE = 0.01  # of a width: less is no help
_OUTCOME_OF = {"target": "loss_nats", "deadline": "wall_clock_days", "budget": "cost_usd"}


@dataclass(frozen=True)
class WhatNarrows:
    """What would narrow a forecast, the most useful first.

    >>> import foretrain
    >>> plan = {"model": {"params": "7B"}, "data": {"tokens": "1T"}, "targets": {"loss_nats": 2.0}}
    >>> predictor = foretrain.load_predictor("web-text")
    >>> found = what_would_narrow(foretrain.forecast(foretrain.RunConfig.from_mapping(plan), predictor), predictor)
    >>> found.outcome, found.measures[0].name, found.measures[0].cost.free
    ('loss_nats', 'name_the_text', True)
    """

    outcome: str
    """The outcome that is most in doubt against the plan's targets: loss_nats, where there are none."""
    measures: tuple[Measure, ...]
    """First those that narrow it, by how much; then what narrows others; last, assumptions that could be stated."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"outcome": self.outcome, "measures": [one.to_dict() for one in self.measures]}


def what_would_narrow(
    forecast: Forecast,
    predictor: Predictor,
    step_times: StepTimeModel | None = None,
    further: Sequence[Measure] = (),
) -> WhatNarrows:
    """Rank what would narrow a forecast by the share of the 90 % interval that goes.

    Args:
        forecast: The forecast.
        predictor: The predictor that was asked for it. A run of one's own and names of the text are weighed for one
            that follows plans.
        step_times: What predicted its step; by default the shipped model.
        further: Further measures, such as the proxies to train next, which are ranked among them.

    Returns:
        The measures, without those that would narrow nothing to speak of.
    """
    found = [*further, *on_machines(forecast, step_times)]
    if predictor.about.get("follows_plan"):
        found += [one for one in (name_the_text(forecast, predictor), own_run(forecast, predictor)) if one is not None]
    outcome = _OUTCOME_OF.get(forecast.chances.in_doubt or "", "loss_nats")

    def value(one: Measure) -> tuple[float, float]:
        of_outcome = one.of(outcome)
        return 0.0 if of_outcome is None else of_outcome.share, one.share

    useful = [one for one in found if not one.narrows or one.share >= _LEAST_SHARE]
    return WhatNarrows(outcome, tuple(sorted(useful, key=value, reverse=True)))
