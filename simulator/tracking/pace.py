"""The speed of a job from the times in its log: step time, tokens per second, days left, and the deadline."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.quantity import Quantity
from ..cluster.cluster_estimate import ClusterEstimate
from ..config.run_config import RunConfig

__all__ = ["RunPace", "pace_of"]

_DAY_S = 86_400.0
_SINCE_1970 = 1e8  # seconds above this are a date, not the time since the start
_LEAST_RECORDS = 3
_LATEST = 200  # intervals between records from which the present step time is estimated


@dataclass(frozen=True)
class RunPace:
    """Measured speed of a job and its remaining time; None where the log or the plan doesn't determine a value.

    `step_time_s` is the median of the latest intervals; `elapsed_s` counts from the first step, with steps before the
    log at that step time. `days_left` assumes the average pace so far, interruptions included.
    """

    step_time_s: float
    tokens_per_s: float
    mfu: float | None
    elapsed_s: float
    lost_share: float
    """Share of the elapsed time that was lost to interruptions and repeated steps, at the present step time."""
    days_left: float
    total_days: float
    finish: datetime.date | None
    deadline_days: float | None
    """Days from the planned start to the deadline."""
    margin_days: float | None
    """Days from the expected end to the deadline; negative where it is missed."""
    planned_step_time_s: Quantity | None
    planned_days: Quantity | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values with units in their names, for JSON."""
        planned = {"planned_step_time_s": self.planned_step_time_s, "planned_wall_clock_days": self.planned_days}
        return {
            "step_time_s": self.step_time_s,
            "tokens_per_s": self.tokens_per_s,
            "mfu": self.mfu,
            "elapsed_days": self.elapsed_s / _DAY_S,
            "lost_share": self.lost_share,
            "days_left": self.days_left,
            "wall_clock_days": self.total_days,
            "finish": None if self.finish is None else self.finish.isoformat(),
            "deadline_days": self.deadline_days,
            "margin_days": self.margin_days,
            **{key: None if value is None else value.to_dict() for key, value in planned.items()},
        }


def pace_of(config: RunConfig, clock: np.ndarray, now: float, cluster: ClusterEstimate | None) -> RunPace | None:
    """The pace of a job at step `now`; `clock: (2, m)` as in `RunLog`. None if its times don't determine it."""
    step, wall_s = clock
    forward = (np.diff(step) > 0) & (np.diff(wall_s) > 0)
    if len(step) < _LEAST_RECORDS or forward.sum() < _LEAST_RECORDS - 1 or config.steps is None:
        return None
    per_step = (np.diff(wall_s)[forward] / np.diff(step)[forward])[-_LATEST:]
    step_s = float(np.median(per_step))
    # a clock that restarts with the job doesn't include the time in between
    elapsed_s = float(np.sum(np.maximum(np.diff(wall_s), 0.0)) + step[0] * step_s)
    left_s = (config.steps - now) * elapsed_s / now if now > 0 else config.steps * step_s
    total_days = (elapsed_s + left_s) / _DAY_S
    deadline_s = config.deadline_s
    tokens = config.data.tokens / config.steps
    return RunPace(
        step_time_s=step_s,
        tokens_per_s=tokens / step_s,
        mfu=None if cluster is None else cluster.mfu.median * cluster.step_time_s.median / step_s,
        elapsed_s=elapsed_s,
        lost_share=max(0.0, 1.0 - now * step_s / elapsed_s),
        days_left=left_s / _DAY_S,
        total_days=total_days,
        finish=_finish(config, float(wall_s[-1]), left_s, total_days),
        deadline_days=None if deadline_s is None else deadline_s / _DAY_S,
        margin_days=_margin(config, float(wall_s[-1]), left_s, total_days),
        planned_step_time_s=None if cluster is None else cluster.step_time_s,
        planned_days=None if cluster is None else cluster.wall_clock_days,
    )


def _margin(config: RunConfig, last_s: float, left_s: float, total_days: float) -> float | None:
    """Days between the expected end and the deadline: by dates, where the log has them, else by durations."""
    deadline = config.targets.deadline
    if isinstance(deadline, datetime.date) and last_s > _SINCE_1970:
        midnight = datetime.datetime.combine(deadline, datetime.time(), datetime.UTC)
        return (midnight.timestamp() - last_s - left_s) / _DAY_S
    return None if config.deadline_s is None else config.deadline_s / _DAY_S - total_days


def _finish(config: RunConfig, last_s: float, left_s: float, total_days: float) -> datetime.date | None:
    """The date on which the run will end: by the log's dates, else from the planned start."""
    try:
        if last_s > _SINCE_1970:
            return datetime.datetime.fromtimestamp(last_s + left_s, datetime.UTC).date()
        return None if config.start is None else config.start + datetime.timedelta(days=total_days)
    except (OverflowError, ValueError, OSError):
        return None
