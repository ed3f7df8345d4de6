"""More processes on one study: each runs `simulate optimize --worker` on its storage until there are enough trials.

They only try plans; recipes, polish and the answer are the first process's. What they write are trials like any other,
so that one that dies costs nothing but its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ....core.errors import UsageError
from ..storage.own_journal import MEMORY

__all__ = ["workers"]

_PATIENCE_S = 20.0  # for the trial that a worker is at when there are enough


@contextmanager
def workers(
    count: int, path: str | os.PathLike[str], storage: str, trials: int, arguments: Sequence[str] = ()
) -> Iterator[None]:
    """Have `count` more processes work on the study file at `path` while the block runs; `arguments` are the command's.

    Raises UsageError for a storage that they can't share, or a study that they can't read.
    """
    if count and storage == MEMORY:
        raise UsageError("--processes: several processes can't share --storage memory; expected a file or a URL")
    if count and os.fspath(path) == "-":
        raise UsageError("--processes: each process reads the study itself; expected a file instead of standard input")
    command = [sys.executable, "-m", "foretrain", "optimize", "--worker", "--config", os.fspath(path)]
    command += ["--storage", storage, "--trials", str(trials), *arguments]
    running = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    finished = False
    try:
        yield
        finished = True
    finally:
        for process in running:
            _end(process, _PATIENCE_S if finished else 0.0)


def _end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """Wait for a worker, then make it stop."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
