"""Searches for a better plan, which take minutes: started here, asked after, cancelled."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from ..answers import Answer
from ..jobs.search import checked_study, search_command, written
from ..offered import DEFAULT
from ..reading import body_as
from ..state import state_of
from .document import ERRORS, gives, takes
from .requests import OptimizeRequest

__all__ = ["router"]

router = APIRouter(tags=["jobs"])
_PREFIX = "/api/v1/jobs/"


@router.post(
    "/optimize",
    status_code=202,
    summary="Search for a better plan, in the background",
    openapi_extra=takes(OptimizeRequest),
    responses={**gives("Job", 202), **ERRORS},
)
async def optimize(request: Request, asked: Annotated[OptimizeRequest, Depends(body_as(OptimizeRequest))]) -> Answer:
    """Answers at once with the job, whose result will be what `simulate optimize --json` prints.

    Ask for it at `/api/v1/jobs/{id}`; a DELETE there cancels it.
    """
    state = state_of(request)
    limits = state.settings.limits
    stated = asked.study.get("predictor")
    name = asked.predictor or (stated if isinstance(stated, str) else DEFAULT)

    def checked() -> bytes:
        predictor = state.offered.predictor(name)
        return written(checked_study(asked.study, predictor, asked.trials, limits.trials, limits.job_s))

    study = await state.computing.run(checked)
    job = state.jobs.add("optimize", search_command(state.offered.place(name)), study)
    return Answer(job.to_dict(), 202, headers={"Location": f"{_PREFIX}{job.id}"})


@router.get("/jobs", summary="The jobs that are known", responses={**gives("Jobs"), **ERRORS})
async def jobs(request: Request) -> Answer:
    """Every job with its progress, without results, the newest last."""
    return Answer({"jobs": [{**job.to_dict(), "result": None} for job in state_of(request).jobs.all()]})


@router.get("/jobs/{job_id}", summary="How far a job is, and its result", responses={**gives("Job"), **ERRORS})
async def job(request: Request, job_id: str) -> Answer:
    """The job's state and progress; its result once it is done, or its error."""
    return Answer(state_of(request).jobs.find(job_id).to_dict())


@router.delete("/jobs/{job_id}", summary="Cancel a job", responses={**gives("Job"), **ERRORS})
async def cancel(request: Request, job_id: str) -> Answer:
    """Ends the job's process. A job that is over stays as it is."""
    found = state_of(request).jobs.find(job_id)
    await state_of(request).jobs.cancel(found)
    return Answer(found.to_dict())
