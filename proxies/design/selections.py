"""Selections of the text that a ladder is trained with: `selections: [none, {name: strict, select: [{judge: …}]}]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ...core.errors import ConfigError
from ...core.reading.fields import FieldError, Frozen, Label
from ...core.units import shown
from ...datasets.selection.kinds import kind_problem
from ...datasets.selection.named import NamedSelection
from ...datasets.selection.reading import Steps
from ...datasets.selection.step import Step

__all__ = ["NONE", "SelectionEntry", "Selections"]

NONE = "none"
"""The level of the column `selection` that stands for text as it is."""

_MOST = 64


class SelectionEntry(Frozen):
    """One entry of `selections`: a list of steps, and the name by which runs and plans know what they keep.

    Entries that keep different shares may have one name: they are one level of the column `selection`.
    """

    name: Label | None = Field(
        default=None, description="Kind of the selection in run tables and plans (default: its steps joined by +)."
    )
    select: Steps = Field(default=(), description="Steps that choose the training documents, as in corpora.yaml.")

    @property
    def kind(self) -> str:
        """The level of the column `selection`."""
        return self.name or "+".join(step.name for step in self.select)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name == NONE and self.select:
            raise FieldError("name", "got 'none', which is text as it is; expected another name")
        if (problem := kind_problem(self.kind)) is not None and self.select:
            raise FieldError("name", problem)
        if self.name != NONE and not self.select:
            raise FieldError(
                "select", "has no step; expected some such as [{dedup: {kind: minhash}}], or the word none"
            )
        return self

    def named(self, stated_at: Callable[[int, Step], str], domains: frozenset[str] | None) -> NamedSelection | None:
        """The selection for a token store; None for text as it is."""
        return NamedSelection(self.kind, self.select, stated_at, domains) if self.select else None


def _read(value: Any) -> Any:
    """Read the word `none` as an entry without steps."""
    if isinstance(value, str):
        if value != NONE:
            raise ConfigError(
                f"got {shown(value)}; expected none, or a selection such as {{select: [{{dedup: {{}}}}]}}"
            )
        return {"name": NONE}
    return value


def _distinct(entries: tuple[SelectionEntry, ...]) -> tuple[SelectionEntry, ...]:
    """Refuse an entry whose steps an earlier one has."""
    for place, entry in enumerate(entries):
        for earlier in range(place):
            if entries[earlier].select == entry.select:
                raise FieldError(
                    str(place), f"has the steps of entry {earlier} ({entries[earlier].kind}); leave it out"
                )
    return entries


_ENTRY_SCHEMA = {
    "anyOf": [
        {"const": NONE},
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "select": {"type": "array", "items": {"type": "object"}}},
            "additionalProperties": False,
        },
    ]
}

Selections = Annotated[
    tuple[Annotated[SelectionEntry, BeforeValidator(_read), WithJsonSchema(_ENTRY_SCHEMA)], ...],
    Field(max_length=_MOST),
    AfterValidator(_distinct),
]
"""Selections with different steps, in order."""
