"""`embed`: a vector for each document that reaches a step, as a step's `embeddings` states it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from ....core.reading.fields import Label
from ..step import Texts
from . import given, hashed

__all__ = ["HASHED", "Embedded", "Embeddings", "embed", "embedding_files"]

HASHED = "hashed"

Embeddings = Annotated[
    Label,
    Field(
        description="Vectors of documents: hashed (made of their words), or a .npy with one row for each training "
        "document of the domain, in order."
    ),
]
"""The field of a step that says what its vectors are."""


@dataclass(frozen=True)
class Embedded:
    """Vectors of documents `(n, dimensions)`, float32, rows of length 1, or 0 where a document has no known word.

    `encode` makes vectors of other texts in the same way; None where they come from a file.
    """

    vectors: np.ndarray
    encode: Callable[[Sequence[str]], np.ndarray] | None


def embed(texts: Texts, embeddings: str, rng: np.random.Generator) -> Embedded:
    """Make or read the vectors of the documents that reach a step.

    Large arrays lie in a temporary file. Raises CorpusError for a file that doesn't fit the documents.
    """
    if embeddings == HASHED:
        encode = hashed.learn(texts, rng)
        return Embedded(hashed.all_vectors(texts, encode), encode)
    return Embedded(given.read(texts, embeddings), None)


def embedding_files(embeddings: str, folder: Path) -> list[Path]:
    """The files that `embed` reads beside the documents."""
    return [] if embeddings == HASHED else [folder / embeddings]
