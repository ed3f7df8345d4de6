"""Money: accelerator hours × price, what stays unused of a reservation, storage, and electricity where it is extra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...config.operations import PricesConfig
from .energy import Energy
from .run_time import RunTime

__all__ = ["Cost", "cost_of", "device_hours", "productive_device_hours", "stored_gib"]

# Mixed-precision training with Adam: 16-bit weights, and in 32 bits the weights and both moments; gradients aren't
# saved. BLOOM's 2.3 TB for 176B parameters are 13 bytes each (bigscience, tr11-176B-ml).
_CHECKPOINT_BYTES_PER_PARAM = 14.0
_BYTES_PER_TOKEN = 4.0
_S_PER_H, _H_PER_MONTH = 3600.0, 8766.0 / 12.0

Array = np.ndarray


@dataclass(frozen=True)
class Cost:
    """What a run costs in US dollars, by part; arrays of the shape of its times."""

    compute_usd: Array
    """Accelerator hours that the run held."""
    idle_usd: Array
    """Reserved accelerator hours that it left unused."""
    storage_usd: Array
    """Checkpoints and training data; 0 without a price of storage."""
    electricity_usd: Array
    """Electricity; 0 unless `energy.usd_per_kwh` says that it is extra."""
    judging_usd: Array | None = None
    """Accelerator hours of the judge that scored the documents; None without one."""
    generating_usd: Array | None = None
    """Accelerator hours of the model that wrote the synthetic text; None without one."""

    @property
    def total_usd(self) -> Array:
        """All parts together."""
        total = self.compute_usd + self.idle_usd + self.storage_usd + self.electricity_usd
        for part in self.before_run.values():
            total = total + part
        return total

    @property
    def before_run(self) -> dict[str, Array]:
        """What is paid for what models compute before the run, by the name of its field."""
        parts = {"judging_usd": self.judging_usd, "generating_usd": self.generating_usd}
        return {name: part for name, part in parts.items() if part is not None}


def device_hours(run_time: RunTime, devices: int) -> Array:
    """Accelerator hours held, from the start to the last checkpoint; waiting for spot capacity isn't among them."""
    return run_time.held_s * devices / _S_PER_H


def productive_device_hours(run_time: RunTime, devices: int) -> Array:
    """Accelerator hours of steps that count."""
    return run_time.productive_s * devices / _S_PER_H


def stored_gib(prices: PricesConfig, params_total: float, unique_tokens: float) -> float:
    """GiB in storage during the run: `checkpoints_kept` full checkpoints and the training data."""
    checkpoints = prices.checkpoints_kept * params_total * _CHECKPOINT_BYTES_PER_PARAM / 2**30
    stated = prices.stated_dataset_gib
    return checkpoints + (unique_tokens * _BYTES_PER_TOKEN / 2**30 if stated is None else stated)


def cost_of(
    run_time: RunTime,
    devices: int,
    prices: PricesConfig,
    usd_per_hour: float | None,
    stored: float = 0.0,
    energy: Energy | None = None,
    usd_per_kwh: float | None = None,
    hours_before: Mapping[str, Array] | None = None,
) -> Cost | None:
    """Cost of a run; None where neither a price of an accelerator hour nor of electricity is known.

    `usd_per_hour` (`hardware.price_usd_per_hour`) stands in where `prices` has none for the way of purchase. `stored`
    is in GiB; electricity is added where `energy` and `usd_per_kwh` are both given, and is all there is to pay, with
    storage, for machines of one's own. Storage alone is no cost of a run. `hours_before` are accelerator hours before
    the run by what they are for (`BEFORE_RUN`), at the same price, whose electricity is in `energy`.
    """
    price = prices.usd_per_hour(usd_per_hour)
    if price is None and (energy is None or usd_per_kwh is None):
        return None
    wall_h = run_time.wall_clock_s / _S_PER_H
    compute, idle = _compute(run_time, devices, prices, price or 0.0)
    storage = (prices.storage_usd_per_gib_month or 0.0) * stored * wall_h / _H_PER_MONTH
    kwh = np.zeros_like(wall_h) if energy is None else energy.total_kwh
    before = {f"{name}_usd": (price or 0.0) * hours for name, hours in (hours_before or {}).items()}
    return Cost(compute, idle, storage, kwh * (usd_per_kwh or 0.0), **before)


def _compute(run_time: RunTime, devices: int, prices: PricesConfig, price: float) -> tuple[Array, Array]:
    """Dollars for the hours that the run used, and for those that it reserved and left."""
    wall_h = run_time.wall_clock_s / _S_PER_H
    if prices.purchase != "reserved":
        return price * device_hours(run_time, devices), np.zeros_like(wall_h)
    if prices.reserved_s is None:
        return price * devices * wall_h, np.zeros_like(wall_h)
    reserved_h = prices.reserved_s / _S_PER_H
    beyond = price if prices.on_demand_usd_per_hour is None else prices.on_demand_usd_per_hour
    used = price * np.minimum(wall_h, reserved_h) + beyond * np.maximum(wall_h - reserved_h, 0.0)
    return devices * used, devices * price * np.maximum(reserved_h - wall_h, 0.0)
