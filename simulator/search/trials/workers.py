"""Worker processes of a study: each runs `simulate optimize --worker` on its storage until there are enough trials.

Workers only run trials; warm starts, local search and the result are left to the main process. A worker that dies
loses nothing but its current trial.
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

_PATIENCE_S = 20.0  # how long a worker may take to finish its current trial at the end


@contextmanager
def workers(
    count: int, path: str | os.PathLike[str], storage: str, trials: int, arguments: Sequence[str] = ()
) -> Iterator[None]:
    """A context in which `count` worker processes run trials of a study.

    Args:
        count: Number of processes.
        path: The study file.
        storage: The storage of its trials.
        trials: Number of complete trials to reach.
        arguments: Further arguments of `simulate optimize`.

    Raises:
        UsageError: Processes can't share the storage, or can't read the study.
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
    """Wait for a worker, then terminate it."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
