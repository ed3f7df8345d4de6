"""How many requests one client may make: a bucket of tokens each, refilled as time passes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from ..answers import error_answer

__all__ = ["RateLimit"]

_MOST_CLIENTS = 10_000


class RateLimit:
    """Refuses requests of a client that makes too many."""

    def __init__(
        self, app: ASGIApp, requests_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.app, self.rate, self.burst, self.clock = app, requests_per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left, and when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not self._taken((scope.get("client") or ("", 0))[0]):
            answer = error_answer(
                429,
                "RequestError",
                f"too many requests; expected at most {self.rate:g} per second",
                {"Retry-After": "1"},
            )
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _taken(self, client: str) -> bool:
        """Whether the client had a token left, which is gone now."""
        now = self.clock()
        left, then = self._buckets.pop(client, (float(self.burst), now))
        left = min(self.burst, left + self.rate * (now - then))
        taken = left >= 1
        self._buckets[client] = (left - taken, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return taken
