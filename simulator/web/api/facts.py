"""What the server knows: health, schema of a plan, predictors, accelerators, examples."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request

from ....core.reading.yaml_reader import loads_yaml
from ....core.version import __version__
from ....datasets.facts.accelerators import catalogue
from ...config.run_config import RunConfig
from ...forecast.offered import offered
from ..answers import Answer
from ..state import state_of
from .document import ERRORS, gives

__all__ = ["examples", "router"]

router = APIRouter(tags=["facts"])


@router.get("/health", summary="Whether the server answers", responses={**gives("Health"), **ERRORS})
async def health() -> Answer:
    """Needs no token."""
    return Answer({"status": "ok", "version": __version__})


@router.get("/schema", summary="JSON Schema of a plan", responses={**gives("Schema"), **ERRORS})
async def schema() -> Answer:
    """What `plan` holds, with descriptions, units and bounds: `simulate init --schema`."""
    return Answer(_schema())


@router.get("/predictors", summary="What forecasts can rest on", responses={**gives("Predictors"), **ERRORS})
async def predictors(request: Request) -> Answer:
    """`simulate predictors --json`, and under `own` the predictors that the server was started with."""
    state = state_of(request)
    found = await state.computing.run(_offered)
    return Answer({**found, "own": state.offered.own(), "curves": list(state.offered.curves)})


@router.get("/accelerators", summary="Accelerators that plans may name", responses={**gives("Accelerators"), **ERRORS})
async def accelerators() -> Answer:
    """Peaks, memory and links of each."""
    return Answer({"accelerators": [one.model_dump(mode="json") for one in catalogue().values()]})


@router.get("/examples", summary="Plans to start from", responses={**gives("Examples"), **ERRORS})
async def examples_shipped() -> Answer:
    """The example plans that ship, each as its YAML text and as the mapping that requests take."""
    return Answer({"examples": examples()})


def examples() -> list[dict[str, Any]]:
    """The example plans that ship: name, YAML text, and plan."""
    return [dict(one) for one in _examples()]


@cache
def _examples() -> tuple[dict[str, Any], ...]:
    found = []
    for file in sorted(resources.files("foretrain.examples").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            text = file.read_text(encoding="utf-8")
            plan = loads_yaml(text, file.name)
            if "model" in plan:
                found.append({"name": file.name.removesuffix(".yaml"), "yaml": text, "plan": plan})
    return tuple(found)


@cache
def _schema() -> dict[str, Any]:
    return RunConfig.json_schema()


@cache
def _offered() -> dict[str, Any]:
    return offered().to_dict()
