"""`create_app`: the web server's application, its routes behind the guards that stand before all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.middleware import Middleware
from starlette.responses import Response

from ...core.version import __version__
from .answers import RefusedError, answer_errors
from .api import curves, facts, jobs, plans
from .api.document import describe
from .guards.access import TokenRequired
from .guards.bodies import BoundedBodies
from .guards.headers import SafeAnswers
from .guards.hosts import SameOrigin, TrustedHosts
from .guards.rates import RateLimit
from .settings import Settings
from .state import ServerState, state_of
from .what_if import router as what_if

__all__ = ["API", "create_app"]

API = "/api/v1"
"""Where the REST API is."""

_DESCRIPTION = (
    "Forecasts of LLM pretraining runs: what `simulate` answers on the command line, with the same keys. Losses are in "
    "nats per token; units are in the names of keys; a quantity is a median with central intervals."
)

_files = APIRouter(include_in_schema=False)


@_files.get("/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """A file of the page, or the libraries that draw its charts."""
    state = state_of(request)
    if name == state.assets.bundle:
        found = await state.computing.run(state.assets.make_bundle)
    else:
        found = state.assets.find(name)
    if found is None:
        raise RefusedError(404, "there is nothing here")
    return found.answer(request.headers)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application of a server.

    Args:
        settings: What it is started with; by default for this machine alone.

    Raises:
        PredictorError: A predictor or a curve library of the settings can't be loaded.
    """
    settings = settings or Settings()
    state = ServerState.of(settings)

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await state.jobs.close()
        state.computing.close()

    app = FastAPI(
        title="foretrain",
        version=__version__,
        summary="Simulate an LLM pretraining run before anyone pays for it.",
        description=_DESCRIPTION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=running,
        middleware=_guards(settings),
    )
    app.state.server = state
    answer_errors(app)
    for part in (plans, curves, jobs, facts):
        app.include_router(part.router, prefix=API)
    app.include_router(_files)
    app.include_router(what_if.router)
    _describe_once(app)
    return app


def _guards(settings: Settings) -> list[Middleware]:
    """What stands before the routes, the outermost first."""
    limits = settings.limits
    guards = [
        Middleware(SafeAnswers),
        Middleware(TrustedHosts, hosts=settings.hosts),
        Middleware(RateLimit, requests_per_s=limits.requests_per_s, burst=limits.burst),
        Middleware(BoundedBodies, most_bytes=limits.body_bytes, body_s=limits.body_s, answer_s=limits.answer_s),
        Middleware(SameOrigin),
    ]
    return [*guards, Middleware(TokenRequired, token=settings.token)] if settings.token is not None else guards


def _describe_once(app: FastAPI) -> None:
    """Make the OpenAPI document when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = document
