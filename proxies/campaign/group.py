"""`train_one_group`: the task of every worker, which trains one group of a campaign's folder and writes its results."""

from __future__ import annotations

import _thread
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import CampaignError
from ..results import RunResult
from .campaign import Campaign
from .campaign_files import Failure, GroupFolder, GroupProgress
from .result_files import write_result, write_run

if TYPE_CHECKING:
    from ..engine import TrainingProgress

__all__ = ["Train", "train_one_group", "use_one_thread"]

Train = Callable[..., list[RunResult]]
"""Called as `proxies.engine.train_group` is."""

_LOCK_WAIT_S = 60.0  # until a worker that lost its campaign has noticed
_NOTE_EVERY_S = 2.0


def use_one_thread() -> None:
    """Limit torch to one thread in this process. A group's bits depend on it, so every worker does the same."""
    import torch

    torch.set_num_threads(1)


def train_one_group(folder: str, group: int, train: Train | None = None) -> str | None:
    """Train one group of the campaign in `folder` to its end; return None, or what went wrong in one line.

    The group is trained whole, from its checkpoint if there is one, under its own lock, so that two processes never
    write the same results. A failure is also noted in the group's folder. Only KeyboardInterrupt and its kin get
    through, after the engine has written a checkpoint. `train` stands for the engine in tests.
    """
    try:
        campaign = Campaign.open(folder)
    except Exception as error:
        return str(Failure.of(error))
    files = campaign.layout.group(group)
    try:
        _train_locked(campaign, group, files, train)
    except Exception as error:
        failure = Failure.of(error)
        files.note(files.failure, failure)
        return str(failure)
    return None


def _train_locked(campaign: Campaign, group: int, files: GroupFolder, train: Train | None) -> None:
    from filelock import FileLock, Timeout

    if campaign.layout.stop.exists():
        raise KeyboardInterrupt
    files.path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(files.lock, timeout=_LOCK_WAIT_S):
            if not campaign.is_group_done(group):
                files.failure.unlink(missing_ok=True)
                _train(campaign, group, files, train)
            files.remove()
    except Timeout:
        raise CampaignError(f"{files.path}: another process is still training this group; try again later") from None


def _train(campaign: Campaign, group: int, files: GroupFolder, train: Train | None) -> None:
    if train is None:
        from ..engine import train_group as train
    runs = campaign.group_runs(group)
    folders = [campaign.layout.run(run.run_id) for run in runs]
    for folder, run in zip(folders, runs, strict=True):
        write_run(folder, run)
    watch = _Watch(files, campaign.layout.stop)
    results = train(runs, campaign.open_store(), campaign.file.settings, files.checkpoint, watch)
    for folder, run, result in zip(folders, runs, results, strict=True):
        if result.run_id != run.run_id:
            raise CampaignError(f"the engine returned run {result.run_id!r} in the place of {run.run_id!r}")
        write_result(folder, result)


class _Watch:
    """Notes the group's progress on disk, now and then, and stops the engine when the campaign is being stopped."""

    def __init__(self, files: GroupFolder, stop: Path) -> None:
        self._files, self._stop = files, stop
        self._first: tuple[int, float] | None = None
        self._noted = -_NOTE_EVERY_S

    def __call__(self, progress: TrainingProgress) -> None:
        if self._stop.exists():
            # The engine then finishes its step and writes a checkpoint. Not a real signal: Ray's workers block those.
            _thread.interrupt_main()
        now = time.monotonic()
        if now - self._noted < _NOTE_EVERY_S:
            return
        self._noted = now
        step, at = self._first = self._first or (progress.step, now)
        rate = (progress.step - step) / (now - at) if now > at else None
        note = GroupProgress(
            step=progress.step, steps=progress.steps, steps_per_s=rate, host=platform.node(), pid=os.getpid()
        )
        self._files.note(self._files.progress, note)
