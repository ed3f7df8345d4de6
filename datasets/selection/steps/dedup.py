"""Leave out copies of documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from ....core.reading.fields import FieldError, Real, Whole, whole_schema
from ..copies import exact, minhash, semantic
from ..embeddings.embed import HASHED, Embeddings, embed, embedding_files
from ..registry import register_step
from ..step import Chosen, Step, Texts

__all__ = ["Dedup"]

_THRESHOLDS = {"minhash": 0.7, "semantic": 0.9}


@register_step("dedup")
class Dedup(Step):
    """Keep the first of each group of copies.

    `exact` copies have the same text but for white space. Copies by `minhash` share most of their sequences of words.
    `semantic` copies have vectors that point the same way: one goes for the sake of one that stays.
    """

    ranks: ClassVar[bool] = False

    kind: Literal["exact", "minhash", "semantic"] = Field(
        default="exact",
        description="exact: equal but for white space. minhash: most sequences of words are shared. semantic: the "
        "vectors point the same way.",
    )
    threshold: Annotated[Real, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Least similarity of copies: shared part of all word sequences for minhash (default 0.7), cosine "
        "for semantic (0.9).",
    )
    words: Annotated[Whole, Field(ge=1, le=100), whole_schema(1, 100)] = Field(
        default=5, description="Words in a sequence, for minhash."
    )
    permutations: Annotated[Whole, Field(ge=16, le=1024), whole_schema(16, 1024)] = Field(
        default=128,
        description="Entries of a signature, for minhash: its standard error is half of 1/√entries at most.",
    )
    embeddings: Embeddings = HASHED

    @model_validator(mode="after")
    def _settings_go_with_kind(self) -> Self:
        of = {"threshold": ("minhash", "semantic"), "words": ("minhash",), "permutations": ("minhash",)}
        for key, kinds in {**of, "embeddings": ("semantic",)}.items():
            if self.kind not in kinds and getattr(self, key) != type(self).model_fields[key].default:
                raise FieldError(key, f"goes with {' or '.join(kinds)} only, not with {self.kind}")
        return self

    @override
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        if self.kind == "exact":
            kept = exact.firsts(texts)
            return Chosen(kept, kept.astype(float))
        threshold = self.threshold if self.threshold is not None else _THRESHOLDS[self.kind]
        if self.kind == "minhash":
            group = minhash.groups(minhash.signatures(texts, self.words, self.permutations, rng), threshold)
            kept = group == np.arange(len(group))
            sizes = np.bincount(group)
            facts = {"groups_of_copies": int((sizes > 1).sum()), "largest_group": int(sizes.max())}
            return Chosen(kept, kept.astype(float), facts)
        kept, cosine = semantic.closest_kept(embed(texts, self.embeddings, rng).vectors, threshold, rng)
        return Chosen(kept, 1 - cosine)

    @override
    def inputs(self, folder: Path) -> list[Path]:
        return embedding_files(self.embeddings, folder)
