"""Corpora that models are trained on and texts that their loss is measured on: of which kinds of text each consists.

They are in `facts/corpora.json`, whose head says what the figures mean and where they are from. A text may also be
stated as a composition: shares of corpora, kinds or evaluation sets, as a mapping or as `web:0.8+code:0.2`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Self

from pydantic import Field, StrictBool, field_validator, model_validator

from ...core.reading.fields import FieldError, Label, PositiveReal, Share
from ...core.units import shown
from .catalogue import Catalogue, Entry, folded, read_facts

__all__ = [
    "KINDS",
    "Corpus",
    "EvaluationSet",
    "composition_of",
    "composition_text",
    "corpora",
    "evaluation_sets",
    "find_corpus",
    "find_evaluation_set",
    "kinds_of",
    "nearest_corpora",
    "nearest_evaluation_sets",
    "sources",
]

KINDS: Mapping[str, str] = MappingProxyType(read_facts("corpora.json")["kinds"])
"""Kinds of text, and what is meant by each."""

_SHARE = re.compile(r"\s*(?P<name>.+?)\s*[: ]\s*(?P<share>[0-9]*\.?[0-9]+)\s*(?P<percent>%?)\s*")
_TOLERANCE = 0.01
_DIGITS = 6


class _Text(Entry):
    """What corpora and evaluation sets have in common."""

    kinds: dict[Label, Share] = Field(description="Share of each kind of text, by tokens; they sum to 1.")

    @field_validator("kinds")
    @classmethod
    def _of_known_kinds(cls, kinds: dict[str, float]) -> dict[str, float]:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"got {shown(unknown[0])}; expected {', '.join(KINDS)}")
        return kinds

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kinds and abs(math.fsum(self.kinds.values()) - 1) > 1e-9:
            raise FieldError("kinds", f"got {shown(self.kinds)}; expected shares that sum to 1")
        return self


class Corpus(_Text):
    """Text that models are trained on.

    >>> corpora()["starcoder"].kinds
    {'code': 0.96, 'social': 0.04}
    """

    owner: Label | None = Field(default=None, description="The one author who trains on it, if there is only one.")


class EvaluationSet(_Text):
    """Text that a loss is measured on; `own_mix` says that it is the run's own mix, which has no kinds of its own."""

    own_mix: StrictBool = Field(default=False, description="Whether it is the mix of the run itself.")
    held_out_of: Label | None = Field(default=None, description="The corpus whose held-out part it is.")
    same_text_as: Label | None = Field(
        default=None, description="Another evaluation set whose losses agree with this one's, per byte."
    )
    bytes_per_token: dict[Label, PositiveReal] = Field(
        default_factory=dict, description="Bytes per token by tokenizer, where its losses state or imply them."
    )

    @model_validator(mode="after")
    def _some_kinds(self) -> Self:
        if bool(self.kinds) == self.own_mix:
            raise FieldError("kinds", f"got {shown(self.kinds)}; expected kinds, or own_mix and none")
        return self


@cache
def corpora() -> Catalogue[Corpus]:
    """Every known corpus by its name, in the order of the file."""
    entries = read_facts("corpora.json")["corpora"].items()
    return Catalogue(Corpus.model_validate({"name": name, **entry}) for name, entry in entries)


@cache
def evaluation_sets() -> Catalogue[EvaluationSet]:
    """Every known evaluation set by its name, in the order of the file."""
    entries = read_facts("corpora.json")["evaluation_sets"].items()
    return Catalogue(EvaluationSet.model_validate({"name": name, **entry}) for name, entry in entries)


def find_corpus(name: str) -> Corpus | None:
    """The corpus of this name or alias, whatever its case, blanks and signs; None if it isn't known.

    >>> find_corpus("FineWeb-Edu").name
    'fineweb_edu'
    """
    return corpora().find(name)


