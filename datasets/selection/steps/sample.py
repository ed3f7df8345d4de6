"""Keep a random share of the documents: what every other selection of that share must beat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field
from typing_extensions import override

from ....core.reading.fields import PositiveShare
from ..quota import best
from ..registry import register_step
from ..step import Chosen, Step, Texts

__all__ = ["Sample"]


@register_step("sample")
class Sample(Step):
    """Keep documents at random, each as likely as the others."""

    ranks: ClassVar[bool] = False

    keep: PositiveShare = Field(default=0.5, description="Share of the bytes that is kept.")

    @override
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        scores = rng.random(len(texts))
        return Chosen(best(scores, texts.sizes_bytes, self.keep, rng), scores)
