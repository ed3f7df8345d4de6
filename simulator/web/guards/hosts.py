"""Requests that came here by a name that isn't the server's own, or from a page of somebody else, are refused."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..answers import error_answer

__all__ = ["SameOrigin", "TrustedHosts"]

_READING = ("GET", "HEAD", "OPTIONS", "TRACE")
_FORM = "/login"


class TrustedHosts:
    """Refuses names that the server wasn't started with: else a foreign name could be pointed at it (rebinding)."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            stated = Headers(scope=scope).getlist("host")
            if len(stated) != 1 or _name(stated[0]) not in self.hosts:
                answer = error_answer(
                    421, "RequestError", "Host: isn't a name of this server; expected one given by --allow-host"
                )
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


class SameOrigin:
    """Refuses what changes or computes something if a page of another origin asks for it, or no JSON is sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] not in _READING:
            headers = Headers(scope=scope)
            refused = _refused(headers, form=scope["path"] == _FORM, empty=scope["method"] == "DELETE")
            if refused is not None:
                await error_answer(refused[0], "RequestError", refused[1])(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _refused(headers: Headers, *, form: bool, empty: bool) -> tuple[int, str] | None:
    """Status and message of what is wrong with a request that does something; None for nothing."""
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is not None and origin.partition("://")[2].casefold() != host.casefold():
        return 403, "Origin: is another site; expected requests from the server's own page"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return 403, "Sec-Fetch-Site: is another site; expected requests from the server's own page"
    if headers.get("content-encoding", "identity").casefold() != "identity":
        return 415, "Content-Encoding: isn't read; expected a body as it is"
    kind = headers.get("content-type", "").partition(";")[0].strip().casefold()
    expected = "application/x-www-form-urlencoded" if form else "application/json"
    if kind != expected and not (empty and not kind):
        return 415, f"Content-Type: expected {expected}"
    return None


def _name(host: str) -> str:
    """A host without its port, `[::1]:80` without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].casefold()
    return host.partition(":")[0].rstrip(".").casefold()
