"""`locked`: one process at a time in a folder that grows for long, such as a campaign's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import ForetrainError

__all__ = ["LOCK_NAME", "locked"]

LOCK_NAME = ".lock"
"""Name of the file that is locked. It stays; the system lets go of it when its holder dies."""


@contextlib.contextmanager
def locked(folder: Path, busy: str, error: type[ForetrainError]) -> Iterator[None]:
    """Hold a folder for this process.

    Args:
        folder: The folder, which exists.
        busy: What is said where another process has it, such as `another process is preparing this store`.
        error: What is raised at once where another process has it, or where it can't be locked.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name, locked(Path(name), "in use", ForetrainError):
    ...     Path(name, LOCK_NAME).exists()
    True
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise error(f"{folder}: {busy}") from None
    except OSError as problem:
        raise error(f"{folder}: can't be locked: {problem.strerror or problem}") from None
    try:
        yield
    finally:
        lock.release()
