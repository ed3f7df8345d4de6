"""`ClusterEstimate`: the time, memory, cost and energy of a planned run on its cluster, and the underlying draws."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from ...core.quantity import Quantity
from ...core.summary import Summarised, percent, with_interval
from ...core.units import format_count
from ..config.hardware import Framework
from .layouts.layout import ParallelLayout

__all__ = ["CLUSTER_KEYS", "ClusterEstimate", "Draws"]


@dataclass(frozen=True)
class Draws:
    """Equally likely outcomes of one plan, drawn together: arrays (draws,)."""

    step_time_s: np.ndarray
    wall_clock_s: np.ndarray
    gpu_hours: np.ndarray
    cost_usd: np.ndarray | None
    """None where no price is known."""
    energy_mwh: np.ndarray | None
    """None where the accelerator's power isn't known."""
    judging_gpu_hours: np.ndarray | None = None
    generating_gpu_hours: np.ndarray | None = None
    """Those of `gpu_hours` in which documents are judged; None without a judge."""


@dataclass(frozen=True, repr=False)
class ClusterEstimate(Summarised):
    """Times, memory, cost and energy of a planned run on its hardware, as `estimate_cluster` gives them.

    A `Quantity` is a median with central intervals. What the plan says too little for is None.

    >>> import foretrain
    >>> shape = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"architecture": shape},
    ...     "data": {"tokens": "10B"},
    ...     "optim": {"batch_tokens": "512k"},
    ...     "hardware": {"accelerator": "H100-SXM-80", "count": 8},
    ... })
    >>> found = foretrain.estimate_cluster(config)
    >>> found.devices, found.fits, found.cost_usd
    (8, 'fits', None)
    >>> low, high = found.wall_clock_days.intervals[0.9]
    >>> low < found.wall_clock_days.median < high
    True
    """

    accelerator: str
    """Name of the accelerator."""
    devices: int
    """Number of accelerators."""
    precision: str
    """Number format of matrix products."""
    framework: Framework
    """Training framework."""
    layout: ParallelLayout
    """The parallel layout, as stated or as chosen."""
    step_time_s: Quantity
    """Time of one optimizer step, seconds."""
    steps: float
    """Optimizer steps of the run; the last one may be short."""
    step_tokens: float
    """Tokens of one step: the batch in whole sequences, as it is shared among the devices."""
    step_parts_s: Mapping[str, float]
    """Where that time goes, seconds."""
    tokens_per_s: Quantity
    """Throughput of the whole cluster, tokens per second."""
    mfu: Quantity
    """Model FLOPs over the datasheet's dense peak at the plan's precision."""
    peak_flops_per_s: float
    """That peak of one accelerator, FLOP/s."""
    peak_memory_gib: Quantity
    """Of the fullest device, as the driver shows it."""
    memory_parts_gib: Mapping[str, float]
    """Where that memory goes, GiB."""
    usable_memory_gib: float
    """Memory that a program can use on one device, GiB."""
    fits: str
    """fits, with the chance that the plan asks for; tight, with less; or does not fit."""
    p_fit: float
    """Probability that the peak is within `usable_memory_gib`."""
    overhead: float
    """Share of time beyond steps and interruptions, counted in the wall clock and all that follows from it."""
    wall_clock_days: Quantity
    """From start to end, interruptions included, days.

    Its median is that of steps × step time × (1 + overhead) / goodput."""
    wall_clock_shares: Mapping[str, float]
    """Where that time goes, as shares."""
    goodput: Quantity
    """Share of the wall clock that is spent on steps that count, what is outside steps included.

    Its median is that of the median step's run in the median wall clock."""
    interruptions: Quantity
    """Number of failures and preemptions."""
    gpu_hours: Quantity
    """Accelerator hours: wall clock × devices, less waiting for capacity (not paid), and those before the run."""
    cost_usd: Quantity | None
    """Cost, US dollars; None if no price is known."""
    cost_parts_usd: Mapping[str, float] | None
    """Where the cost comes from, US dollars; the parts sum to its median."""
    usd_per_device_hour: float | None
    """Price of an accelerator hour as purchased; None if it isn't stated."""
    price_published: Mapping[str, Any] | None
    """The published price that the plan names, with its date and source; None where it states its own or none."""
    energy_mwh: Quantity | None
    """Energy, MWh: power × GPU-hours × PUE."""
    power_w: float | None
    """Mean draw of an accelerator and its share of the host while it is held, watts."""
    pue: float
    """Power usage effectiveness of the site."""
    co2e_t: Quantity | None
    """Emissions, tonnes of CO2 equivalent."""
    finish: Mapping[str, datetime.date] | None
    """Finishing dates by name: median, and low and high of the 90 % interval."""
    p_deadline: float | None
    """Probability of meeting the deadline."""
    p_budget: float | None
    """Probability of keeping to the budget."""
    calibrated_on: int
    """Number of measured steps that the model of step times was calibrated on."""
    draws: Draws = field(compare=False, repr=False)
    """The random draws behind the intervals."""
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What else should be known, in plain sentences."""
    judging_gpu_hours: Quantity | None = None
    """Those of the accelerator hours in which a judge scores the documents, before the run; None without one."""
    generating_gpu_hours: Quantity | None = None
    """Those in which a model writes the synthetic text, before the run; None without one."""

    @override
    def summary(self) -> dict[str, str]:
        facts = {
            "machines": f"{self.devices} × {self.accelerator}, {self.precision}, {self.framework}",
            "step time, s": with_interval(self.step_time_s),
            "MFU": with_interval(self.mfu),
            "memory, GiB": f"{with_interval(self.peak_memory_gib)} of {self.usable_memory_gib:.4g}, "
            f"{self.fits} with {percent(self.p_fit)}",
            "wall clock, days": with_interval(self.wall_clock_days),
        }
        return facts | ({} if self.cost_usd is None else {"cost, USD": with_interval(self.cost_usd, format_count)})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, by CLUSTER_KEYS."""
        quantities = {name: getattr(self, name) for name in _QUANTITIES}
        parts = {name: getattr(self, name) for name in _PARTS}
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: None if value is None else value.to_dict() for name, value in quantities.items()},
            **{name: None if value is None else dict(value) for name, value in parts.items()},
            "layout": asdict(self.layout),
            "finish": None if self.finish is None else {key: day.isoformat() for key, day in self.finish.items()},
            "cluster_notes": list(self.notes),
        }


_PLAIN = (
    "accelerator", "devices", "precision", "framework", "fits", "p_fit", "usable_memory_gib", "overhead", "p_deadline",
    "p_budget", "calibrated_on", "steps", "step_tokens", "peak_flops_per_s", "usd_per_device_hour", "power_w", "pue",
)  # fmt: skip
_QUANTITIES = (
    "step_time_s", "tokens_per_s", "mfu", "peak_memory_gib", "wall_clock_days", "goodput", "interruptions",
    "gpu_hours", "judging_gpu_hours", "generating_gpu_hours", "cost_usd", "energy_mwh", "co2e_t",
)  # fmt: skip
_PARTS = ("step_parts_s", "memory_parts_gib", "wall_clock_shares", "cost_parts_usd", "price_published")
CLUSTER_KEYS = (*_PLAIN, *_QUANTITIES, *_PARTS, "layout", "finish", "cluster_notes")
"""Keys of `ClusterEstimate.to_dict`, stable, with units in the names."""
