"""The wall-clock time of an interrupted run by part, and its finishing date."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...config.operations import ReliabilityConfig

__all__ = ["LONGEST_S", "RunTime", "assemble", "finishing_day"]

LONGEST_S = 1000 * 365.25 * 86_400
"""Seconds beyond which a wall clock means "never"; times are capped here, so that they stay finite."""

Array = np.ndarray


@dataclass(frozen=True)
class RunTime:
    """Where the wall-clock time of a run goes, in seconds; arrays of one shape (draws, layouts, or none at all).

    Each part excludes the others, so that they add up to the wall clock.
    """

    productive_s: Array
    """Steps that count, at the speed of a healthy cluster."""
    straggling_s: Array
    """What the same steps take longer because some devices are slow."""
    checkpoint_s: Array
    """Standing still for checkpoints."""
    redone_s: Array
    """Work and checkpoints that an interruption undid."""
    restart_s: Array
    """Restarting, interrupted restarts included."""
    waiting_s: Array
    """Waiting for spot capacity to come back; no devices are held."""
    planned_s: Array
    """Planned maintenance."""
    interruptions: Array
    """Failures and preemptions."""
    checkpoints: Array
    """Checkpoints that were needed; those that were undone aren't counted."""

    @cached_property
    def held_s(self) -> Array:
        """Seconds during which the devices are held, and paid."""
        lost = self.checkpoint_s + self.redone_s + self.restart_s
        return self.productive_s + self.straggling_s + lost + self.planned_s

    @cached_property
    def training_s(self) -> Array:
        """Seconds during which the devices compute, whether it counts in the end or not."""
        return self.productive_s + self.straggling_s + self.redone_s

    @cached_property
    def wall_clock_s(self) -> Array:
        """Seconds from the start to the last checkpoint."""
        return self.held_s + self.waiting_s

    @cached_property
    def goodput(self) -> Array:
        """Productive share of the wall clock."""
        return self.productive_s / self.wall_clock_s

    def shares(self) -> dict[str, float]:
        """Mean share of the wall clock by where it goes; the shares sum to 1."""
        total = float(np.mean(self.wall_clock_s))
        parts = ("productive", "straggling", "checkpoint", "redone", "restart", "waiting", "planned")
        return {part: float(np.mean(getattr(self, f"{part}_s"))) / total for part in parts}

    def chance_by(self, deadline_s: float) -> float:
        """Share of the draws that finish within `deadline_s` of wall clock."""
        return float(np.mean(self.wall_clock_s <= deadline_s))


def assemble(
    productive_s: Array,
    reliability: ReliabilityConfig,
    *,
    number: Array,
    redone_s: Array,
    restart_s: Array,
    waiting_s: Array,
    interruptions: Array,
) -> RunTime:
    """Put the parts together, with stragglers and planned maintenance; what exceeds `LONGEST_S` is cut from the lost.

    For `goodput` and `goodput_simulation`, which find the lost time in their own ways.
    """
    straggling = productive_s * reliability.straggler_slowdown
    checkpoints = number * reliability.checkpoint_s
    room = np.maximum(LONGEST_S - productive_s - straggling - checkpoints, 0.0)
    lost = redone_s + restart_s + waiting_s
    fits = np.where(lost > room, room / np.maximum(lost, 1.0), 1.0)
    running = productive_s + straggling + checkpoints + fits * lost
    planned = running * reliability.planned_downtime / (1.0 - reliability.planned_downtime)
    parts = (straggling, checkpoints, fits * redone_s, fits * restart_s, fits * waiting_s, planned)
    return RunTime(productive_s, *parts, interruptions=interruptions, checkpoints=number)


def finishing_day(start: datetime.date, wall_clock_s: float) -> datetime.date:
    """The day on which a run ends that starts at the beginning of `start`; the calendar's last day if it is beyond."""
    try:
        return start + datetime.timedelta(days=wall_clock_s // 86_400)
    except OverflowError:
        return datetime.date.max
