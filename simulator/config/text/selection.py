"""The section `data.selection` of a run: how its documents were selected, how strictly, and what judged them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ....core.reading.fields import FieldError, Frozen, Label, PositiveCount, PositiveShare
from ....datasets.selection.kinds import NOT_SELECTED, kind_problem, steps_of_kind

__all__ = ["NOT_SELECTED", "JudgeConfig", "SelectionConfig"]


class JudgeConfig(Frozen):
    """The model that scored the documents; its inference is part of what a run costs."""

    params: PositiveCount | None = Field(
        default=None, description="Parameters of the judge, such as 3B (default: those of the published judge)."
    )
    efficiency: PositiveShare | None = Field(
        default=None, description="Share of the accelerators' peak that its inference reaches (default: 0.34)."
    )


class SelectionConfig(Frozen):
    """How the documents were selected. A kind of several steps is their names joined by `+`: `dedup+judge+strata`.

    >>> SelectionConfig(kind="dedup+judge", keep=0.3).steps
    ('dedup', 'judge')
    """

    kind: Label = Field(
        description="Kind of selection, as runs and laws know it: steps joined by +, such as dedup+judge; none for "
        "text as it is."
    )
    keep: PositiveShare = Field(
        default=1.0, description="Share of the text that is kept, above 0 and at most 1; stocks shrink by it."
    )
    judge: JudgeConfig | None = Field(
        default=None, description="What scored the documents, where that costs something worth naming."
    )

    @model_validator(mode="after")
    def _check_none(self) -> Self:
        if self.kind != NOT_SELECTED:
            return self
        if self.keep != 1.0:
            raise FieldError(
                "keep", f"got {self.keep:g} of text that is taken as it is; expected 1, or a kind other than none"
            )
        if self.judge is not None:
            raise FieldError("judge", "is given for text that is taken as it is; expected a kind other than none")
        return self

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (problem := kind_problem(self.kind)) is not None:
            raise FieldError("kind", problem)
        return self

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of its steps, in order."""
        return steps_of_kind(self.kind)
