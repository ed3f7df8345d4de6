"""A file of JSON lines that many processes append to, any of which may be killed at any moment.

The kernel releases the file lock when its process dies. An incomplete last line that such a process has left is cut
off by the next append.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ....core.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["LineFile", "is_json"]

_TAIL_BYTES = 8192  # the first guess at how much of the file's end holds the last line


class LineFile:
    """The file at `path`, which exists. Every append is whole or absent.

    Raises InputError if the file can't be written, or others hold its lock for more than `lock_timeout_s` together.
    """

    def __init__(self, path: str, lock_timeout_s: float) -> None:
        self.path = path
        self._lock_timeout_s = lock_timeout_s

    def repair(self) -> int:
        """Cut off an incomplete last line, and return its number of bytes."""
        with self._locked() as descriptor:
            return _cut_torn_tail(descriptor)

    def append(self, data: bytes, to_disk: bool) -> None:
        """Append complete lines after a repair; with `to_disk` the file is synced to disk."""
        with self._locked() as descriptor:
            _cut_torn_tail(descriptor)
            _append(descriptor, data)
            if to_disk:
                os.fsync(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file's descriptor, for this thread of this process alone."""
        try:
            # never created here: a journal that was removed while in use must not go on without its beginning
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0))
            try:
                with self._held(descriptor):
                    yield descriptor
            finally:
                os.close(descriptor)  # releases the lock
        except OSError as error:
            raise InputError(f"{self.path}: can't be written: {error.strerror or error}") from None

    @contextmanager
    def _held(self, descriptor: int) -> Iterator[None]:
        if fcntl is None:
            from filelock import FileLock, Timeout

            try:
                with FileLock(f"{self.path}.guard", timeout=self._lock_timeout_s, poll_interval=0.001):
                    yield
            except Timeout:
                raise self._in_use() from None
            return
        end, pause = time.monotonic() + self._lock_timeout_s, 0.0001
        while not _try_lock(descriptor):
            if time.monotonic() > end:
                raise self._in_use()
            time.sleep(pause)
            pause = min(2 * pause, 0.005)
        yield

    def _in_use(self) -> InputError:
        return InputError(
            f"{self.path}: is locked by another process, for more than {self._lock_timeout_s:g} s; "
            "see which one has it open (lsof), let it end or stop it, then try again"
        )


def _try_lock(descriptor: int) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _append(descriptor: int, data: bytes) -> None:
    """Write all of `data` at the end, or nothing."""
    start, left = os.fstat(descriptor).st_size, data
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.ftruncate(descriptor, start)  # a full disk; half a line would only have to be repaired
        raise


def _cut_torn_tail(descriptor: int) -> int:
    """Cut off the last line unless it is complete; return the number of bytes removed. Reads only that line.

    Call it under the lock: a line that another process is writing looks incomplete too.
    """
    size = os.fstat(descriptor).st_size
    line = _last_line(descriptor, size)
    if not line or (line.endswith(b"\n") and is_json(line)):
        return 0
    os.ftruncate(descriptor, size - len(line))
    os.fsync(descriptor)
    return len(line)


def _last_line(descriptor: int, size: int) -> bytes:
    """The bytes after the last line end that has anything after it."""
    length = _TAIL_BYTES
    while True:
        start = max(0, size - length)
        os.lseek(descriptor, start, os.SEEK_SET)
        tail = os.read(descriptor, size - start)
        before = tail.rfind(b"\n", 0, len(tail) - 1)
        if before >= 0 or start == 0:
            return tail[before + 1 :]
        length *= 4


def is_json(line: bytes) -> bool:
    """Whether a line holds one JSON value."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
