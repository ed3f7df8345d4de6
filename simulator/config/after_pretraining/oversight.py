"""The section `oversight` of a plan: weaker overseers of a stronger model, by published laws alone."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from ....core.reading.fields import FieldError, Frozen, Label, Real, Whole, whole_schema
from ....core.reading.suggest import did_you_mean, nearest
from ....core.units import shown
from ....datasets.facts.after_pretraining.oversight import oversight_facts

__all__ = ["OversightConfig"]

_MOST_LEVELS = 100
_MOST_GAP = 10_000.0


class OversightConfig(Frozen):
    """Nested oversight: each level's overseer is trusted once it has been overseen by the one below.

    >>> OversightConfig(kind="debate", elo_gap=200, levels=2).levels
    2
    """

    kind: Label = Field(description="How it is done: debate, mafia, backdoor_code or wargames, as published.")
    elo_gap: Annotated[Real, Field(ge=0, le=_MOST_GAP)] = Field(
        description="Elo points by which the overseen model is stronger than the weakest overseer."
    )
    levels: Annotated[Whole, Field(ge=1, le=_MOST_LEVELS), whole_schema(1, _MOST_LEVELS)] | None = Field(
        default=None, description="Levels that share the gap evenly (default: the number most likely to succeed)."
    )
    allow_extrapolation: StrictBool = Field(
        default=False, description="Accept a gap beyond the published ones, with a wider interval."
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        known = oversight_facts().kinds
        if self.kind not in known:
            hint = did_you_mean(nearest(self.kind, known))
            raise FieldError("kind", f"got {shown(self.kind)}; {hint}expected one of {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _check_gap(self) -> Self:
        most = oversight_facts().most_elo_gap
        if self.elo_gap > most and not self.allow_extrapolation:
            raise FieldError(
                "elo_gap",
                f"got {self.elo_gap:g}; success is published up to a gap of {most:g}: expected at most that, or "
                "--allow-extrapolation (oversight.allow_extrapolation: true), which widens the interval",
            )
        return self
