"""How large a body may be and how long it may take, counted as it comes in, whatever its headers say of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..answers import RefusedError, of_error

__all__ = ["BoundedBodies"]

_READ_ON = 8  # times the largest body: who sends more is cut off, who sends less is told why
_CLOSE = {"Connection": "close"}  # nothing more of such a request is read


class BoundedBodies:
    """Refuses bodies that are too large or too slow, and gives up on clients that don't read their answer."""

    def __init__(self, app: ASGIApp, most_bytes: int, body_s: float, answer_s: float) -> None:
        self.app, self.most_bytes, self.body_s, self.answer_s = app, most_bytes, body_s, answer_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ends, taken, whole = asyncio.get_running_loop().time() + self.body_s, 0, False
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdecimal() or len(stated) > 15 or int(stated) > self.most_bytes:
            await self._read_on(receive, ends)
            await of_error(self._too_large())(scope, receive, send)
            return

        async def receive_bounded() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()  # which waits for the client to leave
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(
                    408, f"the body didn't come in; expected it within {self.body_s:g} s", _CLOSE
                ) from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > self.most_bytes:
                if not whole:
                    await self._read_on(receive, ends)
                raise self._too_large()
            return message

        async def send_bounded(message: Message) -> None:
            async with asyncio.timeout(self.answer_s):
                await send(message)

        await self.app(scope, receive_bounded, send_bounded)

    async def _read_on(self, receive: Receive, ends: float) -> None:
        """Take the rest and forget it: a client that is still sending doesn't read its answer."""
        left = _READ_ON * self.most_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the body is too large; expected at most {self.most_bytes} bytes", _CLOSE)
