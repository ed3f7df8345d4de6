"""What a step of a selection is: its settings, and which of the documents that reach it are kept."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self

import numpy as np
from pydantic import Field

from ...core.errors import CorpusError
from ...core.reading.fields import Frozen, Whole, whole_schema
from ...core.units import shown
from ..corpus.document import Document, Split

__all__ = ["Chosen", "Step", "Texts", "checked", "checked_facts"]


class Texts(Protocol):
    """The training documents of a domain that reach a step, in the domain's order: read anew each time, never held."""

    @property
    def sizes_bytes(self) -> np.ndarray:
        """The UTF-8 bytes of each `(n,)`."""
        ...

    @property
    def numbers(self) -> np.ndarray:
        """The number of each among all training documents of the domain, from 0, those that earlier steps left out
        included `(n,)`: files that have a row for every training document are read by it."""
        ...

    @property
    def total(self) -> int:
        """How many training documents the domain has, those that earlier steps left out included."""
        ...

    @property
    def scores(self) -> np.ndarray | None:
        """The scores that the last step before which `ranks` gave to each `(n,)`; None where there was no such step."""
        ...

    @property
    def folder(self) -> Path:
        """What paths in the settings start from."""
        ...

    @property
    def place(self) -> str:
        """File, line and key of the step, to begin a message with."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Document]: ...

    def everything(self) -> Iterator[tuple[Split, Document]]:
        """Yield every document of the domain that holds text with its side, `total` of them for training. It serves to
        tell which documents a file may speak of; nothing is chosen by the text of validation documents."""
        ...


@dataclass(frozen=True)
class Chosen:
    """What a step chose among n documents.

    `kept` says of each whether it is kept `(n,)`; `scores` are what that follows from `(n,)`, higher is better, NaN
    where a step needed none; `facts` are plain values for reports, such as how many groups of copies there were.
    """

    kept: np.ndarray
    scores: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)


class Step(Frozen):
    """One step: its fields are its settings in `corpora.yaml`. A member of the registry is a subclass in a file.

    `select` reads the documents as a stream, as often as it needs; it may hold some numbers of each document, never
    their text. Equal settings, documents and inputs give equal choices.
    """

    name: ClassVar[str] = ""

    ranks: ClassVar[bool] = True
    """Whether scores say which documents are better, for later steps to go by; those of copies or quotas don't."""

    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1), whole_schema(0, 2**32 - 1)] = Field(
        default=0, description="Seed of whatever the step draws at random."
    )

    @abstractmethod
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        """Choose among the documents. Raises CorpusError, beginning with `texts.place`, for what can't be done."""

    def inputs(self, folder: Path) -> list[Path]:
        """The files that the choice depends on beside the documents: scores, embeddings, labels. Default: none."""
        return []

    def of_domain(self, domain: str) -> Self:
        """Return the step for one domain: `{domain}` in a setting that is text, such as a path, is the domain's name.

        So one selection of several domains can have a file for each: `scores: "judged.{domain}.csv"`.
        """
        named = {}
        for key, value in self:
            if isinstance(value, str) and "{domain}" in value:
                named[key] = value.replace("{domain}", domain)
        return self.model_copy(update=named) if named else self


def checked(chosen: Any, texts: Texts) -> Chosen:
    """What a step, of another package perhaps, says that it chose. Raises CorpusError unless it is a choice."""
    if not isinstance(chosen, Chosen):
        raise CorpusError(f"{texts.place}: answers {shown(chosen)}; expected a Chosen")
    kept, scores = np.asarray(chosen.kept), np.asarray(chosen.scores)
    if kept.dtype != bool or kept.shape != (len(texts),):
        got = f"{kept.dtype} of shape {kept.shape}"
        raise CorpusError(f"{texts.place}: kept: got {got}; expected {len(texts)} of bool, one a document")
    if scores.dtype.kind not in "biuf" or scores.shape != (len(texts),):
        got = f"{scores.dtype} of shape {scores.shape}"
        raise CorpusError(f"{texts.place}: scores: got {got}; expected {len(texts)} numbers, one a document")
    return Chosen(kept, scores.astype(float), checked_facts(chosen.facts, texts.place))


def checked_facts(facts: Any, place: str) -> Mapping[str, Any]:
    """Facts that can be written as JSON. Raises CorpusError for others."""
    try:
        json.dumps(dict(facts), ensure_ascii=False, default=lambda value: value.tolist()).encode()
    except (AttributeError, TypeError, ValueError, RecursionError):
        raise CorpusError(f"{place}: facts: got {shown(facts)}; expected plain values by name, as JSON has") from None
    return facts
