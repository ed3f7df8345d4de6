"""Keep documents where few others are: the more crowded a document's place, the rarer it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field
from typing_extensions import override

from ....core.errors import ConfigError, CorpusError
from ....core.reading.fields import PositiveShare
from ....core.units import shown
from ..density import bandwidth as bandwidths
from ..density.kernel_sums import kernel_sums
from ..embeddings.embed import HASHED, Embeddings, embed, embedding_files
from ..quota import best
from ..registry import register_step
from ..step import Chosen, Step, Texts

__all__ = ["Density"]


_WIDEST = 10.0


def _bandwidth(value: Any) -> str | float:
    """Read a bandwidth: auto, or a number."""
    if value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _WIDEST:
        raise ConfigError(f"got {shown(value)}; expected auto, or a number above 0 and at most {_WIDEST:g}")
    return float(value)


Bandwidth = Annotated[Literal["auto"] | Annotated[float, Field(gt=0, le=_WIDEST)], BeforeValidator(_bandwidth)]


@register_step("density")
class Density(Step):
    """Inverse propensity sampling (Sachdeva et al. 2024, arXiv 2402.09668): documents are drawn without
    putting back, each with a chance proportional to 1 / density, until a share of the bytes is kept.

    The density is the sum of a Gaussian kernel over all documents. Its bandwidth decides: one that is too wide or too
    narrow leaves copies where they are.
    """

    ranks: ClassVar[bool] = False

    keep: PositiveShare = Field(default=0.5, description="Share of the bytes that is kept.")
    bandwidth: Bandwidth = Field(
        default="auto",
        description="Of the kernel, a distance between vectors of length 1; auto chooses it on copies that it makes of "
        "some documents.",
    )
    embeddings: Embeddings = HASHED

    @override
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        embedded = embed(texts, self.embeddings, rng)
        if len(texts) > 1 and (embedded.vectors == embedded.vectors[0]).all():
            found = f"the vectors of all {len(texts)} documents are equal"
            raise CorpusError(f"{texts.place}: embeddings: {found}; expected some that differ")
        facts = {}
        if self.bandwidth == "auto":
            bandwidth, told = bandwidths.choose(texts, embedded.vectors, embedded.encode, self.keep, rng)
            facts["made_copies_kept_relative"] = told
        else:
            bandwidth = self.bandwidth
        propensity = 1 / kernel_sums(embedded.vectors, bandwidth, rng)
        # the highest log weight + Gumbel noise: drawn by weight, none put back (Efraimidis & Spirakis 2006)
        kept = best(np.log(propensity) + rng.gumbel(size=len(propensity)), texts.sizes_bytes, self.keep, rng)
        return Chosen(kept, propensity, {"bandwidth": bandwidth, **facts})

    @override
    def inputs(self, folder: Path) -> list[Path]:
        return embedding_files(self.embeddings, folder)
