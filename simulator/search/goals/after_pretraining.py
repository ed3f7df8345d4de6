"""Measures of the stages after pretraining, for goals and limits: what is gained, forgotten and paid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ....core.quantity import Quantity
from ...forecast.after_pretraining import AfterPretraining

__all__ = ["STAGE_MEASURES", "StageMeasure"]


@dataclass(frozen=True)
class StageMeasure:
    """One number of the stages after a run."""

    unit: str
    of: Callable[[AfterPretraining], Quantity | float | None]
    section: str
    """The section of the plan that it is of; empty for what all of them add to."""
    needs_cluster: bool = False
    reads_losses: bool = False

    def value(self, after: AfterPretraining, quantile: float) -> float:
        """It, at a quantile; NaN where the plan says too little."""
        found = self.of(after)
        if isinstance(found, Quantity):
            return found.quantile(quantile)
        return math.nan if found is None else found


def _continued(name: str, unit: str) -> StageMeasure:
    return StageMeasure(
        unit, lambda a: a.continued and getattr(a.continued, name), "continued_pretraining", reads_losses=True
    )


def _feedback(name: str, unit: str) -> StageMeasure:
    return StageMeasure(unit, lambda a: a.feedback and getattr(a.feedback, name), "post_training")


STAGE_MEASURES: Mapping[str, StageMeasure] = {
    "specialist_loss_nats": _continued("domain_loss_nats", "nats"),
    "specialist_general_loss_nats": _continued("general_loss_nats", "nats"),
    "specialist_general_ratio": _continued("general_ratio", ""),
    "feedback_gain": _feedback("gain", "reward"),
    "p_past_peak": _feedback("p_past_peak", ""),
    "label_usd": _feedback("label_usd", "USD"),
    "label_hours": _feedback("label_hours", "hours"),
    "oversight_success": StageMeasure("", lambda a: a.oversight and a.oversight.success, "oversight"),
    "total_cost_usd": StageMeasure("USD", lambda a: a.total_cost_usd, "", needs_cluster=True, reads_losses=True),
    "total_wall_clock_days": StageMeasure("days", lambda a: a.total_days, "", needs_cluster=True, reads_losses=True),
}
"""By name."""
