"""What a stage after pretraining takes of the plan's machines: hours of accelerators, days, dollars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..cluster.cluster_estimate import ClusterEstimate

__all__ = ["MachineTime", "machine_time"]

_S_PER_H, _H_PER_DAY = 3600.0, 24.0


@dataclass(frozen=True)
class MachineTime:
    """FLOPs of a stage, and what they take; None where the plan says too little of its machines or prices."""

    flops: float
    gpu_hours: float | None
    days: float | None
    usd: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"flops": self.flops, "gpu_hours": self.gpu_hours, "days": self.days, "cost_usd": self.usd}


def machine_time(flops: float, efficiency: float | None, cluster: ClusterEstimate | None) -> MachineTime:
    """What FLOPs take on the machines of a plan, all of them at work.

    Args:
        flops: Model FLOPs of the stage.
        efficiency: Share of the peak that it reaches; None for that of the pretraining run, its interruptions included.
        cluster: The plan's machines; None where it doesn't state them.
    """
    if cluster is None:
        return MachineTime(flops, None, None, None)
    share = cluster.mfu.median * cluster.goodput.median if efficiency is None else efficiency
    hours = flops / (cluster.peak_flops_per_s * share) / _S_PER_H
    price = cluster.usd_per_device_hour
    return MachineTime(flops, hours, hours / cluster.devices / _H_PER_DAY, None if price is None else hours * price)
