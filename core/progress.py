"""What a long computation tells, now and then, to whoever waits for it; as lines of text or of JSON off a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

__all__ = ["Progress", "ProgressLines"]

Progress = Callable[[str, float], None]
"""Called with what is being done, and what share of it is done, 0 to 1."""

_LINE_S = 60.0  # between lines of text: a log of a night has some five hundred
_EVENT_S = 1.0  # between lines of JSON


class ProgressLines:
    """A `Progress` that writes a line a minute; with `as_json` one JSON object per event, a second apart at least.

    Events are "start", "progress" and "end" or "failed", each with what is done, its share, and seconds since then.

    >>> with ProgressLines("fitting", print, as_json=True, clock=lambda: 0.0) as step:
    ...     step("law 1 of 3", 0.1)
    {"event": "start", "what": "fitting", "text": "", "share": 0.0, "elapsed_s": 0.0}
    {"event": "progress", "what": "fitting", "text": "law 1 of 3", "share": 0.1, "elapsed_s": 0.0}
    {"event": "end", "what": "fitting", "text": "law 1 of 3", "share": 1.0, "elapsed_s": 0.0}
    """

    def __init__(
        self,
        what: str,
        write: Callable[[str], None],
        as_json: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._write, self._as_json, self._clock = what, write, as_json, clock
        self._text, self._share, self._started = "", 0.0, clock()
        self._last = -_EVENT_S if as_json else 0.0  # of the lines, seconds since the start

    def __call__(self, text: str, share: float) -> None:
        """What is being done, and the share of it that is done."""
        self._text, self._share = text, share
        now = self._elapsed_s()
        if now - self._last >= (_EVENT_S if self._as_json else _LINE_S):
            self._last = now
            self._event("progress") if self._as_json else self._write(self._line(now))

    def __enter__(self) -> ProgressLines:
        """Say that it starts."""
        self._event("start")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Say how it ended."""
        if kind is None:
            self._share = 1.0
        self._event("end" if kind is None else "failed")

    def _elapsed_s(self) -> float:
        return self._clock() - self._started

    def _line(self, now: float) -> str:
        text = f": {self._text}" if self._text else ""
        return f"{self._what}{text}: {self._share:.0%} after {now / 60:.0f} min"

    def _event(self, name: str) -> None:
        if self._as_json:
            facts = {"event": name, "what": self._what, "text": self._text, "share": round(self._share, 4)}
            self._write(json.dumps({**facts, "elapsed_s": round(self._elapsed_s(), 1)}))
