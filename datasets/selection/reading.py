"""Steps as `corpora.yaml` states them: `[{dedup: {kind: minhash}}, {judge: {scores: judged.csv, keep: 0.3}}]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema

from ...core.errors import ConfigError
from ...core.reading.config_messages import first_problem
from ...core.units import shown
from .registry import steps
from .step import Step

__all__ = ["Steps", "step_mapping"]

_MOST_STEPS = 32


def _read(value: Any) -> Step:
    """One step: its name alone, or its name with its settings."""
    if isinstance(value, Step):
        return value
    if isinstance(value, str):
        value = {value: None}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ConfigError(f"got {shown(value)}; expected one step and its settings, such as {{dedup: {{kind: exact}}}}")
    ((name, settings),) = value.items()
    known = steps()
    if name not in known:
        raise ConfigError(f"got {shown(name)}; expected one of {', '.join(sorted(known))}")
    try:
        return known[name].model_validate({} if settings is None else settings)
    except ValidationError as error:
        raise first_problem(error, known[name], name) from None


def step_mapping(step: Step) -> dict[str, Any]:
    """A step as plain values, complete with defaults, from which an equal one is read.

    >>> from foretrain.datasets.selection.registry import steps
    >>> step_mapping(steps()["dedup"](kind="exact"))["dedup"]["kind"]
    'exact'
    """
    return {step.name: step.model_dump(mode="json")}


_OneStep = Annotated[
    Step,
    PlainValidator(_read),
    PlainSerializer(step_mapping),
    WithJsonSchema({"type": "object", "minProperties": 1, "maxProperties": 1}),
]

Steps = Annotated[tuple[_OneStep, ...], Field(max_length=_MOST_STEPS)]
"""Steps of a selection, in order."""
