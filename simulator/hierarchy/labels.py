"""Who trained on what, with which tokenizer, judged on which text: names as the model over tables reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from ...datasets.facts.corpora import evaluation_sets, find_corpus, find_evaluation_set, kinds_of
from ...datasets.facts.tokenizers import bytes_per_token, find_tokenizer

UNKNOWN = ""
"""The name of a corpus, an evaluation set or an author that nobody stated."""
_TYPICAL_TOKENIZER = "neox20b"
_UNKNOWN_TOKENIZER_SD = 0.10  # tokenizers of 32k to 128k tokens differ by that much per token of prose
_COUNTED_SD = 0.01  # bytes per token that were counted on text like that which the loss is measured on
_PLAIN_TEXT = {"web": 1.0}
_MOST_DESCRIBED = 256  # labels that are known at once
_OWN_MIX = "training:"  # before the corpora of a mix that no evaluation set is held out of


@dataclass(frozen=True)
class Labels:
    """What is known of a table beside its runs; names that nobody stated are `UNKNOWN`."""

    source: str
    corpus: Mapping[str, float]
    """Corpora that it was trained on, with their shares of the tokens."""
    evaluated_on: str
    kinds: Mapping[str, float]
    """Shares of the kinds of text that the loss is measured on."""
    bytes_per_token: float
    bytes_log_sd: float
    """Standard deviation of the log of bytes per token."""
    tokenizer: str = UNKNOWN

    @property
    def offset(self) -> float:
        """What is added to a level in bits per byte to have it in nats per token, both in logs."""
        return math.log(math.log(2.0) * self.bytes_per_token)

    def __hash__(self) -> int:
        return hash((self.key, self.tokenizer, self.bytes_per_token))

    @property
    def evaluation_text(self) -> str | None:
        """The text that the loss is measured on, for people; None where nobody stated it."""
        return "its own mix" if self.evaluated_on.startswith(_OWN_MIX) else self.evaluated_on or None

    @property
    def key(self) -> tuple[object, ...]:
        """What two tables of the same author must share to be one family."""
        return (self.source, tuple(sorted(self.corpus.items())), self.evaluated_on)

    def of_source(self, source: str) -> Labels:
        """The same for a table of this author."""
        return replace(self, source=source)


def describe(
    corpus: str | Mapping[str, float] | None = None,
    tokenizer: str | None = None,
    evaluated_on: str | None = None,
    *,
    bytes_per_token_stated: float | None = None,
    source: str = UNKNOWN,
) -> Labels:
    """Labels from names as people write them.

    Args:
        corpus: A corpus, or a composition by corpora or kinds of text; None where it isn't known.
        tokenizer: A tokenizer's name; None, or a name that isn't in the catalogue, where it isn't known.
        evaluated_on: An evaluation set; None for the training mix.
        bytes_per_token_stated: Bytes per token of the text that the loss is measured on, where they were counted.
        source: Who trained; runs of one author share a recipe.

    >>> describe("c4", "gpt2").evaluated_on, describe("The Pile", "gpt2", "c4").evaluated_on
    ('c4_en', 'c4_en')
    """
    named = corpus if corpus is None or isinstance(corpus, str) else tuple(corpus.items())
    return _described(named, tokenizer, evaluated_on, bytes_per_token_stated, source)


@lru_cache(maxsize=_MOST_DESCRIBED)
def _described(
    named: str | tuple[tuple[str, float], ...] | None,
    tokenizer: str | None,
    evaluated_on: str | None,
    bytes_per_token_stated: float | None,
    source: str,
) -> Labels:
    """What `describe` gives; a forecast asks for the same ones several times."""
    corpus = dict(named) if isinstance(named, tuple) else named
    trained_on = _composition(corpus)
    name, kinds = _evaluation(evaluated_on, corpus, trained_on)
    known = None if tokenizer is None else find_tokenizer(tokenizer)
    counted = bytes_per_token_stated
    if counted is None and known is not None and name in evaluation_sets():
        counted = evaluation_sets()[name].bytes_per_token.get(known.name)
    if counted is not None:
        value, log_sd = counted, _COUNTED_SD
    elif known is not None:
        value, log_sd = bytes_per_token(known, kinds)
    else:
        typical = find_tokenizer(_TYPICAL_TOKENIZER)
        assert typical is not None
        value, _ = bytes_per_token(typical, kinds)
        log_sd = _UNKNOWN_TOKENIZER_SD
    return Labels(
        source=source,
        corpus=trained_on,
        evaluated_on=_same_text(name),
        kinds=dict(kinds),
        bytes_per_token=value,
        bytes_log_sd=log_sd,
        tokenizer=known.name if known is not None else (tokenizer or UNKNOWN),
    )


def _same_text(name: str) -> str:
    """The evaluation set whose losses agree with this one's, per byte: itself, unless the catalogue says otherwise."""
    known = evaluation_sets().get(name)
    return name if known is None or known.same_text_as is None else known.same_text_as


def _composition(corpus: str | Mapping[str, float] | None) -> dict[str, float]:
    """The corpora by their names in the catalogue; a new name stands for itself."""
    if corpus is None:
        return {UNKNOWN: 1.0}
    if isinstance(corpus, str):
        corpus = {corpus: 1.0}
    named: dict[str, float] = {}
    for name, share in corpus.items():
        known = find_corpus(name)
        name = name.strip().casefold() if known is None else known.name
        named[name] = named.get(name, 0.0) + share
    total = math.fsum(named.values())
    return {name: share / total for name, share in named.items()}


def _evaluation(
    evaluated_on: str | None, corpus: str | Mapping[str, float] | None, trained_on: Mapping[str, float]
) -> tuple[str, dict[str, float]]:
    """The name of the text that the loss is measured on, and its kinds."""
    stated = None if evaluated_on is None else find_evaluation_set(evaluated_on)
    if stated is not None and not stated.own_mix:
        return stated.name, dict(stated.kinds)
    if evaluated_on is not None and stated is None:
        return evaluated_on.strip().casefold(), kinds_of(evaluated_on, evaluation=True) or dict(_PLAIN_TEXT)
    if corpus is None:
        return UNKNOWN, dict(_PLAIN_TEXT)
    kinds = kinds_of(corpus) or dict(_PLAIN_TEXT)
    if len(trained_on) == 1:
        (only,) = trained_on
        for name, text in evaluation_sets().items():
            if text.held_out_of == only:
                return name, kinds
    return _OWN_MIX + "+".join(f"{name}:{share:.4g}" for name, share in sorted(trained_on.items())), kinds
