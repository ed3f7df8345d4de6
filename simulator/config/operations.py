"""The sections of a run configuration about running it: what interrupts it, what it costs, what power it draws.

Defaults carry their source; money and grid intensity have none, since they are the user's own and change monthly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ...core.errors import ConfigError
from ...core.reading.fields import Duration, FieldError, Frozen, Label, PositiveCount, Real, Share, Whole, whole_schema
from ...core.units import shown
from ...datasets.facts.prices import PublishedPrice, price

__all__ = ["OVERHEAD", "EnergyConfig", "PricesConfig", "ReliabilityConfig"]

# Llama 3 (arXiv:2407.21783, section 3.3.4): 419 unexpected interruptions in 54 days on 16,384 H100.
_FAILURES_PER_DEVICE_HOUR = 419 / (54 * 24 * 16_384)
# One standard deviation, as a factor, over the fleets that `benchmarks/goodput.py` lists and computes it from.
_FAILURE_RATE_SPREAD = 2.5

OVERHEAD = 0.25
"""Share by which published runs took longer than the best layout, its steps and interruptions explain.

Evaluation, loading, software and layouts that are less than the best: made by `benchmarks/published_runs.py`.
"""

_Rate = Annotated[Real, Field(ge=0, le=1)]
_Usd = Annotated[Real, Field(ge=0, le=1e6)]


class ReliabilityConfig(Frozen):
    """What interrupts the run and what an interruption costs it.

    Every interruption stops all devices; the work since the last checkpoint is done again. Spare machines are taken
    to be at hand: `restart` is all the time it takes to train on.
    """

    stated_failures_per_device_hour: _Rate | None = Field(
        default=None,
        alias="failures_per_device_hour",
        description="Unplanned interruptions per accelerator and hour (default: 1.97e-5, Llama 3 on H100).",
    )
    stated_failure_rate_spread: Annotated[Real, Field(ge=1, le=100)] | None = Field(
        default=None,
        alias="failure_rate_spread",
        description="Factor by which the failure rate may be off, one standard deviation of its logarithm "
        "(default: 2.5, as published fleets differ; 1, that is not at all, where failures_per_device_hour is stated).",
    )
    # How long training stands still: 40 s for 2.3 TB of BLOOM (bigscience chronicles, 2022-03-18), 61 s with PyTorch's
    # and 4.7 s with Megatron's own writer (ByteCheckpoint, arXiv:2407.20143), 5 min on Meta's research clusters
    # (arXiv:2410.21680); at most 4 GB per GPU at 2 TB/s, 33 s, for Llama 3. Asynchronous writers come near 0.
    checkpoint_s: Duration = Field(
        default=30.0,
        alias="checkpoint",
        description="How long training stands still for one checkpoint (default: 30s).",
    )
    checkpoint_interval_s: Duration | None = Field(
        default=None,
        alias="checkpoint_interval",
        description="Training between two checkpoints, at most (default: the interval that is best on average).",
    )
    # 5 to 20 min on Meta's research clusters (arXiv:2410.21680), whose geometric mean this is; "less than 10 min" to
    # find the failure with MegaScale (arXiv:2402.15627); 11 min in the median of 504 B200 (arXiv:2605.09370).
    restart_s: Duration = Field(
        default=600.0,
        alias="restart",
        description="From an interruption to training on: noticing it, swapping machines, reloading (default: 10min).",
    )
    straggler_slowdown: Annotated[Real, Field(ge=0, le=10)] = Field(
        default=0.0, description="Share by which steps are longer over the run than on a healthy cluster."
    )
    stated_overhead: Annotated[Real, Field(ge=0, le=10)] | None = Field(
        default=None,
        alias="overhead",
        description="Share by which the run takes longer than its steps and interruptions explain: evaluation, "
        "loading, a layout or software short of the best (default: 0.25, as in published runs).",
    )
    planned_downtime: Annotated[Real, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of the wall clock in planned maintenance, during which devices are still paid."
    )
    stated_preemptions_per_device_hour: _Rate | None = Field(
        default=None,
        alias="preemptions_per_device_hour",
        description="Losses of spot capacity per accelerator and hour; each stops the run (default: 0).",
    )
    preemption_wait_s: Duration | None = Field(
        default=None,
        alias="preemption_wait",
        description="From losing spot capacity to having it again, before the restart; not paid (default: at once).",
    )

    @property
    def failures_per_device_hour(self) -> float:
        """Unplanned interruptions per accelerator and hour, preemptions apart."""
        stated = self.stated_failures_per_device_hour
        return _FAILURES_PER_DEVICE_HOUR if stated is None else stated

    @property
    def overhead(self) -> float:
        """Share of time beyond steps and interruptions, whether the step is measured or not."""
        return OVERHEAD if self.stated_overhead is None else self.stated_overhead

    @property
    def failure_rate_spread(self) -> float:
        """Factor of one standard deviation of the failure rate's logarithm; 1 where it is taken as known."""
        if self.stated_failure_rate_spread is not None:
            return self.stated_failure_rate_spread
        return _FAILURE_RATE_SPREAD if self.stated_failures_per_device_hour is None else 1.0

    @property
    def preemptions_per_device_hour(self) -> float:
        """Losses of spot capacity per accelerator and hour."""
        return self.stated_preemptions_per_device_hour or 0.0


