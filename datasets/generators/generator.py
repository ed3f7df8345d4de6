"""What a generator of synthetic text is: its settings, fitted to text, then asked for as much as is wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from ...core.progress import Progress
from ...core.reading.fields import Frozen, Whole, whole_schema

__all__ = ["FittedGenerator", "Generator"]


class FittedGenerator(ABC):
    """A generator that has seen its text.

    `digest` is the SHA-256 (hex) of what it became: settings, text and seed, or weights; equal digests write equal
    text from equal random numbers. `facts` are plain values for reports: parameters, steps, KL per byte.
    """

    digest: str
    facts: Mapping[str, Any]
    longest_bytes: int | None = None
    """Bytes of the longest document that it can write, such as its context; None where there is no limit."""

    @abstractmethod
    def sample(self, documents: int, length_bytes: int, rng: np.random.Generator) -> list[bytes]:
        """Write so many documents of so many bytes each. A tail may be shorter where a document ended by itself.

        Raises UsageError for lengths that it can't write: less than a byte, or more than `longest_bytes`.
        """


class Generator(Frozen):
    """The settings of a generator: its fields. A member of the registry is a subclass in a file of its own.

    Text is bytes, since a generator may break a character of several.
    """

    name: ClassVar[str] = ""

    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1), whole_schema(0, 2**32 - 1)] = Field(
        default=0, description="Seed of whatever fitting draws at random."
    )

    @abstractmethod
    def fit(self, documents: Sequence[bytes], progress: Progress | None = None) -> FittedGenerator:
        """Learn from documents. Equal settings and documents give an equal generator.

        Raises UsageError for text from which it can't learn, such as none.
        """
