"""Processes on this machine: one for each core, or one for each GPU.

A worker is `python -m foretrain.proxies.campaign.worker`, fed by lines of JSON: no pickle, no fork of a process that
has threads, and its own environment. It lives for the whole campaign, so that torch is imported once, and ends by
itself when this process is gone, however that came about: then its standard input ends.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeAlias

from typing_extensions import override

from ...core.errors import UsageError
from ...core.processors import usable_cores
from ._executor import DEATHS_ALLOWED, Executor, GroupJob, GroupOutcome
from ._registry import register_executor

__all__ = ["LocalExecutor"]

_TICK_S = 1.0
_GRACE_S = 60.0  # to finish a step and write a checkpoint, which can be large
_LAST_WORDS = 2_000  # characters of a dead worker's standard error

# One thread for each process: kernels this small lose more than they gain with several.
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")


# glibc gives large blocks back to the system and gets them anew, page by page, at every step: a sixth of a step where
# torch computes it (223k parameters, bf16). A worker's memory is its own until it ends.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}


@register_executor("local")
class LocalExecutor(Executor):
    """Worker processes on this machine: `workers` of them, or as many as there are cores (or GPUs)."""

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        if address is not None:
            raise UsageError("address: the local engine has no cluster; expected it only with the engine ray")
        super().__init__(workers)
        self.command: Sequence[str] = (sys.executable, "-P", "-m", "foretrain.proxies.campaign.worker")
        """How a worker is started."""

    @override
    def run(self, jobs: Sequence[GroupJob], device: str) -> Generator[GroupOutcome | None, None, None]:
        gpus = _visible_gpus(device)
        count = min(len(jobs), self.workers or len(gpus) or usable_cores())
        self.at_once = count
        waiting = deque(jobs)
        deaths = dict.fromkeys(jobs, 0)  # of its worker, by job
        events: _Events = queue.SimpleQueue()
        busy: set[_Worker] = set()
        try:
            for slot in range(count):
                gpu = gpus[slot % len(gpus)] if gpus else None
                worker = _Worker(self.command, events, gpu)
                busy.add(worker)
                worker.start(waiting.popleft())
            while busy:
                try:
                    worker, process, line = events.get(timeout=_TICK_S)
                except queue.Empty:
                    yield None
                    continue
                if not worker.runs(process):
                    continue  # the end of a process that was dismissed
                outcome = worker.ended(line, deaths, waiting)
                if waiting:
                    worker.start(waiting.popleft())
                else:
                    busy.discard(worker)
                    worker.dismiss()
                if outcome is not None:
                    yield outcome
        finally:
            _stop(busy)


class _Event(NamedTuple):
    """A line that a worker's process wrote; an empty one when the process is gone."""

    worker: _Worker
    process: subprocess.Popen[str]
    line: str


_Events: TypeAlias = "queue.SimpleQueue[_Event]"


class _Worker:
    """A slot for a worker process; a dead process is replaced when there is another job."""

    def __init__(self, command: Sequence[str], events: _Events, gpu: str | None) -> None:
        self._command = command
        self._events = events
        self._gpu = gpu
        self._process: subprocess.Popen[str] | None = None
        self._job: GroupJob | None = None

    def runs(self, process: subprocess.Popen[str]) -> bool:
        """Whether this is the process in this slot."""
        return self._process is process

    def start(self, job: GroupJob) -> None:
        """Hand a job to the process, a new one if need be."""
        self._job = job
        if self._process is None:
            environment = {**_KEEP_FREED_MEMORY, **os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
            if self._gpu is not None:
                environment["CUDA_VISIBLE_DEVICES"] = self._gpu
            self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                env=environment,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the workers in order
            )
            listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
            listener.start()
        self._say(json.dumps(job._asdict()))

    def ended(self, line: str, deaths: dict[GroupJob, int], waiting: deque[GroupJob]) -> GroupOutcome | None:
        """The outcome of the job, from the line that the process wrote, which is empty if it died instead.

        Args:
            line: What the process wrote.
            deaths: How many workers each job has cost; counted up here.
            waiting: Jobs that wait for a worker; this one goes back there unless it has cost too many.

        Returns:
            The job's outcome; None where it goes back to `waiting`.
        """
        job = self._job
        assert job is not None
        if line:
            return GroupOutcome(job.group, json.loads(line)["failure"])
        why = self._reap()
        deaths[job] += 1
        if deaths[job] < DEATHS_ALLOWED:
            waiting.appendleft(job)
            return None
        return GroupOutcome(job.group, f"its worker died {deaths[job]} times; the last time {why}")

    def interrupt(self) -> None:
        """Ask for a checkpoint and an end."""
        self._say("stop")

    def dismiss(self, within_s: float = _GRACE_S, ask: bool = True) -> None:
        """Let the process end, by closing its input if `ask`; kill it if it takes longer than `within_s`."""
        process = self._process
        if process is None:
            return
        try:
            if ask:
                self._close_input(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, within_s))
        finally:  # also on a second Ctrl-C
            process.kill()
            self._reap()

    def _reap(self) -> str:
        """Wait for the dead process, remove it, and describe how it died."""
        process, self._process = self._process, None
        assert process is not None
        code = process.wait()
        self._close_input(process)
        with self._errors:
            self._errors.seek(0)
            last_words = self._errors.read()[-_LAST_WORDS:].strip()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        if code == -signal.SIGKILL:
            how += " (out of memory?)"
        if last_words:
            how += f", saying: {last_words}"
        return how

    def _say(self, line: str) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            # If it is dead already, the listener says so.
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write(line + "\n")
                process.stdin.flush()

    def _close_input(self, process: subprocess.Popen[str]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Forward the lines that the process writes, and an empty one at its end."""
        if process.stdout is not None:
            with process.stdout as stream:
                for line in stream:
                    self._events.put(_Event(self, process, line))
        self._events.put(_Event(self, process, ""))


def _stop(workers: set[_Worker]) -> None:
    """Stop workers in the middle of their jobs; all write their checkpoints at the same time."""
    for worker in workers:
        worker.interrupt()
    deadline = time.monotonic() + _GRACE_S
    for worker in workers:
        worker.dismiss(deadline - time.monotonic(), ask=False)


def _visible_gpus(device: str) -> list[str]:
    """What to set CUDA_VISIBLE_DEVICES to, one entry for each GPU; empty where training is on CPUs."""
    if device == "cpu" or "+cpu" in _torch_version():
        return []
    import torch

    count = torch.cuda.device_count()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = [name for name in allowed.split(",") if name.strip()]
    if named:
        return named[:count]
    return [str(index) for index in range(count)]


def _torch_version() -> str:
    """Version of torch, read without the seconds that importing it takes; empty if there is none."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
