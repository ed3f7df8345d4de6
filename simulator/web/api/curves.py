"""Questions about the loss along a run: its curve before the first step, and a running job against its plan."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from ....core.errors import InputError
from ....core.units import shown
from ...config.run_config import RunConfig
from ...curve.forecasting import FINAL_SD, Run, choose_family, forecast_curve
from ...curve.law.transfer import Library
from ...curve.prefix import Z
from ...forecast.forecast import forecast
from ...predictor.predictor import Predictor
from ...tracking.relatives import prior_from
from ...tracking.track import predictor_for, track
from ..answers import Answer
from ..offered import Offered
from ..reading import body_as
from ..state import state_of
from .document import ERRORS, gives, takes
from .requests import CurveRequest, TrackRequest, check_steps, read_plan

__all__ = ["router"]

router = APIRouter(tags=["curves"])


@router.post(
    "/curve",
    summary="Forecast the loss at each step of a planned run",
    openapi_extra=takes(CurveRequest),
    responses={**gives("Curve"), **ERRORS},
)
async def curve(request: Request, asked: Annotated[CurveRequest, Depends(body_as(CurveRequest))]) -> Answer:
    """The loss curve with its interval, from a curve library or the public curves: `simulate curve predict --json`."""
    state = state_of(request)
    if asked.final_loss_nats is not None and asked.predictor is not None:
        raise InputError("request: predictor: is named beside final_loss_nats; expected only one of the two")

    def found() -> Answer:
        run, offered = read_plan(asked.plan), state.offered
        check_steps(run, state.settings.limits.steps)
        library = Library.public() if asked.curves is None else offered.library(asked.curves)
        planned = Run.of_config(library, run, family=choose_family(library, asked.family), size=asked.size)
        final = None if asked.final_loss_nats is None else (asked.final_loss_nats, FINAL_SD)
        if asked.predictor is not None:
            final = _final_loss(run, offered.predictor(asked.predictor))
        return Answer(forecast_curve(library, planned, final).to_dict())

    return await state.computing.run(found)


@router.post(
    "/track",
    summary="Hold a running job against its plan",
    openapi_extra=takes(TrackRequest),
    responses={**gives("Tracking"), **ERRORS},
)
async def track_log(request: Request, asked: Annotated[TrackRequest, Depends(body_as(TrackRequest))]) -> Answer:
    """Whether it is on track, where its loss will end, and when it is done: `simulate track --json`."""
    state = state_of(request)

    def found() -> Answer:
        run = read_plan(asked.plan)
        check_steps(run, state.settings.limits.steps)
        predictor = _predictor_for(run, state.offered, asked.predictor)
        shapes = None
        if asked.curves is not None:
            library = state.offered.library(asked.curves)
            shapes = prior_from(library, run, _family(library, asked.family))
        tracked = track(run, asked.log.encode(), predictor, shapes, metric=asked.metric, unit=asked.step_unit)
        return Answer(tracked.to_dict())

    return await state.computing.run(found)


def _predictor_for(run: RunConfig, offered: Offered, name: str | None) -> Predictor | None:
    return predictor_for(run, None) if name is None else offered.predictor(name)


def _family(library: Library, name: str | None) -> str:
    """The family that was named, or the library's only one."""
    known = list(library.sizes)
    if name in known or (name is None and len(known) == 1):
        return name or known[0]
    raise InputError(f"request: family: got {shown(name)}; expected one of {', '.join(known) or 'none'}")


def _final_loss(run: RunConfig, predictor: Predictor) -> tuple[float, float]:
    """Final loss in nats and the standard deviation of its logarithm, as a predictor forecasts them."""
    loss = forecast(run, predictor).headline.loss_nats
    low, high = loss.intervals[0.9]
    return loss.median, math.log(high / low) / (2 * Z[0.9])
