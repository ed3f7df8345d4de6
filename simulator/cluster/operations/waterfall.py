"""Where days and dollars of a planned run go, in parts that add up to the medians of its wall clock and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....core.quantity import Quantity
from ...config.run_config import RunConfig
from ..cluster_estimate import ClusterEstimate

__all__ = ["PART_TITLES", "NotStated", "Waterfall", "WaterfallPart", "waterfall"]

PART_TITLES: Mapping[str, str] = {
    "matrix_products": "matrix products",
    "attention": "attention",
    "recomputation": "recomputed activations",
    "other_kernels": "other kernels",
    "communication": "communication",
    "stragglers_and_bubbles": "stragglers and bubbles",
    "overhead": "overhead outside steps",
    "interruptions": "failures and checkpoints",
    "maintenance": "planned maintenance",
    "waiting": "waiting for spot capacity",
    "judging": "judging documents",
    "generating": "writing synthetic text",
    "reserved_unused": "reserved and left unused",
    "storage": "storage",
    "electricity": "electricity",
}
"""Parts by name, in their order; the last five are money alone."""

_OF_STEP = {
    "matrix_products": ("matmul", "output_head"),
    "attention": ("attention",),
    "recomputation": ("recompute",),
    "other_kernels": ("elementwise", "launch", "gradients", "optimizer", "offload", "other"),
    "communication": ("tensor_parallel", "context_parallel", "expert_parallel", "pipeline", "data_parallel"),
    "stragglers_and_bubbles": ("bubble", "straggling"),
}  # parts of a step; what is learned on top of them is a factor of them all
_BESIDE = {
    "stragglers_and_bubbles": ("straggling",),
    "interruptions": ("checkpoint", "redone", "restart"),
    "maintenance": ("planned",),
    "waiting": ("waiting",),
}  # shares of the wall clock beside steps that count
_MONEY_ALONE = {
    "judging": "judging_usd",
    "generating": "generating_usd",
    "reserved_unused": "idle_usd",
    "storage": "storage_usd",
    "electricity": "electricity_usd",
}


@dataclass(frozen=True)
class WaterfallPart:
    """One part of the wall clock and of the cost."""

    name: str
    """Of PART_TITLES."""
    days: float
    """Days of the wall clock; 0 of what is money alone."""
    usd: float | None
    """US dollars; None where no price is known."""

    @property
    def title(self) -> str:
        """In words."""
        return PART_TITLES[self.name]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "title": self.title, "days": self.days, "usd": self.usd}


@dataclass(frozen=True)
class NotStated:
    """What a plan doesn't state of its time and money, and what was made of that."""

    key: str
    """Where it would be stated."""
    sentence: str
    """What isn't stated, and what was taken or left out instead."""
    counted: bool
    """Whether a usual value was taken; else it is not in the total."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"key": self.key, "sentence": self.sentence, "counted": self.counted}


@dataclass(frozen=True)
class Waterfall:
    """Parts of the wall clock and of the cost in order, none of them negative, and what is in none of them.

    >>> import foretrain
    >>> shape = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"architecture": shape},
    ...     "data": {"tokens": "10B"},
    ...     "optim": {"batch_tokens": "512k"},
    ...     "hardware": {"accelerator": "H100-SXM-80", "count": 8, "price_usd_per_hour": 2.0},
    ... })
    >>> estimate = foretrain.estimate_cluster(config)
    >>> found = waterfall(estimate, config)
    >>> found.parts[0].title, abs(sum(part.days for part in found.parts) / estimate.wall_clock_days.median - 1) < 1e-9
    ('matrix products', True)
    >>> [one.key for one in found.not_stated if not one.counted]
    ['prices.storage_usd_per_gib_month', 'energy.usd_per_kwh']
    """

    parts: tuple[WaterfallPart, ...]
    """Those that take any time or money, in the order of PART_TITLES."""
    wall_clock_days: Quantity
    """Whose median is the sum of the days."""
    cost_usd: Quantity | None
    """Whose median is the sum of the dollars; None where no price is known."""
    not_stated: tuple[NotStated, ...]
    """What to name below the parts."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "parts": [part.to_dict() for part in self.parts],
            "not_stated": [one.to_dict() for one in self.not_stated],
        }


