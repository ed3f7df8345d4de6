"""Leave out copies of documents."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from ..registry import register_step
from ..step import Chosen, Step, Texts

__all__ = ["Dedup"]


@register_step("dedup")
class Dedup(Step):
    """Keep the first of each group of copies."""

    ranks: ClassVar[bool] = False

    kind: Literal["exact"] = Field(default="exact", description="exact: equal but for white space.")

    @override
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        seen: set[bytes] = set()
        kept = np.zeros(len(texts), bool)
        for number, document in enumerate(texts):
            kept[number] = document.digest not in seen
            seen.add(document.digest)
        return Chosen(kept, kept.astype(float))
