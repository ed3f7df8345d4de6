"""What training that narrows a forecast costs, on the plan's own machines."""

from __future__ import annotations

from ....core.units import format_flops
from ..forecast import Forecast
from .measures import Cost

__all__ = ["training_cost"]


def training_cost(forecast: Forecast, flops: float) -> Cost:
    """What so many FLOPs cost on the plan's machines, at the plan's own MFU and overhead; FLOPs alone without them."""
    cluster, how = forecast.cluster, f"6·N·D = {format_flops(flops)}"
    if cluster is None:
        return Cost(f"{how}; state hardware for hours and dollars", None, None, None, flops)
    mfu = cluster.mfu.median
    hours = flops * (1.0 + cluster.overhead) / (mfu * cluster.peak_flops_per_s * 3600.0)
    usd = None if cluster.usd_per_device_hour is None else hours * cluster.usd_per_device_hour
    at = f"{how} at the plan's MFU of {mfu:.0%} with {cluster.overhead:.0%} of overhead"
    return Cost(at, usd, hours, 60.0 * hours / cluster.devices, flops)
