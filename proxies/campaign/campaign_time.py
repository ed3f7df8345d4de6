"""What the time of a campaign went into: steps of training, what goes along with them, and workers without work.

Results hold the seconds of their runs by kind, and the progress of a group those that no result holds yet. `time.json`
has the wall clock of all calls of `train`, whatever ended them; what no group has used of it, workers were idle.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from ...core.errors import InputError
from ...core.files import write_json
from ...core.reading.fields import Frozen, Real
from ..stopwatch import KINDS, Kind, added
from .campaign_files import CampaignFile, CampaignPaths, read_note
from .result_files import is_done, read_result

__all__ = ["CampaignTime", "SessionClock", "campaign_time"]

_NOTE_EVERY_S = 2.0  # as workers note theirs, so that a kill takes as much from both


class _TimeFile(Frozen):
    """All of time.json: the calls of `train` until now."""

    wall_s: Real = Field(default=0.0, ge=0, description="Seconds, one call after the other.")
    worker_s: Real = Field(default=0.0, ge=0, description="The same times the workers that each call had.")


@dataclass(frozen=True, slots=True)
class CampaignTime:
    """Wall clock of all calls of `train` (s), the same times their workers, and what workers did in it, by kind (s)."""

    wall_s: float
    worker_s: float
    seconds: Mapping[Kind, float]

    @property
    def idle_s(self) -> float:
        """Seconds in which workers had nothing to do, or were not there yet."""
        return max(0.0, self.worker_s - math.fsum(self.seconds.values()))

    @property
    def shares(self) -> dict[str, float]:
        """Part of the workers' time by kind, and `idle`; they sum to 1."""
        parts = {**self.seconds, "idle": self.idle_s}
        total = math.fsum(parts.values()) or 1.0
        return {kind: part / total for kind, part in parts.items()}

    def __add__(self, other: CampaignTime) -> CampaignTime:
        """The time of two campaigns, one after the other."""
        seconds = added(self.seconds, other.seconds)
        return CampaignTime(self.wall_s + other.wall_s, self.worker_s + other.worker_s, seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `outside_steps` is the share of the workers' time that training steps don't take."""
        return {
            "wall_s": self.wall_s,
            "worker_s": self.worker_s,
            "seconds": {**self.seconds, "idle": self.idle_s},
            "outside_steps": 1.0 - self.shares["steps"],
        }


class SessionClock:
    """Keeps time.json while one call of `train` runs; a disk that refuses it doesn't stop the training."""

    def __init__(self, layout: CampaignPaths) -> None:
        self._path = layout.time
        self._before = read_note(self._path, _TimeFile) or _TimeFile()
        self._start = self._noted = time.monotonic()

    def tick(self, workers: int) -> None:
        """Write the time so far, now and then, in case that this process is killed."""
        if time.monotonic() - self._noted >= _NOTE_EVERY_S:
            self.write(workers)

    def write(self, workers: int) -> None:
        """Write the time so far, of so many workers."""
        self._noted = time.monotonic()
        wall_s = self._noted - self._start
        file = _TimeFile(wall_s=self._before.wall_s + wall_s, worker_s=self._before.worker_s + workers * wall_s)
        with contextlib.suppress(InputError, OSError):
            write_json(self._path, file.model_dump())


def campaign_time(file: CampaignFile, layout: CampaignPaths) -> CampaignTime | None:
    """What a campaign's time went into so far; None if it was never trained. Raises CampaignError as `read_result`."""
    found = read_note(layout.time, _TimeFile)
    if found is None:
        return None
    runs = {run.run_id: run for run in file.runs}
    seconds: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
    for number, run_ids in enumerate(file.groups):
        notes = [layout.group(number).read_seconds()]
        for run_id in run_ids:
            folder = layout.run(run_id)
            if is_done(folder):
                notes.append(_plain_seconds(read_result(folder, runs[run_id]).engine.get("seconds")))
        for note in notes:
            seconds = added(seconds, note)
    return CampaignTime(found.wall_s, found.worker_s, seconds)


def _plain_seconds(found: object) -> dict[Kind, float]:
    """What a result says of its seconds, which is a note that nothing depends on."""
    facts = found if isinstance(found, Mapping) else {}
    seconds: dict[Kind, float] = {}
    for kind in KINDS:
        value = facts.get(kind)
        if isinstance(value, int | float) and 0 <= value < math.inf:
            seconds[kind] = float(value)
    return seconds
