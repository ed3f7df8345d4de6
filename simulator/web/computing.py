"""Threads for what takes more than an instant, so that the server goes on listening meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ...core.deadline import time_limit
from .answers import RefusedError

__all__ = ["Computing"]

_Found = TypeVar("_Found")


_SHORT_S = 0.5
"""Seconds for which a computation has the processor to itself: two that share Python's lock take longer than one after
the other. Longer ones go on beside those that come after them."""


class Computing:
    """A few threads, and a line before them that is not endless."""

    def __init__(self, threads: int, waiting: int, compute_s: float, answer_s: float) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None  # started by the first question
        self._most = threads + waiting
        self._compute_s, self._answer_s = compute_s, answer_s
        self._there = 0
        self._turn = asyncio.Semaphore(1)

    async def run(self, compute: Callable[[], _Found]) -> _Found:
        """What `compute` returns.

        Raises:
            RefusedError: Too many wait already, or the answer takes too long.
            OutOfTimeError: The computation takes too long.
        """

        def bounded() -> _Found:
            with time_limit(self._compute_s):
                return compute()

        if self._there >= self._most:
            raise RefusedError(
                429, "the server is busy: too many computations wait; expected fewer at once", {"Retry-After": "1"}
            )
        self._there += 1
        try:
            await self._turn.acquire()
        except asyncio.CancelledError:  # the client has left while it waited
            self._there -= 1
            raise
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="forecast")
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, bounded)
        release = _Once(self._turn.release)
        timer = loop.call_later(_SHORT_S, release)
        future.add_done_callback(lambda done: (timer.cancel(), release(), self._left(done)))
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._answer_s)
        except TimeoutError:
            raise RefusedError(
                503, f"this takes longer than {self._answer_s:g} s; expected a smaller question", {"Retry-After": "30"}
            ) from None

    def close(self) -> None:
        """End what waits."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._turn = asyncio.Semaphore(1)  # of the next loop

    def _left(self, future: asyncio.Future[Any]) -> None:
        self._there -= 1
        if not future.cancelled():
            future.exception()  # of a client that has left, which nobody asks for any more


class _Once:
    """Calls what it is given the first time that it is called."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        if self._call is not None:
            call, self._call = self._call, None
            call()
