"""How a plan names its text and its tokenizer: by a name, known or new, or in full.

A corpus is a name of the catalogue (`datasets.facts.corpora`), another name, or a composition: shares of corpora and
kinds of text. A tokenizer is a name (`datasets.facts.tokenizers`), or the size of its vocabulary and bytes per token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from ....core.errors import ConfigError
from ....core.reading.fields import Frozen, Label, PositiveReal, Share, Whole, whole_schema
from ....core.reading.suggest import did_you_mean
from ....core.units import format_count, shown
from ....datasets.facts.corpora import KINDS, composition_text, kinds_of, nearest_corpora

__all__ = ["SHARES_TOLERANCE", "CorpusName", "StatedTokenizer", "TokenizerName", "corpus_text", "tokenizer_text"]

SHARES_TOLERANCE = 0.01
"""By how much shares of a whole may miss 1, as rounded ones do."""

_MOST_PARTS = 100


class StatedTokenizer(Frozen):
    """A tokenizer that the catalogue needn't know."""

    vocab_size: Annotated[Whole, Field(ge=1, le=10**9), whole_schema(1, 10**9)] = Field(
        description="Tokens in the vocabulary."
    )
    bytes_per_token: Annotated[PositiveReal, Field(ge=0.01, le=1000)] = Field(
        description="Bytes of text per token of the evaluated text, for bits per byte."
    )


def _form(value: Any) -> Literal["[name]", "[mapping]"]:
    """Which member of a union is meant; messages leave these tags out."""
    return "[mapping]" if isinstance(value, Mapping | Frozen) else "[name]"


def _composition(parts: dict[str, float]) -> dict[str, float]:
    """Shares that sum to 1 exactly, of names that are known. Raises `ConfigError`."""
    if not 1 <= len(parts) <= _MOST_PARTS:
        raise ConfigError(f"got {len(parts)} parts; expected 1 to {_MOST_PARTS}")
    for name in parts:
        if kinds_of(name) is None:
            near = did_you_mean(nearest_corpora(name))
            raise ConfigError(
                f"got the part {shown(name)}, which no catalogue knows; {near}expected names of corpora, "
                f"or kinds of text: {', '.join(KINDS)}"
            )
    total = math.fsum(parts.values())
    # The slack keeps 1.01, whose float is a trifle more, on the right side.
    if abs(total - 1) > SHARES_TOLERANCE + 1e-9:
        raise ConfigError(f"got {shown(parts)}, which sums to {total:.6g}; expected shares that sum to 1 within 0.01")
    # A sum that is 1 but for rounding is left alone, so that writing and reading back changes no bit.
    return parts if abs(total - 1) < 1e-12 else {name: share / total for name, share in parts.items()}


_Composition = Annotated[dict[Label, Share], AfterValidator(_composition)]

CorpusName = Annotated[
    Annotated[Label, Tag("[name]")] | Annotated[_Composition, Tag("[mapping]")], Discriminator(_form)
]
"""A name, or a composition: share by name of corpora and kinds of text."""

TokenizerName = Annotated[
    Annotated[Label, Tag("[name]")] | Annotated[StatedTokenizer, Tag("[mapping]")], Discriminator(_form)
]
"""A name, or vocabulary and bytes per token."""


def corpus_text(corpus: str | Mapping[str, float] | None) -> str | None:
    """A corpus in one line: its name, or its composition as `web:0.8+code:0.2`."""
    return corpus if corpus is None or isinstance(corpus, str) else composition_text(corpus)


def tokenizer_text(tokenizer: str | StatedTokenizer | None) -> str | None:
    """A tokenizer in one line: its name, or what is stated of it."""
    if tokenizer is None or isinstance(tokenizer, str):
        return tokenizer
    return f"{format_count(tokenizer.vocab_size)} tokens of {tokenizer.bytes_per_token:g} bytes"
