"""Keep the documents that are neither too easy nor too hard to foretell: a band of nats per byte, cut at both ends.

Boilerplate and near-copies are the easiest text there is, broken text the hardest; a filter that keeps the lowest
perplexity keeps the former. Marion et al. 2023, "When Less is More: Investigating Data Pruning for Pretraining LLMs at
Scale" (2309.04564), find the middle of the distribution the best part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from ....core.errors import CorpusError
from ....core.reading.fields import FieldError, Label, PositiveCount, PositiveShare, Share, Whole, whole_schema
from ....core.units import shown
from ...corpus.text_files import find_files
from ...corpus.text_readers import read_texts
from ...ngrams.witten_bell import MAX_ORDER, NGram, fit
from ..quota import best
from ..registry import register_step
from ..scores import check_scores, read_scores
from ..step import Chosen, Step, Texts

__all__ = ["Perplexity"]

_BATCH_BYTES = 1 << 21


@register_step("perplexity")
class Perplexity(Step):
    """Keep the documents whose nats per byte lie in the middle, or in a band that is stated.

    They are those of an n-gram of bytes, fitted on reference text, or else on a random sample of the documents: on one
    half of them to score the other, so that no document is scored by a model that has seen it. Or a file has them from
    a better model, such as a trained proxy.
    """

    keep: PositiveShare | None = Field(
        default=None, description="Share of the bytes that is kept, from the middle; 0.7 unless band is given."
    )
    band: tuple[Share, Share] | None = Field(
        default=None,
        description="Instead of keep: the lowest and highest share of the bytes, ordered by nats per byte, between "
        "which documents are kept, such as [0.1, 0.9].",
    )
    scores: Label | None = Field(
        default=None,
        description="File with the nats per byte of each document under a model of one's own, in a column "
        "`nats_per_byte`, relative to the corpora file; by default an n-gram scores.",
    )
    reference: Label | None = Field(
        default=None,
        description="File, folder or glob of text that the n-gram is fitted on, relative to the corpora file; records "
        "hold it under `text`. By default a sample of the documents.",
    )
    order: Annotated[Whole, Field(ge=1, le=MAX_ORDER), whole_schema(1, MAX_ORDER)] = Field(
        default=5, description=f"Bytes of the longest n-gram, 1 to {MAX_ORDER}."
    )
    fit_bytes: PositiveCount = Field(
        default=4e6, description="Bytes of text that an n-gram is fitted on at most, such as 4M."
    )

    @model_validator(mode="after")
    def _one_band(self) -> Self:
        if self.band is not None:
            if self.keep is not None:
                raise FieldError("band", "comes beside keep; expected one of the two")
            if self.band[0] >= self.band[1]:
                raise FieldError("band", f"got {shown(list(self.band))}; expected a lower share and a higher one")
        for key in ("reference", "order", "fit_bytes"):
            if self.scores is not None and getattr(self, key) != type(self).model_fields[key].default:
                raise FieldError(key, "goes with an n-gram, not with scores; expected one of the two")
        return self

    @override
    def inputs(self, folder: Path) -> list[Path]:
        if self.scores is not None:
            return [folder / self.scores]
        if self.reference is not None:
            return [file.path for file in find_files(folder, self.reference, "perplexity.reference")]
        return []

    @override
    def select(self, texts: Texts, rng: np.random.Generator) -> Chosen:
        if self.scores is not None:
            nats = read_scores(texts.folder / self.scores, texts, "nats_per_byte")
        else:
            nats = self._by_halves(texts, rng) if self.reference is None else self._by_reference(texts, self.reference)
            check_scores(nats, texts, "nats per byte")
        low, high = self._band()
        places = _places(nats, texts.sizes_bytes, rng)
        scores = -np.abs(places - (low + high) / 2)
        kept = best(scores, texts.sizes_bytes, high - low, rng)
        facts = {"nats_per_byte": {"lowest": float(nats[kept].min()), "highest": float(nats[kept].max())}}
        return Chosen(kept, scores, facts)

    def _band(self) -> tuple[float, float]:
        if self.band is not None:
            return self.band
        keep = 0.7 if self.keep is None else self.keep
        return (1 - keep) / 2, (1 + keep) / 2

    def _by_reference(self, texts: Texts, reference: str) -> np.ndarray:
        """Nats per byte of each document under a model of the reference text `(n,)`."""
        place = f"{texts.place}.reference"
        sample = _Sample(self.fit_bytes)
        for file in find_files(texts.folder, reference, place):
            for text in read_texts(file, "text"):
                sample.add(text.text)
        if not any(sample.parts):
            raise CorpusError(f"{place}: got {shown(reference)}; holds no text to fit an n-gram on")
        return fit(sample.parts, self.order).nats_per_byte(document.text for document in texts)

    def _by_halves(self, texts: Texts, rng: np.random.Generator) -> np.ndarray:
        """Nats per byte of each document under a model of a sample of the half that it isn't in `(n,)`."""
        count = len(texts)
        if count < 2:
            raise CorpusError(f"{texts.place}: one document reaches it; expected two at least, or a reference")
        halves = rng.permutation(count) % 2
        sampled = rng.random(count) < 2 * self.fit_bytes / texts.sizes_bytes.sum()
        for half in (0, 1):
            sampled[np.flatnonzero(halves == half)[0]] = True  # a short sample may miss all of a few documents
        samples = _Sample(self.fit_bytes), _Sample(self.fit_bytes)
        for number, document in enumerate(texts):
            if sampled[number]:
                samples[halves[number]].add(document.text)
        return _of_other_half(texts, halves, [fit(sample.parts, self.order) for sample in samples])


class _Sample:
    """Text up to a number of bytes."""

    def __init__(self, most_bytes: float) -> None:
        self.parts: list[bytes] = []
        self._left = math.ceil(most_bytes)

    def add(self, text: str) -> None:
        """Add a text, cut off at what is left; nothing once it is full."""
        if self._left > 0:
            self.parts.append(text.encode()[: self._left])
            self._left -= len(self.parts[-1])


def _of_other_half(texts: Texts, halves: np.ndarray, models: Sequence[NGram]) -> np.ndarray:
    """Nats per byte of each document under the model of the half that it isn't in `(n,)`; `halves: (n,)`, 0 or 1."""
    nats = np.empty(len(halves))
    for batch in _batches(texts):
        for half in (0, 1):
            numbers = [number for number in batch if halves[number] == half]
            nats[numbers] = models[1 - half].nats_per_byte(batch[number] for number in numbers)
    return nats


def _batches(texts: Texts) -> Iterator[dict[int, str]]:
    """Documents by their number, about `_BATCH_BYTES` at once."""
    batch: dict[int, str] = {}
    held_bytes = 0
    for number, (document, size) in enumerate(zip(texts, texts.sizes_bytes.tolist(), strict=True)):
        batch[number] = document.text
        held_bytes += size
        if held_bytes >= _BATCH_BYTES:
            yield batch
            batch, held_bytes = {}, 0
    yield batch


def _places(nats: np.ndarray, sizes_bytes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The share of all bytes that is easier to foretell than the middle of each document `(n,)`."""
    order = np.lexsort((rng.random(len(nats)), nats))
    places = np.empty(len(nats))
    places[order] = (np.cumsum(sizes_bytes[order]) - sizes_bytes[order] / 2) / sizes_bytes.sum()
    return places
