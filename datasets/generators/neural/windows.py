"""Windows of text: stretches of equal length out of documents, their bytes as numbers of an alphabet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....core.errors import UsageError

__all__ = ["Windows", "batches", "written"]


@dataclass(frozen=True)
class Windows:
    """Every stretch of `length` bytes that lies within one document.

    `alphabet: (a,)` has the different bytes of the text, `symbols: (n,)` the text as places in it, and `starts: (k,)`
    where a window can begin. They take 9 bytes of memory for a byte of text, and some 30 while they are found.
    """

    length: int
    alphabet: np.ndarray
    symbols: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, documents: Sequence[bytes], length: int) -> Windows:
        """Find the windows of documents; those shorter than a window have none, and their bytes are left out.

        Raises:
            UsageError: No document is as long as a window.

        >>> Windows.of([b"abcab", b"zz"], 4).starts.tolist()
        [0, 1]
        """
        long_enough = [document for document in documents if len(document) >= length]
        if not long_enough:
            longest = max(map(len, documents), default=0)
            raise UsageError(
                f"documents: got {len(documents)}, the longest of {longest} bytes; expected at least one of {length} "
                "bytes, as many as a window has"
            )
        data = np.frombuffer(b"".join(long_enough), np.uint8)
        occurs = np.bincount(data, minlength=256) > 0
        symbols = (np.cumsum(occurs) - 1).astype(np.uint8)[data]
        sizes = np.array([len(document) for document in long_enough])
        left = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(data))  # bytes of its document from each one on
        return cls(length, np.flatnonzero(occurs).astype(np.uint8), symbols, np.flatnonzero(left >= length))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return windows drawn at random, with replacement `(count, length)`, as places in the alphabet."""
        starts = self.starts[rng.integers(len(self.starts), size=count)]
        return self.symbols[starts[:, None] + np.arange(self.length)].astype(np.int64)


def written(alphabet: np.ndarray, symbols: np.ndarray) -> list[bytes]:
    """Turn rows of places in an alphabet `(n, length)` into documents.

    >>> written(np.frombuffer(b"abc", np.uint8), np.array([[0, 1], [2, 2]]))
    [b'ab', b'cc']
    """
    return [row.tobytes() for row in alphabet[symbols]]


def batches(total: int, size: int) -> list[int]:
    """Sizes of batches that come to a total.

    >>> batches(5, 2)
    [2, 2, 1]
    """
    return [min(size, total - done) for done in range(0, total, size)]
