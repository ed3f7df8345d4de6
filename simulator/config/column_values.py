"""The section `columns` of a run configuration: values of registered columns that no other section states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from ...core.columns import Column
from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ...core.model.mixers.members.attention import ATTENTION
from ...core.reading.fields import FieldError
from ...core.units import parse_count, shown
from ...datasets.runs.columns import columns

__all__ = ["Cell", "check_architecture", "check_columns", "stated_columns"]


def stated_columns() -> dict[str, Column]:
    """The columns that this section may state, by name."""
    return {name: one for name, one in columns().items() if one.stated_at == "columns" or one.also_in_columns}


def _cell(value: Any) -> float | str:
    """A value of a cell as stated; ConfigError for what no cell holds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ConfigError(f"got {shown(value)}; expected a number or text")
    return value


Cell = Annotated[float | str, BeforeValidator(_cell, json_schema_input_type=float | str)]
"""What a plan may state of a column."""


def check_columns(stated: dict[str, float | str]) -> dict[str, float | str]:
    """The section with its numbers read ("8k" is 8000). FieldError for an unknown column, and for a wrong value."""
    known = stated_columns()
    found: dict[str, float | str] = {}
    for name, value in stated.items():
        if name not in known:
            raise FieldError(name, _unknown(name, known))
        found[name] = _read(known[name], value)
        problem = known[name].problem(found[name])
        if problem is not None:
            raise FieldError(name, problem)
    return found


def check_architecture(stated: Mapping[str, float | str], shape: Architecture) -> None:
    """FieldError where the section names a kind of model, and the shape another mixer than attention."""
    kind = stated.get("architecture")
    if kind is not None and shape.mixer != ATTENTION and kind != shape.kind:
        problem = f"got {shown(kind)}, but model.architecture.mixer is {shape.kind}; expected one of the two left out"
        raise FieldError("columns.architecture", problem)


def _read(column: Column, value: float | str) -> float | str:
    """A count written as text, such as 8k, as a number; anything else as it is."""
    return parse_count(value) if column.rule == "count" and isinstance(value, str) else value


def _unknown(name: str, known: dict[str, Column]) -> str:
    """What is wrong with a column that this section doesn't state."""
    column = columns().get(name)
    if column is not None and column.place is not None:
        return f"is stated elsewhere; expected {column.place}"
    return f"is no column that a plan may state here; expected one of {', '.join(sorted(known))}"
