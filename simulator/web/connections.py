"""HTTP connections of uvicorn that are given up on when their client dawdles, and no more than a process can hold."""

from __future__ import annotations

import asyncio

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["BoundedConnection"]

_HEAD_S = 10.0
"""Seconds that the head of a request may take to come in."""
_MOST = 400
"""Connections at once; a process has a thousand files or so."""


class BoundedConnection(H11Protocol):
    """A connection whose requests' heads must come in in time: uvicorn itself would wait for ever."""

    _waiting: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or close it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > _MOST:
            transport.close()
            return
        self._watch()

    @override
    def data_received(self, data: bytes) -> None:
        """Take what came in."""
        super().data_received(data)
        self._watch()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start waiting for the rest of a head that has begun, or stop once it is there."""
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(_HEAD_S, self._give_up)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
