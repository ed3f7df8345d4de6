"""What could be done to narrow a forecast: how far each measure narrows which outcome, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LEVEL", "OUTCOMES", "Cost", "Measure", "Narrowing"]

LEVEL = 0.9
"""Level of the central intervals whose widths are told."""
OUTCOMES: Mapping[str, tuple[str, str]] = {
    "loss_nats": ("loss", "nats"),
    "wall_clock_days": ("wall clock", "days"),
    "cost_usd": ("cost", "USD"),
}
"""Outcomes by their key in forecasts, in words and with their unit."""


@dataclass(frozen=True)
class Narrowing:
    """How much narrower the 90 % interval of one outcome is expected to be, in the outcome's own unit."""

    outcome: str
    """Of OUTCOMES."""
    width_before: float
    """Upper end minus lower end."""
    width_after: float
    """Expected."""

    @property
    def share(self) -> float:
        """Share of the width that goes; below 0 where it grows."""
        return 1.0 - self.width_after / self.width_before if self.width_before > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        widths = {"width_90_before": self.width_before, "width_90_after": self.width_after}
        return {"outcome": self.outcome, "unit": OUTCOMES[self.outcome][1], **widths, "share": self.share}


@dataclass(frozen=True)
class Cost:
    """What a measure costs, and how that was found; None for what can't be told, all 0 for what is free."""

    how: str
    usd: float | None = 0.0
    gpu_hours: float | None = 0.0
    minutes: float | None = 0.0
    """On the clock."""
    flops: float | None = 0.0

    @property
    def free(self) -> bool:
        """Whether it costs nothing but saying it."""
        return not any((self.usd, self.gpu_hours, self.minutes, self.flops))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        costs = {"cost_usd": self.usd, "gpu_hours": self.gpu_hours, "minutes": self.minutes, "flops": self.flops}
        return {**costs, "free": self.free, "how": self.how}


@dataclass(frozen=True)
class Measure:
    """One thing to do that would narrow a forecast."""

    name: str
    """own_run, name_the_text, measured_step, failure_rate, fixed_price, state_the_network, or a caller's own."""
    sentence: str
    """What to do."""
    cost: Cost
    narrows: tuple[Narrowing, ...]
    """Nothing, where an assumption is taken as known: then the sentence says how far it would move the median."""
    how: str
    """How the expected width was found."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain facts beside it, such as the sizes that were weighed."""

    def of(self, outcome: str) -> Narrowing | None:
        """What it does to one outcome; None for nothing."""
        return next((one for one in self.narrows if one.outcome == outcome), None)

    @property
    def share(self) -> float:
        """The share of the width that goes of the outcome that it narrows most; 0 where it narrows none."""
        return max((one.share for one in self.narrows), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "sentence": self.sentence,
            "cost": self.cost.to_dict(),
            "narrows": [one.to_dict() for one in self.narrows],
            "how": self.how,
            "details": dict(self.details),
        }
