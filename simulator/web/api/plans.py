"""Questions about plans: predict, compare, rank layouts."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from ....core.errors import InputError
from ...cluster.layout_choice import search_layouts
from ...forecast.compare import compare
from ...forecast.forecast import forecast
from ..answers import Answer
from ..reading import body_as
from ..state import state_of
from .document import ERRORS, gives, takes
from .requests import CompareRequest, LayoutsRequest, PredictRequest, read_plan

__all__ = ["router"]

router = APIRouter(tags=["plans"])


@router.post(
    "/predict",
    summary="Forecast a planned run",
    openapi_extra=takes(PredictRequest),
    responses={**gives("Forecast"), **ERRORS},
)
async def predict(request: Request, asked: Annotated[PredictRequest, Depends(body_as(PredictRequest))]) -> Answer:
    """Loss, perplexity, time, memory and cost with intervals, and what they rest on: `simulate predict --json`."""
    state = state_of(request)

    def found() -> Answer:
        run = read_plan(asked.plan)
        return Answer(forecast(run, state.offered.predictor(asked.predictor)).to_dict())

    return await state.computing.run(found)


@router.post(
    "/compare",
    summary="Compare planned runs with the first of them",
    openapi_extra=takes(CompareRequest),
    responses={**gives("Comparison"), **ERRORS},
)
async def compare_plans(request: Request, asked: Annotated[CompareRequest, Depends(body_as(CompareRequest))]) -> Answer:
    """Every plan's figures, its differences to the first plan's and the chance to be lower: `simulate compare --json`.

    What is unknown of all plans alike is no part of the differences.
    """
    state = state_of(request)
    most = state.settings.limits.plans
    if len(asked.plans) > most:
        raise InputError(f"request: plans: got {len(asked.plans)}; expected at most {most}")

    def found() -> Answer:
        runs = [read_plan(plan, f"plan {number}") for number, plan in enumerate(asked.plans, start=1)]
        return Answer(compare(runs, state.offered.predictor(asked.predictor)).to_dict())

    return await state.computing.run(found)


@router.post(
    "/cluster/search",
    summary="Rank a plan's parallel layouts",
    openapi_extra=takes(LayoutsRequest),
    responses={**gives("Layouts"), **ERRORS},
)
async def layouts(request: Request, asked: Annotated[LayoutsRequest, Depends(body_as(LayoutsRequest))]) -> Answer:
    """The fastest layouts that fit the accelerators, fastest first: `simulate cluster search --json`."""
    state = state_of(request)

    def found() -> Answer:
        start = time.perf_counter()
        _, rows = search_layouts(read_plan(asked.plan), top=asked.top)
        facts: dict[str, Any] = {"layouts": rows, "seconds": time.perf_counter() - start}
        return Answer(facts)

    return await state.computing.run(found)
