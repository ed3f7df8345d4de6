"""Forecasts at the ends of a plan's branches, such as cooldowns that leave the run on its way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ....core.quantity import Quantity
from ...config.hardware import HardwareConfig
from ...config.model_and_data import TargetConfig
from ...config.run_config import RunConfig
from ...curve.rates.branches import branch_plans

__all__ = ["BranchForecast", "branch_forecasts"]


class BranchForecast(NamedTuple):
    """The end of a branch: as that of a run that was planned with so many tokens from the beginning."""

    name: str
    left_tokens: float
    """Tokens after which it leaves the main run."""
    tokens: float
    """Tokens behind at its end, those before it left among them."""
    loss_nats: Quantity

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "left_tokens": self.left_tokens,
            "tokens": self.tokens,
            "loss_nats": self.loss_nats.to_dict(),
            "perplexity": math.exp(self.loss_nats.median),
        }


def branch_forecasts(config: RunConfig, loss_of: Callable[[RunConfig], Quantity]) -> tuple[BranchForecast, ...]:
    """The forecast at the end of every branch; none for a plan without any.

    Args:
        config: The plan.
        loss_of: Forecasts the final loss of a plan, nats.
    """
    bare = {"hardware": HardwareConfig(), "layout": None, "targets": TargetConfig()}
    return tuple(
        BranchForecast(one.name, one.left_tokens, one.config.data.tokens, loss_of(one.config.model_copy(update=bare)))
        for one in branch_plans(config)
    )