def find_evaluation_set(name: str) -> EvaluationSet | None:
    """The evaluation set of this name or alias, whatever its case, blanks and signs; None if it isn't known.

    >>> find_evaluation_set("train loss").own_mix
    True
    """
    return evaluation_sets().find(name)


def nearest_corpora(name: str) -> list[str]:
    """Names of the corpora that one may have meant by this name, the likest first.

    >>> nearest_corpora("finewebb")[:2]
    ['fineweb', 'fineweb_2']
    """
    return corpora().nearest(name)


def nearest_evaluation_sets(name: str) -> list[str]:
    """Names of the evaluation sets that one may have meant by this name, the likest first."""
    return evaluation_sets().nearest(name)


def kinds_of(stated: str | Mapping[str, float], *, evaluation: bool = False) -> dict[str, float] | None:
    """Shares of the kinds of text, by tokens, of a corpus, a kind, an evaluation set, or a composition of them.

    Args:
        stated: A name, or shares by name: a mapping, or text as `composition_of` reads it.
        evaluation: Whether it names what a loss is measured on, so that evaluation sets come before corpora.

    Returns:
        Shares by kind, which sum to 1; None where a name is unknown, or means the run's own mix.

    >>> kinds_of({"web": 0.8, "starcoder": 0.2})
    {'web': 0.8, 'code': 0.192, 'social': 0.008}
    """
    if isinstance(stated, str):
        named = _kinds_named(stated, evaluation)
        if named is not None:
            return named
        parts = composition_of(stated)
        if parts is None:
            return None
        stated = parts
    total = math.fsum(stated.values())
    kinds: dict[str, float] = {}
    for name, share in stated.items():
        part = _kinds_named(name, evaluation)
        if part is None or not total > 0:
            return None
        for kind, within in part.items():
            kinds[kind] = round(kinds.get(kind, 0.0) + share / total * within, 12)
    return kinds


def composition_of(text: str) -> dict[str, float] | None:
    """Shares by name of a composition written as text; None for other text.

    Parts are separated by `+` or `,`; each is a name and its share, as a number or in per cent. Two parts or more,
    whose shares sum to 1 within 0.01, make a composition.

    >>> composition_of("dclm 92.6 %, starcoder 7.4 %")
    {'dclm': 0.926, 'starcoder': 0.074}
    >>> composition_of("web:0.8+code:0.2")
    {'web': 0.8, 'code': 0.2}
    """
    found = [_SHARE.fullmatch(part) for part in re.split(r"[+,]", text)]
    if len(found) < 2:
        return None
    parts: dict[str, float] = {}
    for part in found:
        if part is None or part["name"] in parts:
            return None
        parts[part["name"]] = round(float(part["share"]) / (100 if part["percent"] else 1), 12)
    return parts if abs(math.fsum(parts.values()) - 1) <= _TOLERANCE + 1e-9 else None


def composition_text(parts: Mapping[str, float]) -> str:
    """A composition as text that `composition_of` reads back: what a column of a run table holds. One part is its name.

    >>> composition_text({"web": 0.8, "code": 0.15, "wikipedia": 0.05})
    'web:0.8+code:0.15+wikipedia:0.05'
    """
    if len(parts) == 1:
        return next(iter(parts))
    return "+".join(f"{name}:{share:.{_DIGITS}g}" for name, share in parts.items())


def sources() -> Mapping[str, str]:
    """What the short names of sources stand for."""
    return MappingProxyType(read_facts("corpora.json")["sources"])


def _kinds_named(name: str, evaluation: bool) -> dict[str, float] | None:
    """Of a corpus, a kind or an evaluation set; None where the name is unknown or means the run's own mix."""
    places: list[Any] = [find_evaluation_set, find_corpus] if evaluation else [find_corpus, find_evaluation_set]
    for find in places:
        entry = find(name)
        if entry is not None:
            return dict(entry.kinds) or None
    return next(({kind: 1.0} for kind in KINDS if folded(kind) == folded(name)), None)
