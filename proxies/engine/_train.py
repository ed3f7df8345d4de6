"""Train one group to the end: checkpoints by the clock, progress, and a clean stop on Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ...core.errors import ConfigError
from ...datasets.tokens.store import TokenStore
from ..results import RunResult
from ..runs import ProxyRun
from ..settings import EngineSettings
from ._checkpoint import load_checkpoint, save_checkpoint
from ._group import TrainingGroup
from ._hardware import resolve

__all__ = ["Progress", "train_group"]

_REPORT_EVERY_S = 1.0


class Progress(NamedTuple):
    """How far a group is: steps taken of all, and tokens that all copies together have seen."""

    step: int
    steps: int
    tokens: int
    copies: int


def train_group(
    runs: Sequence[ProxyRun],
    store: TokenStore,
    settings: EngineSettings,
    checkpoint: Path,
    report: Callable[[Progress], None] | None = None,
) -> list[RunResult]:
    """Train runs that share `ProxyRun.shared`; return their results in the same order.

    Continues from `checkpoint` if it holds these very runs, and writes it every `settings.checkpoint_every_s`. On
    Ctrl-C (or SIGTERM, in a main thread) it finishes the step, writes the checkpoint and raises KeyboardInterrupt.
    `report` is called about once a second. The result is the same bits however often it was interrupted. Raises
    ConfigError if the runs can't be trained together or on this data.
    """
    if len({run.shared for run in runs}) != 1:
        raise ConfigError("a group's runs must have the same model, shape, steps, batch and evaluations")
    if (size := runs[0].shape.vocab_size) < store.vocab_size:
        raise ConfigError(f"shape.vocab_size: got {size}; the token store has {store.vocab_size} different tokens")
    plan = resolve(settings, sum(run.training_flops for run in runs))
    group = TrainingGroup(runs, store, settings, plan)
    load_checkpoint(group, checkpoint)
    started = time.monotonic()
    first_step, reported, saved = group.step, started, started
    with _interruptible() as interrupted:
        while not group.finished:
            group.advance()
            now = time.monotonic()
            if report is not None and now - reported >= _REPORT_EVERY_S:
                reported = now
                report(_progress(group))
            if interrupted.is_set() or now - saved >= settings.checkpoint_every_s:
                save_checkpoint(group, checkpoint)
                saved = time.monotonic()
            if interrupted.is_set():
                raise KeyboardInterrupt
    if report is not None:
        report(_progress(group))
    return _results(group, (group.step - first_step) / max(1e-9, time.monotonic() - started))


def _progress(group: TrainingGroup) -> Progress:
    copies = len(group.runs)
    return Progress(group.step, group.steps, group.step * group.runs[0].batch_tokens * copies, copies)


def _results(group: TrainingGroup, steps_per_s: float) -> list[RunResult]:
    copies, run = len(group.runs), group.runs[0]
    engine = {
        **group.plan.to_dict(),
        "copies": copies,
        "tokens_per_s": round(steps_per_s * run.batch_tokens * copies, 1),
    }
    return [
        RunResult(
            run_id=run.run_id,
            status="ok" if died is None else "diverged",
            evaluations=tuple(evaluations),
            curve=tuple(curve),
            diverged_step=died,
            engine=engine,
        )
        for run, died, evaluations, curve in zip(
            group.runs, group.diverged_steps(), group.evaluations, group.curves, strict=True
        )
    ]


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, since an exception in the middle of a step would tear the state."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: event.set()) for number in signals]
    try:
        yield event
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
