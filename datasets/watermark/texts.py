"""Many texts: which of them are marked, how many would be by chance, and whether all of them together are.

Of all texts together, too, each different (context, token) counts once. Beyond some millions of them, those whose hash
ends in enough zeros stand for all: a sample that is the same in every text, and says nothing about who is green.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import CorpusError, ForetrainError
from ..corpus.document import Document
from ..tokens.tokenizer import Tokenizer
from .detection import ALPHA, Counts, Detection, Detector, corrected, p_values
from .green import Watermark
from .key_files import read_watermark

__all__ = ["Scan", "detector_of_files", "encoded", "scan"]

_MOST_DIFFERENT = 1 << 22
"""Hashes that are held of all texts together: 32 MB a key."""


@dataclass(frozen=True)
class Scan:
    """What is known of n texts.

    `p` are their p-values, corrected for the number of keys `(n,)`; `scored` is how many different (context, token)
    each has `(n,)`; `marked` says of each whether it is `(n,)`; `together` is what is known of all of them as one text,
    in which the (context, token) are a sample where there are millions.
    """

    p: np.ndarray
    scored: np.ndarray
    marked: np.ndarray
    tokens: np.ndarray
    together: Detection
    expected_false_positives: float

    def facts(self, sizes_bytes: np.ndarray, detector: Detector) -> dict[str, object]:
        """Plain values for reports; `sizes_bytes` is the size of each text `(n,)`."""
        return {
            "alpha": detector.alpha,
            "keys": [mark.fingerprint for mark in detector.watermarks],
            "documents": len(self.p),
            "documents_marked": int(self.marked.sum()),
            "bytes": int(sizes_bytes.sum()),
            "bytes_marked": int(sizes_bytes[self.marked].sum()),
            "expected_false_positives": self.expected_false_positives,
            "documents_too_short": int((self.tokens < detector.tokens_needed).sum()),
            "tokens_needed": detector.tokens_needed,
            "p_of_all_together": self.together.p,
        }


def scan(texts: Iterable[np.ndarray], detector: Detector) -> Scan:
    """Look for marks in each of many texts, and in all of them together.

    Args:
        texts: Ids of the tokens of each `(length,)`; read once, as a stream.
        detector: Whose keys.

    >>> detector = Detector([Watermark(key="0123456789abcdef")], vocab_size=256)
    >>> found = scan([np.frombuffer(text, np.uint8) for text in (b"A text.", b"Another one.")], detector)
    >>> found.marked.tolist(), found.scored.tolist(), found.together.scored
    ([False, False], [4, 9], 13)
    """
    marks = detector.watermarks
    together = [_Different(mark) for mark in marks]
    counted: list[list[tuple[int, int]]] = [[] for _ in marks]
    tokens: list[int] = []
    for text in texts:
        tokens.append(len(text))
        for mark, all_of, counts in zip(marks, together, counted, strict=True):
            different = _sorted_once(mark.hashes(text))
            counts.append((len(different), int(mark.is_green(different).sum())))
            all_of.add(different)
    each, scored = [], np.zeros(len(tokens), np.int64)
    for mark, counts in zip(marks, counted, strict=True):
        scored, green = np.array(counts, np.int64).reshape(-1, 2).T
        each.append(p_values(Counts(scored, green), mark.gamma))
    smallest = np.min(each, axis=0)
    return Scan(
        p=corrected(smallest, len(marks)),
        scored=scored,
        marked=smallest <= detector.alpha_of_a_key,
        tokens=np.array(tokens, np.int64),
        together=detector.judged([one.counts() for one in together], sum(tokens)),
        expected_false_positives=float(detector.false_positives(scored).sum()),
    )


def encoded(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[np.ndarray]:
    """The token ids of each document `(length,)`. Raises CorpusError, naming the document, for what isn't text."""
    for document in documents:
        try:
            yield tokenizer.encode(document.text)
        except CorpusError as error:
            raise CorpusError(f"{document.where}: {error}") from None


def detector_of_files(
    keys: Sequence[Path], tokenizer: Tokenizer, place: str, error: type[ForetrainError], alpha: float = ALPHA
) -> Detector:
    """Read the watermarks of files.

    Args:
        keys: The files.
        tokenizer: Of the tokens that texts will be given in.
        place: What messages begin with.
        error: What is raised where a file can't be read, is of another vocabulary, or holds the key of another one.
        alpha: The probability at which text written without the keys is called marked, at most.
    """
    try:
        marks = [read_watermark(path) for path in keys]
        return Detector(marks, tokenizer.vocab_size, alpha, tokenizer.digest)
    except ForetrainError as problem:
        raise error(f"{place}: {problem}") from None


class _Different:
    """Counts different (context, token) over many texts, in bounded memory."""

    def __init__(self, watermark: Watermark) -> None:
        self._watermark = watermark
        self._held = np.empty(0, np.uint64)
        self._new: list[np.ndarray] = []
        self._waiting = 0
        self._zeros = np.uint64(0)  # the low bits that a hash must not have

    def add(self, hashes: np.ndarray) -> None:
        """Add the hashes of one text."""
        if self._zeros:
            hashes = hashes[hashes & self._zeros == 0]
        self._new.append(hashes)
        self._waiting += len(hashes)
        if self._waiting > _MOST_DIFFERENT // 4:
            self._merge()

    def counts(self) -> Counts:
        """What was counted."""
        self._merge()
        return Counts(np.array(len(self._held)), np.array(int(self._watermark.is_green(self._held).sum())))

    def _merge(self) -> None:
        self._held = _sorted_once(np.concatenate([self._held, *self._new]))
        self._new, self._waiting = [], 0
        while len(self._held) > _MOST_DIFFERENT:
            self._zeros = self._zeros << np.uint64(1) | np.uint64(1)
            self._held = self._held[self._held & self._zeros == 0]


def _sorted_once(hashes: np.ndarray) -> np.ndarray:
    """Each different hash once, ascending; `numpy.unique` looks up tables, at several times the cost of a sort."""
    ordered = np.sort(hashes)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