def waterfall(estimate: ClusterEstimate, config: RunConfig) -> Waterfall:
    """Where days and dollars of a planned run go.

    Steps that count take goodput × wall clock at their medians, and are divided as the predicted step is. The rest of
    the wall clock is divided as its mean is. Accelerator hours are paid in all of it but waiting, which costs only
    where capacity is reserved.

    Args:
        estimate: What the run takes.
        config: Its plan.
    """
    days = _days(estimate)
    usd = None if estimate.cost_parts_usd is None else _usd(days, estimate.cost_parts_usd, config)
    parts = []
    for name in PART_TITLES:
        part = WaterfallPart(name, days.get(name, 0.0), None if usd is None else usd.get(name, 0.0))
        parts += [part] if part.days > 0 or (part.usd or 0.0) > 0 else []
    return Waterfall(tuple(parts), estimate.wall_clock_days, estimate.cost_usd, tuple(_not_stated(estimate, config)))


def _days(estimate: ClusterEstimate) -> dict[str, float]:
    """Days by part; they add up to the median of the wall clock."""
    total, shares = estimate.wall_clock_days.median, estimate.wall_clock_shares
    beside = sum(shares[name] for names in _BESIDE.values() for name in names)
    counting = total * min(estimate.goodput.median, 1.0) if beside > 0 else total
    found = _divided(counting / (1.0 + estimate.overhead), _step_shares(estimate))
    found["overhead"] = counting * estimate.overhead / (1.0 + estimate.overhead)
    for name, shares_of in _BESIDE.items():
        share = sum(shares[of] for of in shares_of) / beside if beside > 0 else 0.0
        found[name] = found.get(name, 0.0) + (total - counting) * share
    return found


def _step_shares(estimate: ClusterEstimate) -> dict[str, float]:
    """What a step's time goes into, before what is learned on top."""
    return {
        name: sum(max(estimate.step_parts_s.get(part, 0.0), 0.0) for part in parts) for name, parts in _OF_STEP.items()
    }


def _divided(amount: float, shares: Mapping[str, float]) -> dict[str, float]:
    """An amount divided in the proportion of some shares."""
    whole = sum(shares.values())
    return {name: amount * (share / whole) if whole > 0 else 0.0 for name, share in shares.items()}


def _usd(days: Mapping[str, float], cost_parts_usd: Mapping[str, float], config: RunConfig) -> dict[str, float]:
    """Dollars by part; they add up to the median of the cost."""
    reserved = config.prices.purchase == "reserved"
    paid = {name: value for name, value in days.items() if reserved or name != "waiting"}
    return _divided(cost_parts_usd["compute_usd"], paid) | {
        name: cost_parts_usd.get(part, 0.0) for name, part in _MONEY_ALONE.items()
    }


def _not_stated(estimate: ClusterEstimate, config: RunConfig) -> list[NotStated]:
    """What the plan leaves out, the largest usual part first."""
    reliability, prices, found = config.reliability, config.prices, []
    if reliability.stated_overhead is None:
        usual = f"{estimate.overhead:.0%} on top of all steps, as in published runs; evaluation and loading are in it"
        found.append(NotStated("reliability.overhead", f"overhead outside steps: {usual}", True))
    if reliability.stated_failures_per_device_hour is None:
        usual = f"{reliability.failures_per_device_hour:.3g} per accelerator and hour, as Llama 3 had"
        found.append(NotStated("reliability.failures_per_device_hour", f"failures: {usual}", True))
    if estimate.cost_parts_usd is None:
        found.append(NotStated("hardware.price_usd_per_hour", "price of an accelerator hour: no cost is known", False))
        return found
    if config.usd_per_hour is None:
        found.append(NotStated("hardware.price_usd_per_hour", "price of an accelerator hour: not counted", False))
    if prices.storage_usd_per_gib_month is None:
        found.append(NotStated("prices.storage_usd_per_gib_month", "storage: not counted", False))
    if config.energy.usd_per_kwh is None:
        found.append(NotStated("energy.usd_per_kwh", "electricity: not counted beside the price of hours", False))
    return found
