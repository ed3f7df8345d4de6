"""The generator `ngram`: text drawn from an interpolated n-gram of bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import override

from ....core.progress import Progress
from ....core.reading.fields import Whole, whole_schema
from ...ngrams.witten_bell import MAX_ORDER, NGram, fit
from ..generator import FittedGenerator, Generator
from ..registry import register_generator

__all__ = ["FittedNGram", "NGramGenerator"]


class FittedNGram(FittedGenerator):
    """An n-gram that writes."""

    def __init__(self, model: NGram, digest: str, facts: Mapping[str, Any]) -> None:
        self.model, self.digest, self.facts = model, digest, facts

    @override
    def sample(self, documents: int, length_bytes: int, rng: np.random.Generator) -> list[bytes]:
        return self.model.sample(documents, length_bytes, rng)


@register_generator("ngram")
class NGramGenerator(Generator):
    """Draws each byte given those before it, by Witten and Bell's interpolated n-gram of what it read."""

    order: Annotated[Whole, Field(ge=1, le=MAX_ORDER), whole_schema(1, MAX_ORDER)] = Field(
        default=5, description="Bytes of the longest n-gram: each byte is drawn given up to order - 1 before it."
    )

    @override
    def fit(self, documents: Sequence[bytes], progress: Progress | None = None) -> FittedNGram:
        digest = hashlib.sha256(f"ngram {self.order}".encode())
        for document in documents:
            digest.update(hashlib.sha256(document).digest())
        model = fit(documents, self.order)
        facts = {"order": self.order, "ngrams": sum(len(table.keys) for table in model.tables)}
        return FittedNGram(model, digest.hexdigest(), facts)
