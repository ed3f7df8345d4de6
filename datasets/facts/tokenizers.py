"""Tokenizers by name: the size of their vocabulary, and how many bytes of each kind of text one token holds.

They are in `facts/tokenizers.json`, whose head says how the figures were counted or estimated. Bits per byte are nats
per token over ln 2 and bytes per token, so what is in doubt here is in doubt there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from ...core.reading.fields import Label, PositiveReal, Real, Whole
from .catalogue import Catalogue, Entry, read_facts

__all__ = [
    "Tokenizer",
    "bytes_per_token",
    "find_tokenizer",
    "nearest_tokenizers",
    "sources",
    "tokenizers",
]

# Shares of a mix are estimates: of published mixes a tenth of the spread between kinds, of guessed ones three tenths.
# Then the Pile's bytes per token are in doubt by 4 %, as is Llama 2's unpublished mix (3.5 or 3.75 by two readings).
_SHARES_DOUBT = 0.1
_GUESSED_SHARES_DOUBT = 0.3


class Tokenizer(Entry):
    """A tokenizer and its bytes per token by kind of text.

    >>> tokenizers()["llama3"].vocab_size
    128000
    """

    vocab_size: Annotated[Whole, Field(ge=1)] = Field(description="Tokens in the vocabulary, without padding.")
    bytes_per_token: dict[Label, PositiveReal] = Field(description="Bytes of text per token, by kind of text.")
    log_sd: Annotated[Real, Field(ge=0, le=1)] = Field(
        description="Doubt of their logarithm, one standard deviation; 0 where they are exact whatever the text."
    )


@cache
def tokenizers() -> Catalogue[Tokenizer]:
    """Every known tokenizer by its name, in the order of the file."""
    entries = read_facts("tokenizers.json")["tokenizers"].items()
    return Catalogue(Tokenizer.model_validate({"name": name, **entry}) for name, entry in entries)


def find_tokenizer(name: str) -> Tokenizer | None:
    """The tokenizer of this name or alias, whatever its case, blanks and signs; None if it isn't known.

    >>> find_tokenizer("GPT-NeoX").name
    'neox20b'
    """
    return tokenizers().find(name)


def nearest_tokenizers(name: str) -> list[str]:
    """Names of the tokenizers that one may have meant by this name, the likest first."""
    return tokenizers().nearest(name)


def bytes_per_token(
    tokenizer: Tokenizer, kinds: Mapping[str, float], *, guessed_shares: bool = False
) -> tuple[float, float]:
    """Bytes of a mix of kinds of text in one token, and how much its logarithm is in doubt.

    Args:
        tokenizer: The tokenizer.
        kinds: Shares of the kinds, by tokens, as `corpora.kinds_of` gives them. Tokens add, and so do bytes: the
            bytes per token of the mix are the mean of the kinds', each weighted by its share of the tokens.
        guessed_shares: Whether the shares are a guess, as of a corpus whose evidence is `guessed`.

    Returns:
        Bytes per token, and the standard deviation of its log: what is in doubt of the tokenizer, of texts of each
        kind, and of the shares, independently.

    >>> value, log_sd = bytes_per_token(tokenizers()["gpt2"], {"web": 0.9, "code": 0.1})
    >>> round(value, 2), round(log_sd, 3)
    (4.24, 0.038)
    """
    total = math.fsum(kinds.values())
    parts = {kind: (share / total, tokenizer.bytes_per_token[kind]) for kind, share in kinds.items()}
    value = math.fsum(share * part for share, part in parts.values())
    if not tokenizer.log_sd:  # bytes themselves, of whatever text
        return value, 0.0
    of_kinds = math.fsum((share * part / value * _kinds_log_sd()[kind]) ** 2 for kind, (share, part) in parts.items())
    spread = math.fsum(share * (part / value - 1) ** 2 for share, part in parts.values())
    of_shares = spread * (_GUESSED_SHARES_DOUBT if guessed_shares else _SHARES_DOUBT) ** 2
    return value, math.sqrt(tokenizer.log_sd**2 + of_kinds + of_shares)


def sources() -> Mapping[str, str]:
    """What the short names of sources stand for."""
    return MappingProxyType(read_facts("tokenizers.json")["sources"])


@cache
def _kinds_log_sd() -> Mapping[str, float]:
    """How the log of bytes per token differs between texts of a kind, one standard deviation."""
    return MappingProxyType(read_facts("tokenizers.json")["kinds_log_sd"])
