"""Keep some of every kind of document: clusters of vectors are strata, each with a quota."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import override

from ....core.errors import ConfigError, CorpusError
from ....core.reading.fields import FieldError, PositiveShare, Whole, whole_schema
from ....core.units import shown
from ..embeddings.cells import cells, members
from ..embeddings.embed import HASHED, Embeddings, embed, embedding_files
from ..quota import best
from ..registry import register_step
from ..step import Chosen, Step, Texts

__all__ = ["Strata", "order_within"]

_MOST = 10_000


def _quotas(value: Any) -> str | tuple[float, ...]:
    """Read quotas: equal, proportional, or shares."""
    if isinstance(value, str) and value in ("equal", "proportional"):
        return value
    expected = "expected equal, proportional, or shares above 0 with a sum of 1, that of the largest stratum first"
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ConfigError(f"got {shown(value)}; {expected}")
    if not all(isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1 for share in value):
        raise ConfigError(f"got {shown(value)}; {expected}")
    if abs(sum(value) - 1) > 1e-6:
        raise ConfigError(f"got shares with a sum of {sum(value):g}; {expected}")
    return tuple(map(float, value))


Quotas = Annotated[
    Literal["equal", "proportional"] | tuple[float, ...],
    BeforeValidator(_quotas),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["equal", "proportional"]},
                {"type": "array", "minItems": 1, "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}},
            ]
        }
    ),
]


@register_step("strata")
class Strata(Step):
    """Keep a share of the bytes such that every stratum of documents gets its quota of what is kept.

    Within a stratum those documents come first that a step before scored best, at random where none did. What a
    stratum has too little of goes to the others, in proportion to their quotas.
    """

    ranks: ClassVar[bool] = False

    clusters: Annotated[Whole, Field(ge=1, le=_MOST), whole_schema(1, _MOST)] = Field(
        default=32, description="Clusters of vectors (k-means): the strata."
    )
    quotas: Quotas = Field(
        default="proportional",
        description="Shares of what is kept: proportional (as the text has them), equal, or a list with a sum of 1, "
        "one for each stratum, that of the largest (in bytes) first.",
    )
    keep: PositiveShare = Field(default=0.5, description="Share of the bytes that is kept.")
    embeddings: Embeddings = HASHED

    @model_validator(mode="after")
    def _a_share_for_each(self) -> Self:
        if not isinstance(self.quotas, str) and len(self.quotas) != self.clusters:
            raise FieldError("quotas", f"got {len(self.quotas)} shares; expected {self.clusters}, one for each cluster")
        return self

    @override
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        if self.clusters > len(texts):
            raise CorpusError(
                f"{texts.place}: clusters: got {self.clusters} for {len(texts)} documents; expected as many strata as "
                "documents at most"
            )
        labels = cells(embed(texts, self.embeddings, rng).vectors, self.clusters, rng)
        sizes, worth = texts.sizes_bytes, texts.scores
        strata = sorted(members(labels), key=lambda some: -int(sizes[some].sum()))
        stratum_bytes = np.array([sizes[some].sum() for some in strata], float)
        scores = np.empty(len(texts))
        for some, quota in zip(strata, self._shares(stratum_bytes), strict=True):
            of_stratum = None if worth is None else worth[some]
            scores[some] = -order_within(sizes[some], of_stratum, rng) / quota
        kept = best(scores, sizes, self.keep, rng)
        taken = np.array([sizes[some][kept[some]].sum() for some in strata], float)
        facts = {
            "strata": len(strata),
            "bytes_by_stratum": stratum_bytes.astype(int).tolist(),
            "bytes_kept_by_stratum": taken.astype(int).tolist(),
        }
        return Chosen(kept, scores, facts)

    @override
    def inputs(self, folder: Path) -> list[Path]:
        return embedding_files(self.embeddings, folder)

    def _shares(self, stratum_bytes: np.ndarray) -> np.ndarray:
        """The quota of each stratum `(strata,)`, which needn't have a sum of 1."""
        if self.quotas == "proportional":
            return stratum_bytes
        if self.quotas == "equal":
            return np.ones(len(stratum_bytes))
        return np.array(self.quotas[: len(stratum_bytes)])


def order_within(sizes_bytes: np.ndarray, worth: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Bytes of a stratum up to the middle of each document `(n,)`, best worth first, ties and unknown at random.

    Divided by the stratum's quota, they say in which order documents are taken: when every stratum has been filled to
    the same multiple of its quota, all quotas are met, and what has run out leaves the rest to others.

    >>> order_within(np.array([10, 20, 10]), np.array([0.1, 0.9, 0.5]), np.random.default_rng(0)).tolist()
    [35.0, 10.0, 25.0]
    """
    drawn = rng.random(len(sizes_bytes))
    order = np.lexsort((drawn,) if worth is None else (drawn, -worth))
    middles = np.empty(len(sizes_bytes))
    middles[order] = np.cumsum(sizes_bytes[order]) - sizes_bytes[order] / 2
    return middles
