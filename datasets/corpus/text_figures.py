"""Figures that describe text in any language, gathered document by document in bounded memory.

All are over every document, except `compression_ratio`, which is measured on a sample: the first 16,384 characters of
each of the 256 documents whose digests are the smallest, a fair draw that doesn't depend on the order of files. The
median length is read off a histogram whose bins are 1 % wide (exact below 100 characters). Line figures of documents
above 4 million characters are gathered piece by piece.
"""

from __future__ import annotations

import heapq
import math
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["FigureCounter", "TextFigures"]

_SAMPLE_DOCUMENTS = 256
_SAMPLE_CHARACTERS = 16_384
_ZLIB_LEVEL = 6
_FLUSH_CHARACTERS = 1 << 20
_PIECE_CHARACTERS = 1 << 22
_EXACT_LENGTHS = 100
_BIN_WIDTH = math.log(1.01)

_CLASSES = ("letters", "digits", "whitespace", "punctuation", "control", "replacement", "other")
_REPLACEMENT = 0xFFFD
_BLANK_CONTROLS = (0x09, 0x0A, 0x0B, 0x0C, 0x0D)


@dataclass(frozen=True, slots=True)
class TextFigures:
    """What describes the text of a domain. Shares are of characters, from 0 to 1, and add up to 1.

    `letters` include accents and other marks, `punctuation` includes symbols; `control` are control characters that
    aren't white space; `replacement` is U+FFFD, the mark that a wrong decoding leaves; `other` is what Unicode leaves
    unassigned or private.
    """

    document_characters_mean: float
    document_characters_median: float
    line_characters_mean: float
    """Mean length of lines that aren't blank, without white space at their ends."""
    repeated_lines_share: float
    """Share of these lines that repeat an earlier line of their document."""
    compression_ratio: float
    """UTF-8 bytes over zlib bytes of a sample; higher is more repetitive."""
    byte_entropy_bits: float
    """Entropy of single bytes, from 0 to 8."""
    letters_share: float
    digits_share: float
    whitespace_share: float
    punctuation_share: float
    control_share: float
    replacement_share: float
    other_share: float


class FigureCounter:
    """Gathers `TextFigures` of documents that are added one by one.

    >>> counter = FigureCounter()
    >>> counter.add("ab 1\\nab 1", b"digest")
    >>> figures = counter.figures()
    >>> figures.letters_share, figures.line_characters_mean, figures.repeated_lines_share
    (0.4444444444444444, 4.0, 0.5)
    """

    def __init__(self) -> None:
        self.documents = 0
        self.characters = 0
        self._lengths = Counter[int]()
        self._lines = self._repeated_lines = self._line_characters = 0
        self._bytes = np.zeros(256, dtype=np.int64)
        self._classes = np.zeros(len(_CLASSES), dtype=np.int64)
        self._pending: list[str] = []
        self._pending_characters = 0
        # A heap whose top has the largest digest, negated as a number.
        self._sample: list[tuple[int, str]] = []

    def add(self, text: str, digest: bytes) -> None:
        """Take in a document; `digest` decides whether it is in the sample."""
        self.documents += 1
        self.characters += len(text)
        self._lengths[_bin(len(text))] += 1
        self._add_lines(text)
        self._add_to_sample(text, -int.from_bytes(digest, "big"))
        # Many short documents are counted together, for NumPy's sake.
        self._pending.append(text)
        self._pending_characters += len(text)
        if self._pending_characters >= _FLUSH_CHARACTERS:
            self._flush()

    def figures(self) -> TextFigures:
        """Return the figures of the documents so far, of which there must be one that isn't empty."""
        self._flush()
        shares = dict(zip(_CLASSES, (self._classes / max(1, self._classes.sum())).tolist(), strict=True))
        return TextFigures(
            document_characters_mean=self.characters / self.documents,
            document_characters_median=_median(self._lengths),
            line_characters_mean=self._line_characters / max(1, self._lines),
            repeated_lines_share=self._repeated_lines / max(1, self._lines),
            compression_ratio=self._compression_ratio(),
            byte_entropy_bits=_entropy_bits(self._bytes),
            **{f"{name}_share": share for name, share in shares.items()},
        )

    def _add_lines(self, text: str) -> None:
        for start in range(0, len(text), _PIECE_CHARACTERS):
            piece = text[start : start + _PIECE_CHARACTERS] if len(text) > _PIECE_CHARACTERS else text
            lines = [stripped for line in piece.split("\n") if (stripped := line.strip())]
            self._lines += len(lines)
            self._repeated_lines += len(lines) - len(set(lines))
            self._line_characters += sum(map(len, lines))

    def _add_to_sample(self, text: str, rank: int) -> None:
        if len(self._sample) < _SAMPLE_DOCUMENTS:
            heapq.heappush(self._sample, (rank, text[:_SAMPLE_CHARACTERS]))
        elif rank > self._sample[0][0]:
            heapq.heapreplace(self._sample, (rank, text[:_SAMPLE_CHARACTERS]))

    def _compression_ratio(self) -> float:
        """Return the ratio of the sample in the order of digests; the tiny header that every stream has is included."""
        data = "\n".join(text for _, text in sorted(self._sample, reverse=True)).encode("utf-8")
        return len(data) / len(zlib.compress(data, _ZLIB_LEVEL))

    def _flush(self) -> None:
        """Count bytes and classes of characters of what is pending."""
        text = "".join(self._pending)
        self._pending, self._pending_characters = [], 0
        for start in range(0, len(text), _FLUSH_CHARACTERS):
            piece = text[start : start + _FLUSH_CHARACTERS]
            encoded = np.frombuffer(piece.encode("utf-8"), dtype=np.uint8)
            self._bytes += np.bincount(encoded, minlength=256)
            points = np.frombuffer(piece.encode("utf-32-le"), dtype=np.uint32)
            self._classes += np.bincount(_class_table()[points], minlength=len(_CLASSES))


@lru_cache(maxsize=1)
def _class_table() -> npt.NDArray[np.uint8]:
    """Return the class of every code point, (0x110000,), as an index into `_CLASSES`."""
    by_category = {"L": 0, "M": 0, "N": 1, "Z": 2, "P": 3, "S": 3}
    table = np.full(0x110000, _CLASSES.index("other"), dtype=np.uint8)
    for point in range(0x110000):
        category = unicodedata.category(chr(point))
        if category == "Cc":
            table[point] = _CLASSES.index("control")
        elif category[0] in by_category:
            table[point] = by_category[category[0]]
    table[list(_BLANK_CONTROLS)] = _CLASSES.index("whitespace")
    table[_REPLACEMENT] = _CLASSES.index("replacement")
    return table


def _bin(length: int) -> int:
    """Return the bin of a length: itself below 100, then one bin per 1 %."""
    return length if length < _EXACT_LENGTHS else _EXACT_LENGTHS + int(math.log(length / _EXACT_LENGTHS) / _BIN_WIDTH)


def _median(lengths: Counter[int]) -> float:
    """Return the median (the lower one of two) of binned lengths; within 0.5 %."""
    half, below = sum(lengths.values()) / 2, 0
    for number, count in sorted(lengths.items()):
        below += count
        if below >= half:
            exact = number < _EXACT_LENGTHS
            return float(number) if exact else _EXACT_LENGTHS * math.exp((number - _EXACT_LENGTHS + 0.5) * _BIN_WIDTH)
    return 0.0


def _entropy_bits(counts: npt.NDArray[np.int64]) -> float:
    """Return the entropy in bits of a distribution given by counts."""
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, -math.fsum(shares * np.log2(shares)))
