"""Where the time of a group goes: seconds by kind, of which one runs at any moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

__all__ = ["KINDS", "Kind", "Stopwatch", "added"]

Kind = Literal["start", "compile", "steps", "scoring", "evaluation", "writing"]
"""`start` is imports, opening tokens and building the models; `compile` finding or making kernels, and a group's first
step where torch compiles it; `steps` all others; `scoring` forward passes that choose a subset of the text;
`evaluation` validation; `writing` checkpoints and progress."""
KINDS: tuple[Kind, ...] = get_args(Kind)


class Stopwatch:
    """Adds up seconds by kind, from now on those of `start`."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(KINDS, 0.0)
        self._kind: Kind = "start"
        self._since = time.monotonic()

    @contextmanager
    def timing(self, kind: Kind) -> Iterator[None]:
        """Count what happens inside as `kind`, and not as what it happens inside of."""
        outer = self._kind
        self._switch(kind)
        try:
            yield
        finally:
            self._switch(outer)

    def seconds(self) -> dict[Kind, float]:
        """Seconds so far, by kind."""
        self._switch(self._kind)
        return dict(self._seconds)

    def _switch(self, kind: Kind) -> None:
        now = time.monotonic()
        self._seconds[self._kind] += now - self._since
        self._kind, self._since = kind, now


def added(one: Mapping[Kind, float], other: Mapping[Kind, float]) -> dict[Kind, float]:
    """Seconds of both, by kind."""
    return {kind: one.get(kind, 0.0) + other.get(kind, 0.0) for kind in KINDS}
