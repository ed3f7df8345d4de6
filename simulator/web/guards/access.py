"""Who may ask: with a token, only who shows it, as a bearer or by the cookie that the login form sets."""

from __future__ import annotations

import hmac
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..answers import RefusedError, error_answer, of_error

__all__ = ["HEALTH", "TokenRequired"]

HEALTH = "/api/v1/health"
"""What answers without a token, so that whoever watches over servers needs none."""
_LOGIN = "/login"
_COOKIE = "foretrain"
_LIFE_S = 30 * 86_400
_FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>foretrain: token</title>
<h1>This server asks for its token</h1>
<p>It was printed where <code>simulate serve</code> was started.</p>
<form method="post" action="/login">
<label>Token <input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Open</button>
</form>
</html>
"""


class TokenRequired:
    """Refuses whoever doesn't show the token.

    A program shows it as `Authorization: Bearer …`. A browser gets a cookie, which no script can read and no other
    site can have sent, from the form at `/login`, or by opening an address with `?token=…` once.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()
        # the cookie lets in, but doesn't tell the token
        self.session = hmac.digest(self.token, b"foretrain session", sha256).hex()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] == HEALTH:
            await self.app(scope, receive, send)
            return
        answer = await self._refused(Request(scope, receive))
        await (answer or self.app)(scope, receive, send)

    async def _refused(self, request: Request) -> Response | None:
        """What is answered instead; None where the request may go on."""
        if request.scope["path"] == _LOGIN and request.method == "POST":
            return await self._login(request)
        if self._shown(request.headers):
            return None
        given = request.query_params.get("token")
        if request.method == "GET" and given is not None and self._right(given):
            rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
            # of this very server: a path that begins with // would be another one
            path = "/" + request.url.path.lstrip("/\\")
            return self._let_in(path + (f"?{urlencode(rest)}" if rest else ""))
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(_FORM, 401)
        return error_answer(
            401,
            "RequestError",
            "the token is missing or wrong; expected the header Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    async def _login(self, request: Request) -> Response:
        try:
            form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
        except RefusedError as error:
            return of_error(error)
        except ValueError:
            form = {}
        right = self._right(form.get("token", [""])[0])
        return self._let_in("/") if right else HTMLResponse(_FORM, 401)

    def _let_in(self, to: str) -> Response:
        answer = RedirectResponse(to, 303)
        answer.set_cookie(_COOKIE, self.session, max_age=_LIFE_S, httponly=True, samesite="strict", path="/")
        return answer

    def _shown(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and self._right(given.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.session.encode())

    def _right(self, given: str) -> bool:
        """Whether this is the token; it takes as long to tell whatever is given."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token)
