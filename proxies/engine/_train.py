"""Train one group to the end: checkpoints by the clock, progress, and a clean stop on Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ...core.errors import ConfigError
from ...datasets.tokens.store import TokenStore
from ..results import RunResult
from ..runs import ProxyRun
from ..settings import EngineSettings
from ..stopwatch import Kind, Stopwatch
from ..weights import RunWeights, WeightsFacts, run_digest
from ._checkpoint import load_checkpoint, save_checkpoint
from ._group import TrainingGroup
from ._hardware import resolve
from ._memory import gives_memory_back

__all__ = ["TrainingProgress", "train_group"]

_REPORT_EVERY_S = 1.0


class TrainingProgress(NamedTuple):
    """How far a group is: steps taken of all, tokens that all copies have seen, seconds of this process by kind."""

    step: int
    steps: int
    tokens: int
    copies: int
    seconds: Mapping[Kind, float]


@gives_memory_back
def train_group(
    runs: Sequence[ProxyRun],
    store: TokenStore,
    settings: EngineSettings,
    checkpoint: Path,
    report: Callable[[TrainingProgress], None] | None = None,
    starts: Mapping[str, RunWeights] | None = None,
) -> list[RunResult]:
    """Train runs together and return their results in the same order, the same bits however often it was interrupted.

    On Ctrl-C (or SIGTERM, in a main thread) it finishes the step and writes the checkpoint.

    Args:
        runs: Runs that share `ProxyRun.shared`.
        store: The tokens to train on.
        settings: How to compute, and how often to write the checkpoint.
        checkpoint: A file to continue from, if it holds these very runs, and to write on the way.
        report: Called about once a second with how far the group is.
        starts: The trained weights that runs start from (`ProxyRun.start`), by digest.

    Raises:
        ConfigError: The runs can't be trained together or on this data.
        KeyboardInterrupt: It was interrupted; the checkpoint is written.
        MemoryError: The group doesn't fit into memory, of the processor or of the GPU; nothing of it is held there.
    """
    if len({run.shared for run in runs}) != 1:
        raise ConfigError("a group's runs must have the same model, shape, steps, batch, evaluations and subset")
    vocab_size = runs[0].shape.vocab_size
    if vocab_size < store.vocab_size:
        raise ConfigError(
            f"shape.vocab_size: got {vocab_size}; the token store has {store.vocab_size} different tokens"
        )
    watch = Stopwatch()
    with watch.timing("compile"):  # the native kernels; torch compiles in the first step
        hardware = resolve(settings, runs)
    group = TrainingGroup(runs, store, settings, hardware, watch, starts)
    load_checkpoint(group, checkpoint)
    first_step = group.step
    started = time.monotonic()
    reported = saved = started
    with _interruptible() as interrupted:
        while not group.finished:
            compiles = hardware.compiled and hardware.kernels is None and group.step == first_step
            with watch.timing("compile" if compiles else "steps"):
                group.advance()
            now = time.monotonic()
            if report is not None and now - reported >= _REPORT_EVERY_S:
                reported = now
                with watch.timing("writing"):
                    report(_progress(group))
            if interrupted.is_set() or now - saved >= settings.checkpoint_every_s:
                with watch.timing("writing"):
                    save_checkpoint(group, checkpoint)
                saved = time.monotonic()
            if interrupted.is_set():
                raise KeyboardInterrupt
    if report is not None:
        report(_progress(group))
    seconds = max(1e-9, time.monotonic() - started)
    return _results(group, (group.step - first_step) / seconds)


def _progress(group: TrainingGroup) -> TrainingProgress:
    copies = len(group.runs)
    tokens = group.step * group.runs[0].batch_tokens * copies
    return TrainingProgress(group.step, group.steps, tokens, copies, group.stopwatch.seconds())


def _results(group: TrainingGroup, steps_per_s: float) -> list[RunResult]:
    """What each copy gave, with how it was computed and how fast."""
    copies = len(group.runs)
    tokens_per_s = steps_per_s * group.runs[0].batch_tokens * copies
    engine = {**group.hardware.to_dict(), "copies": copies, "tokens_per_s": round(tokens_per_s, 1)}
    engine |= {**group.computation.facts, "seconds": group.stopwatch.seconds()}
    diverged_steps = group.diverged_steps()
    results = []
    for copy, run in enumerate(group.runs):
        diverged_step = diverged_steps[copy]
        result = RunResult(
            run_id=run.run_id,
            status="ok" if diverged_step is None else "diverged",
            evaluations=tuple(group.evaluations[copy]),
            curve=tuple(group.curves[copy]),
            diverged_step=diverged_step,
            engine=engine,
            weights=_weights(group, copy, diverged_step is not None) if group.settings.keep_weights else None,
        )
        results.append(result)
    return results


def _weights(group: TrainingGroup, copy: int, diverged: bool) -> RunWeights:
    """The averaged weights of one copy, which are the ones that were validated."""
    run, store = group.runs[copy], group.store
    facts = WeightsFacts(
        model=run.model,
        shape=run.shape,
        tokenizer_digest=store.index.tokenizer_digest,
        run_digest=run_digest(run, store),
        diverged=diverged,
    )
    views = group.layout.split(group.state.average[copy : copy + 1].cpu())
    return RunWeights(facts, {name: weight[0].numpy().copy() for name, weight in views.items()})


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, since an exception in the middle of a step would tear the state."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before_int = signal.signal(signal.SIGINT, lambda *_: event.set())
    before_term = signal.signal(signal.SIGTERM, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before_int)
        signal.signal(signal.SIGTERM, before_term)
