"""A time limit that long computations keep to where somebody sets one, as a server does for what a request asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .errors import InputError

__all__ = ["OutOfTimeError", "check_time", "time_limit"]

_ends: ContextVar[tuple[float, float] | None] = ContextVar("_ends", default=None)  # of the monotonic clock; the limit


class OutOfTimeError(InputError):
    """A computation takes longer than whoever asked for it allows."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let what is computed inside take so many seconds; it is looked at the clock between its parts.

    >>> with time_limit(0.0):
    ...     check_time()
    Traceback (most recent call last):
        ...
    foretrain.core.deadline.OutOfTimeError: this takes longer than 0 s; expected a smaller question
    """
    before = _ends.set((time.monotonic() + seconds, seconds))
    try:
        yield
    finally:
        _ends.reset(before)


def check_time() -> None:
    """Raise OutOfTimeError where a limit is set and has passed; called between the parts of what may take long."""
    limit = _ends.get()
    if limit is not None and time.monotonic() >= limit[0]:
        raise OutOfTimeError(f"this takes longer than {limit[1]:g} s; expected a smaller question")
