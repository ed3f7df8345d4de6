"""Bytes of the evaluated text in one token: what turns nats per token into bits per byte, and how far it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ....datasets.facts.corpora import find_corpus, find_evaluation_set, kinds_of
from ....datasets.facts.tokenizers import bytes_per_token, find_tokenizer
from ..model_and_data import DataConfig
from .names import StatedTokenizer

__all__ = ["BytesPerToken", "by_tokenizer", "planned_bytes_per_token"]


class BytesPerToken(NamedTuple):
    """Bytes of text per token, and the standard deviation of its log: 0 where a plan states it."""

    value: float
    log_sd: float


def planned_bytes_per_token(data: DataConfig, evaluated_on: str | None = None) -> BytesPerToken | None:
    """Bytes per token of the text that a loss is measured on: as stated, or else as the tokenizer has them.

    Args:
        data: What a plan says of its data.
        evaluated_on: The text, by a name that the catalogue knows; by default what the plan evaluates on, which is
            its training mix unless it says otherwise.

    Returns:
        Bytes per token; None where the plan doesn't state them, and the tokenizer or the text isn't known.

    >>> data = DataConfig.model_validate({"tokens": "2T", "corpus": "fineweb", "tokenizer": "llama3"})
    >>> round(planned_bytes_per_token(data).value, 2)
    4.61
    """
    if data.bytes_per_token is not None:
        return BytesPerToken(data.bytes_per_token, 0.0)
    return by_tokenizer(data, evaluated_on)


def by_tokenizer(data: DataConfig, evaluated_on: str | None = None) -> BytesPerToken | None:
    """The same by the tokenizer alone, whatever `data.bytes_per_token` says."""
    if data.tokenizer is None:
        return None
    if isinstance(data.tokenizer, StatedTokenizer):
        return BytesPerToken(data.tokenizer.bytes_per_token, 0.0)
    tokenizer = find_tokenizer(data.tokenizer)
    kinds = _kinds(data, evaluated_on)
    if tokenizer is None or kinds is None:
        return None
    shares, guessed = kinds
    return BytesPerToken(*bytes_per_token(tokenizer, shares, guessed_shares=guessed))


def _kinds(data: DataConfig, evaluated_on: str | None) -> tuple[dict[str, float], bool] | None:
    """Kinds of the evaluated text, and whether their shares are guessed; None where it isn't known."""
    text: str | Mapping[str, float] | None = evaluated_on or data.evaluated_on
    evaluation = None if text is None else find_evaluation_set(text)
    if text is None or (evaluation is not None and evaluation.own_mix):
        text, evaluation = data.corpus or data.mix, None
        entry = find_corpus(text) if isinstance(text, str) else None
    else:
        entry = evaluation or find_corpus(text)
    kinds = None if text is None else kinds_of(text, evaluation=evaluation is not None)
    return None if kinds is None else (kinds, entry is not None and entry.evidence == "guessed")
