"""`train_one_group`: the task of every worker, which trains one group of a campaign's folder and writes its results."""

from __future__ import annotations

import _thread
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import CampaignError
from ...core.files import write_json
from ..results import RunResult
from ..runs import ProxyRun
from ..stopwatch import Kind, added
from .campaign import Campaign
from .campaign_files import Failure, GroupFolder, GroupParts, GroupProgress
from .machine_check import check_machine
from .result_files import is_done, write_result, write_run

if TYPE_CHECKING:
    from ..engine import TrainingProgress

__all__ = ["Train", "train_one_group", "use_one_thread"]

Train = Callable[..., list[RunResult]]
"""Called as `proxies.engine.train_group` is; with `starts` only where runs start from trained weights."""

_LOCK_WAIT_S = 60.0  # until a worker that lost its campaign has noticed
_NOTE_EVERY_S = 2.0


def use_one_thread() -> None:
    """Limit torch to one thread in this process. A group's bits depend on it, so every worker does the same."""
    import torch

    torch.set_num_threads(1)


def train_one_group(folder: str, group: int, train: Train | None = None, began: float | None = None) -> str | None:
    """Train one group of the campaign in `folder` to its end; return None, or what went wrong in one line.

    The group is trained whole, from its checkpoint if there is one, under its own lock, so that two processes never
    write the same results. Where memory runs out it is trained in halves, and so on down to single runs; its results
    then say so (`split_after_out_of_memory`, beside `copies`). A failure is also noted in the group's folder. Only
    KeyboardInterrupt and its kin get through, after the engine has written a checkpoint. `train` stands for the engine
    in tests; `began` is the monotonic time at which this process began to work for the group, by default now.
    """
    began = time.monotonic() if began is None else began
    try:
        campaign = Campaign.open(folder)
    except Exception as error:
        return str(Failure.of(error))
    files = campaign.layout.group(group)
    try:
        _train_locked(campaign, group, files, train, began)
    except Exception as error:
        failure = Failure.of(error)
        files.note(files.failure, failure)
        return str(failure)
    return None


def _train_locked(campaign: Campaign, group: int, files: GroupFolder, train: Train | None, began: float) -> None:
    from filelock import FileLock, Timeout

    if campaign.layout.stop.exists():
        raise KeyboardInterrupt
    files.path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(files.lock, timeout=_LOCK_WAIT_S):
            if not campaign.is_group_done(group):
                files.failure.unlink(missing_ok=True)
                _train(campaign, group, files, train, began)
            files.remove()
    except Timeout:
        raise CampaignError(f"{files.path}: another process is still training this group; try again later") from None


def _train(campaign: Campaign, group: int, files: GroupFolder, train: Train | None, began: float) -> None:
    if train is None:
        from ..engine import train_group as train
    check_machine(campaign.file, campaign.folder)
    runs = campaign.group_runs(group)
    for run in runs:
        write_run(campaign.layout.run(run.run_id), run)
    copies = files.read_copies() or len(runs)
    while not _train_parts(campaign, runs, copies, files, train, began):
        began = time.monotonic()
        copies = (copies + 1) // 2
        # Kept, so that the group is split in the same way wherever it is interrupted: its bits depend on it.
        write_json(files.parts, GroupParts(copies=copies).model_dump())


def _train_parts(
    campaign: Campaign, runs: list[ProxyRun], copies: int, files: GroupFolder, train: Train, began: float
) -> bool:
    """Train a group, at most so many copies at once, and write results; say whether they fit into memory.

    A run's result holds its part of the seconds that training took, those before an interruption included.
    Raises CampaignError where not even one copy fits.
    """
    spent = files.read_seconds()
    parts = [runs[first : first + copies] for first in range(0, len(runs), copies)]
    for number, part in enumerate(parts):
        folders = [campaign.layout.run(run.run_id) for run in part]
        if all(is_done(folder, campaign.file.settings.keep_weights) for folder in folders):
            continue
        store = campaign.open_store()
        starts = campaign.starting_weights(part)
        spent = added(spent, {"start": time.monotonic() - began})
        watch = _Watch(files, campaign.layout.stop, number, len(parts), spent)
        try:
            more = (starts,) if starts else ()
            results = train(part, store, campaign.file.resolved_settings, files.checkpoint, watch, *more)
        except MemoryError as error:
            if copies > 1:
                return False
            raise CampaignError(
                f"run {part[0].run_id!r} doesn't fit into memory, even alone: {error}; expected fewer workers, a "
                "smaller batch_sequences or context_length, or a machine with more memory"
            ) from None
        began = time.monotonic()
        for folder, run, result in zip(folders, part, results, strict=True):
            if result.run_id != run.run_id:
                raise CampaignError(f"the engine returned run {result.run_id!r} in the place of {run.run_id!r}")
            if result.weights is None and campaign.file.settings.keep_weights:
                raise CampaignError(f"the engine returned run {run.run_id!r} without its weights")
            seconds = added(spent, result.engine.get("seconds", {}))
            engine = {**result.engine, "seconds": {kind: value / len(part) for kind, value in seconds.items()}}
            if len(parts) > 1:
                engine["split_after_out_of_memory"] = True
            write_result(folder, replace(result, engine=engine))
        spent = {}
        files.forget_seconds()
    return True


class _Watch:
    """Notes the group's progress on disk, now and then, and stops the engine when the campaign is being stopped.

    The group is trained in `parts` one after another, of which this is the one of this `number`; `spent` are the
    seconds before the engine's that no result holds yet.
    """

    def __init__(self, files: GroupFolder, stop: Path, number: int, parts: int, spent: Mapping[Kind, float]) -> None:
        self._files, self._stop, self._spent = files, stop, spent
        self._number, self._parts = number, parts
        self._first: tuple[float, float] | None = None
        self._noted = -_NOTE_EVERY_S

    def __call__(self, progress: TrainingProgress) -> None:
        if self._stop.exists():
            # The engine then finishes its step and writes a checkpoint. Not a real signal: Ray's workers block those.
            _thread.interrupt_main()
        now = time.monotonic()
        if now - self._noted < _NOTE_EVERY_S:
            return
        self._noted = now
        taken = (self._number * progress.steps + progress.step) / self._parts  # steps of the whole group
        before, at = self._first = self._first or (taken, now)
        rate = (taken - before) / (now - at) if now > at else None
        note = GroupProgress(
            step=int(taken),
            steps=progress.steps,
            steps_per_s=rate,
            seconds=added(self._spent, progress.seconds),
            host=platform.node(),
            pid=os.getpid(),
        )
        self._files.note(self._files.progress, note)
