"""What one server holds while it runs; every route finds it by `state_of(request)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from .assets import Assets
from .computing import Computing
from .jobs.queue import Jobs
from .offered import Offered
from .settings import Settings
from .what_if.forecasts import Forecasts

__all__ = ["ServerState", "state_of"]


@dataclass(frozen=True)
class ServerState:
    """Settings, what requests may name, threads, background jobs, files of the page, and the last forecasts."""

    settings: Settings
    offered: Offered
    computing: Computing
    jobs: Jobs
    assets: Assets
    forecasts: Forecasts

    @classmethod
    def of(cls, settings: Settings) -> ServerState:
        """What a server with these settings holds. Errors as those of predictors and curve libraries."""
        limits = settings.limits
        return cls(
            settings,
            Offered(settings.predictors, settings.curves),
            Computing(limits.threads, limits.waiting, limits.compute_s, limits.answer_s),
            Jobs(limits.jobs_running, limits.jobs_waiting, limits.jobs_kept, limits.job_s),
            Assets(),
            Forecasts(),
        )


def state_of(connection: HTTPConnection) -> ServerState:
    """The state of the server that this request is to."""
    return cast(ServerState, connection.app.state.server)