class PricesConfig(Frozen):
    """What accelerators and storage cost. No price has a default; without one there is no cost."""

    preset: Annotated[Label, AfterValidator(lambda name: price(name).name)] | None = Field(
        default=None,
        exclude_if=lambda preset: preset is None,  # digests of studies that were made before this key stay as they are
        description="A published price by name, such as lambda-h100-on-demand-2026, with its way of purchase "
        "(`simulate list prices`).",
    )
    purchase: Literal["reserved", "on_demand", "spot"] = Field(
        default="on_demand", description="How the accelerators are paid for."
    )
    reserved_usd_per_hour: _Usd | None = Field(
        default=None, description="US dollars per reserved accelerator and hour."
    )
    on_demand_usd_per_hour: _Usd | None = Field(
        default=None, description="US dollars per accelerator and hour without a commitment."
    )
    spot_usd_per_hour: _Usd | None = Field(
        default=None, description="US dollars per accelerator and hour that may be taken away."
    )
    spread: Annotated[Real, Field(ge=1, le=10)] = Field(
        default=1.0,
        description="Factor by which the price of an accelerator hour may be off when it is paid, one standard "
        "deviation of its logarithm (default: 1, as stated).",
    )
    reserved_s: Duration | None = Field(
        default=None,
        alias="reserved",
        description="Length of the reservation; what the run leaves of it is paid too, and what it needs beyond it "
        "costs the on-demand price where there is one.",
    )
    storage_usd_per_gib_month: _Usd | None = Field(default=None, description="US dollars per GiB stored and month.")
    checkpoints_kept: Annotated[Whole, Field(ge=1, le=10**6), whole_schema(1, 10**6)] = Field(
        default=3, description="Checkpoints in storage at a time."
    )
    stated_dataset_gib: PositiveCount | None = Field(
        default=None,
        alias="dataset_gib",
        description="Stored training data, GiB (default: 4 bytes per distinct token).",
    )

    @model_validator(mode="before")
    @classmethod
    def _purchase_of_preset(cls, stated: Any) -> Any:
        """A published price says how it is paid for."""
        if not isinstance(stated, Mapping) or not isinstance(stated.get("preset"), str):
            return stated
        try:
            bought = price(stated["preset"]).purchase
        except ConfigError:
            return stated  # which the field itself reports
        if stated.get("purchase", bought) != bought:
            raise FieldError(
                "purchase", f"got {shown(stated['purchase'])}; expected {bought} as of preset, or only one of the two"
            )
        return {**stated, "purchase": bought}

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        key = f"{self.purchase}_usd_per_hour"
        if self.preset is not None and getattr(self, key) is not None:
            raise FieldError(key, "is given beside preset; expected only one of the two")
        return self

    @model_validator(mode="after")
    def _reservation_is_used(self) -> Self:
        if self.reserved_s is not None and self.purchase != "reserved":
            raise FieldError("reserved", f"is given beside purchase {self.purchase}; expected purchase: reserved")
        return self

    def usd_per_hour(self, fallback: float | None = None) -> float | None:
        """US dollars per accelerator and hour as purchased; `fallback` where that isn't stated."""
        published = self.published
        if published is not None:
            return published.usd_per_hour
        stated = getattr(self, f"{self.purchase}_usd_per_hour")
        return fallback if stated is None else stated

    @property
    def published(self) -> PublishedPrice | None:
        """The published price that is named; None where none is."""
        return None if self.preset is None else price(self.preset)


class EnergyConfig(Frozen):
    """What power the run draws, and what that means."""

    # Between Google's fleet, 1.1, and the 1.56 of the Uptime Institute's survey of 2024; BLOOM's Jean Zay states 1.2
    # (arXiv:2211.02001), LLaMA assumed 1.1 (arXiv:2302.13971).
    pue: Annotated[Real, Field(ge=1, le=10)] = Field(
        default=1.2, description="Power usage effectiveness: energy of the whole site over that of its computers."
    )
    grid_g_co2e_per_kwh: Annotated[Real, Field(ge=0, le=5000)] | None = Field(
        default=None, description="Carbon intensity of the electricity, grams of CO2 equivalent per kWh."
    )
    usd_per_kwh: Annotated[Real, Field(ge=0, le=100)] | None = Field(
        default=None, description="US dollars per kWh, where electricity isn't in the accelerator's price."
    )
    # A node of 8 H100 drew at most 8.4 kW in training (arXiv:2412.08602), of which the GPUs' limit is 5.6 kW.
    host_w_per_accelerator: Annotated[Real, Field(ge=0, le=10_000)] = Field(
        default=350.0, description="Watts of processors, memory, network and fans per accelerator."
    )
    # "Just over 100 W, or about 15 %" of an H100's 700 W, during checkpoints of OLMo 2 (arXiv:2503.05804, figure 2).
    idle_share_of_tdp: Share = Field(
        default=0.15, description="Draw of an accelerator that waits, as a share of its thermal design power."
    )
