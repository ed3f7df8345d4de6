"""The provenance of a text: its source and licence, and what wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from ...core.reading.fields import FieldError, Frozen, Label, Whole, whole_schema
from ...core.units import shown

__all__ = ["GeneratedBy", "Origin", "Provenance", "Sha256", "common"]

Origin = Literal["human", "generator", "unknown"]
"""What wrote a text. `unknown` is what nobody has said, as of most text that is found."""


def _sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"got {shown(text)}; expected a SHA-256: 64 hexadecimal digits")
    return text


Sha256 = Annotated[str, AfterValidator(_sha256), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"})]
"""A digest, as hexadecimal digits."""


class GeneratedBy(Frozen):
    """The generator that wrote a text, and what it had learned from."""

    kind: Label = Field(description="The generator, by its name, such as ngram or self.")
    digest: Sha256 = Field(description="SHA-256 of the fitted generator.")
    parent: Sha256 = Field(description="SHA-256 of the text that it was fitted to.")
    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1), whole_schema(0, 2**63 - 1)] = Field(
        description="Seed of the samples."
    )
    generation: Annotated[Whole, Field(ge=1, le=10_000), whole_schema(1, 10_000)] = Field(
        description="Generations of generators from real text on: 1 where it was fitted to real text."
    )


class Provenance(Frozen):
    """Where a text is from.

    >>> Provenance(source="wiki dump", licence="CC BY-SA 4.0", origin="human").origin
    'human'
    """

    source: Label | None = Field(default=None, description="Where it was taken from, such as the name of a data set.")
    licence: Label | None = Field(default=None, description="Its licence, such as CC BY-SA 4.0.")
    origin: Origin = Field(default="unknown", description="What wrote it: human, generator or unknown.")
    generator: GeneratedBy | None = Field(default=None, description="Which generator, where one wrote it.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.generator is not None and self.origin != "generator":
            raise FieldError("origin", f"got {self.origin} beside a generator; expected generator")
        return self


def common(of: Iterable[Provenance]) -> Provenance:
    """What all of these say alike; the rest is unknown.

    >>> wiki = Provenance(source="wiki dump", licence="CC BY-SA 4.0", origin="human")
    >>> common([wiki, wiki.model_copy(update={"source": "news"})])
    Provenance(source=None, licence='CC BY-SA 4.0', origin='human', generator=None)
    """
    first, *others = of
    alike = {name: value for name, value in first if all(getattr(other, name) == value for other in others) and value}
    return Provenance(**alike)
