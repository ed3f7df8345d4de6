"""Background jobs: each a process that tells its progress, a bounded line before them, results kept for a while."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ....core.errors import error_parts
from ..answers import RefusedError

__all__ = ["Job", "Jobs", "State"]

_log = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "cancelled"]
"""What a job is at."""

_ANSWERED = (0, 4)  # exit codes of a command that has printed its answer
_MOST_ANSWER = 32_000_000  # bytes
_GRACE_S = 60.0  # beyond the time that a job is told to take: it starts, and makes its answer
_PATIENCE_S = 2.0  # from asking a process to end to ending it


@dataclass
class Job:
    """One job: what it runs, and how far it is."""

    id: str
    kind: str
    command: Sequence[str]
    given: bytes
    """What its process reads on standard input."""
    state: State = "waiting"
    text: str = ""
    share: float = 0.0
    started: float | None = None
    ended: float | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    task: asyncio.Task[None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        end = self.ended or time.monotonic()
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": {
                "share": self.share,
                "text": self.text,
                "elapsed_s": 0.0 if self.started is None else round(end - self.started, 3),
            },
            "result": self.result,
            "error": self.error,
        }

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "failed", "cancelled")


class Jobs:
    """All jobs of a server: some running, some waiting, and the last of those that are over."""

    def __init__(self, running: int, waiting: int, kept: int, most_s: float) -> None:
        self._free = asyncio.Semaphore(running)
        self._most, self._kept, self._most_s = running + waiting, kept, most_s
        self._jobs: dict[str, Job] = {}

    def add(self, kind: str, command: Sequence[str], given: bytes) -> Job:
        """Put a job in the line. Raises RefusedError where it is full."""
        if sum(not job.over for job in self._jobs.values()) >= self._most:
            raise RefusedError(
                429, f"too many jobs; expected at most {self._most} at once: wait, or cancel one", {"Retry-After": "10"}
            )
        over = [job.id for job in self._jobs.values() if job.over]
        for old in over[: max(0, len(over) - self._kept + 1)]:
            del self._jobs[old]
        job = Job(secrets.token_urlsafe(16), kind, command, given)
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job))
        return job

    def find(self, job_id: str) -> Job:
        """The job of an id. Raises RefusedError where there is none, or none any more."""
        if job_id not in self._jobs:
            raise RefusedError(404, "there is no job of this id, or none any more")
        return self._jobs[job_id]

    def all(self) -> list[Job]:
        """Every job that is known, the newest last."""
        return list(self._jobs.values())

    async def cancel(self, job: Job) -> None:
        """End a job; what it has found is lost. One that is over stays as it is."""
        if job.task is not None and not job.over:
            job.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await job.task
            self._end(job, "cancelled")

    async def close(self) -> None:
        """End all jobs."""
        await asyncio.gather(*(self.cancel(job) for job in self.all()))

    async def _run(self, job: Job) -> None:
        async with self._free:
            job.state, job.started = "running", time.monotonic()
            try:
                async with asyncio.timeout(self._most_s + _GRACE_S):
                    await self._work(job)
            except TimeoutError:
                self._fail(job, f"the job took longer than {self._most_s:g} s and was ended")
            except (OSError, ValueError) as error:
                _log.error("a job failed", exc_info=error)
                self._fail(job, "the job's process failed; the server's log says more")

    async def _work(self, job: Job) -> None:
        with tempfile.TemporaryDirectory(prefix="foretrain-job-") as empty:
            process = await asyncio.create_subprocess_exec(
                *job.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=empty,  # where nothing has the name of a predictor
                start_new_session=True,  # Ctrl-C is for the server, which ends its jobs itself
            )
            try:
                answer, _, code = await asyncio.gather(
                    _answer(process, job.given), _follow(process, job), process.wait()
                )
            finally:
                await _ended(process)
        self._conclude(job, answer, code)

    def _conclude(self, job: Job, answer: bytes, code: int) -> None:
        """Take what the process has printed: its answer, or its error."""
        document = json.loads(answer) if answer.strip() else {}
        if code in _ANSWERED and "error" not in document:
            job.result, job.share = document, 1.0
            self._end(job, "done")
        elif "error" in document and document["error"].get("kind") != "InternalError":
            job.error = document["error"]
            self._end(job, "failed")
        else:
            _log.error("a job ended with code %d: %s", code, answer[:2000].decode("utf-8", "replace"))
            self._fail(job, "the job's process failed; the server's log says more")

    def _fail(self, job: Job, message: str) -> None:
        job.error = error_parts("JobError", message)
        self._end(job, "failed")

    def _end(self, job: Job, state: State) -> None:
        if not job.over:
            job.state, job.ended, job.given = state, time.monotonic(), b""


async def _answer(process: asyncio.subprocess.Process, given: bytes) -> bytes:
    """What the process prints, given what it reads."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError):  # it has ended without reading all
        process.stdin.write(given)
        await process.stdin.drain()
    process.stdin.close()
    found = bytearray()
    while part := await process.stdout.read(1 << 16):
        found += part
        if len(found) > _MOST_ANSWER:
            raise ValueError("a job's answer is too large")
    return bytes(found)


async def _follow(process: asyncio.subprocess.Process, job: Job) -> None:
    """Note the progress that the process tells, a JSON object per line."""
    assert process.stderr is not None
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:  # a line that is longer than any of ours
            continue
        if not line:
            return
        try:
            event = json.loads(line)
            job.text, job.share = str(event["text"]), float(event["share"])
        except (KeyError, TypeError, ValueError):
            continue


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Make sure that the process has ended."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
