"""A process for each size: what it compiles, allocates or breaks is its own, and it can be ended in the middle."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from .case import Case

__all__ = ["LostError", "Remote"]

_CONTEXT = multiprocessing.get_context("spawn")


class LostError(Exception):
    """A process gave no answer: it broke, or took too long."""


class Remote:
    """A `Worker` in a process of its own. A call is sent, and its answer is waited for, so that several can compute."""

    def __init__(self, store: str, device: str, case: Case) -> None:
        self.case = case
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, store, device, case), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process ends the wait for its answer

    def send(self, method: str, *arguments: Any) -> None:
        """Begin a call."""
        with suppress(OSError):  # then `receive` says so
            self._pipe.send((method, arguments))

    def receive(self, limit_s: float) -> Any:
        """The answer to the call that was sent first. Raises LostError; after that the process is gone."""
        limit_s = max(0.0, limit_s)
        try:
            if not self._pipe.poll(limit_s):
                raise LostError(f"no answer within {limit_s:.0f} s")
            fine, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            self.close()
            raise LostError(f"its process ended with exit code {self._process.exitcode}") from None
        except LostError:
            self.close()
            raise
        if not fine:
            self.close()
            raise LostError(answer)
        return answer

    def call(self, limit_s: float, method: str, *arguments: Any) -> Any:
        """`send` and `receive`."""
        self.send(method, *arguments)
        return self.receive(limit_s)

    def close(self) -> None:
        """End the process, and what it holds of the GPU."""
        self._process.kill()
        self._process.join(10)
        self._pipe.close()


def _serve(pipe: Connection, store: str, device: str, case: Case) -> None:
    """Answer calls until the other end is gone."""
    from .worker import Worker  # torch takes seconds

    worker = Worker(store, device, case)
    with suppress(EOFError, OSError):
        while True:
            method, arguments = pipe.recv()
            try:
                pipe.send((True, getattr(worker, method)(*arguments)))
            except Exception as error:  # one size that fails leaves the others
                pipe.send((False, f"{type(error).__name__}: {error}"[:2_000]))
