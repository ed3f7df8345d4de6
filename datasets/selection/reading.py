"""Steps as `corpora.yaml` states them: `[{dedup: {kind: minhash}}, {judge: {scores: judged.csv, keep: 0.3}}]`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from ...core.reading.members import member_schema, read_member
from .registry import steps
from .step import Step

__all__ = ["Steps", "step_mapping"]

_MOST_STEPS = 32


def step_mapping(step: Step) -> dict[str, Any]:
    """A step as plain values, complete with defaults, from which an equal one is read.

    >>> from foretrain.datasets.selection.registry import steps
    >>> step_mapping(steps()["dedup"](kind="exact"))["dedup"]["kind"]
    'exact'
    """
    return {step.name: step.model_dump(mode="json")}


_OneStep = Annotated[
    Step,
    PlainValidator(read_member(Step, steps, "step")),
    PlainSerializer(step_mapping),
    WithJsonSchema(member_schema),
]

Steps = Annotated[tuple[_OneStep, ...], Field(max_length=_MOST_STEPS)]
"""Steps of a selection, in order."""
