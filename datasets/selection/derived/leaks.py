"""Leaks: training documents that stand in validation text, whole or in large part.

Text is taken as copies are judged (`document.normalised`), as runs of 64 bytes, about the 13 words of GPT-3's check
(Brown et al. 2020, appendix C). One run in eight is looked at, chosen by its own hash, so that both sides choose the
same ones (winnowing: Schleimer et al. 2003).
"""

from __future__ import annotations

import numpy as np

from ...corpus.document import Document, normalised

__all__ = ["LARGE_PART", "LeakFinder"]

LARGE_PART = 0.5
"""Share of a document's runs that occur in validation text, from which on it counts as a near-copy."""

_DOUBLINGS = 6  # 64 bytes
_FIRST_BITS = 3  # one run in eight
_CAPACITY = 1 << 23  # runs of validation text that are held: 64 MB; beyond it every other one is, and so on
_SLOTS_BITS = 24  # 16 MB that say at once of most runs that no validation text holds them
_MULTIPLIER = 0x9E3779B97F4A7C15
_POWERS = tuple(np.uint64(pow(_MULTIPLIER, 1 << doubling, 1 << 64)) for doubling in range(_DOUBLINGS))
_VALUES = np.random.default_rng(0).integers(1, 2**64, 256, np.uint64)


class LeakFinder:
    """Finds validation text among other text. Memory is bounded.

    >>> from foretrain.datasets.corpus.document import digest_of
    >>> def document(text):
    ...     return Document(text, "", digest_of(text))
    >>> finder = LeakFinder()
    >>> times = "It was the best of times, it was the worst of times, it was the age of wisdom, " * 3
    >>> finder.add(document(times))
    >>> finder.near(document(f"He read: {times}")), finder.whole(document(f"He read: {times}"))
    (True, False)
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._bits = _FIRST_BITS
        self._digests: set[bytes] = set()
        self._runs = np.zeros(0, np.uint64)
        self._slots = np.zeros(1 << _SLOTS_BITS, bool)
        self._new: list[np.ndarray] = []
        self._held = 0

    def add(self, document: Document) -> None:
        """Add a validation document."""
        self._digests.add(document.digest[8:16])  # not the first bytes: they decide the split
        runs = _runs(document.text, self._bits)
        self._new.append(runs)
        self._held += len(runs)
        if self._held > self._capacity:
            self._settle()

    def whole(self, document: Document) -> bool:
        """Is the document's text one of validation?"""
        return document.digest[8:16] in self._digests

    def near(self, document: Document) -> bool:
        """Do half of the document's runs of 64 bytes at least occur in validation text, whatever documents they are in?

        A document of fewer bytes has no such run.
        """
        if self._new:
            self._settle()
        runs = _runs(document.text, self._bits)
        if not len(runs) or not len(self._runs):
            return False
        likely = runs[self._slots[_slot(runs)]]
        if len(likely) < LARGE_PART * len(runs):
            return False
        places = np.minimum(np.searchsorted(self._runs, likely), len(self._runs) - 1)
        return int((self._runs[places] == likely).sum()) >= LARGE_PART * len(runs)

    def _settle(self) -> None:
        """Sort what was added, and thin out what is more than may be held."""
        self._runs = np.unique(np.concatenate([self._runs, *self._new]))
        self._new = []
        while len(self._runs) > self._capacity // 2:
            self._bits += 1
            self._runs = self._runs[_chosen(self._runs, self._bits)]
        self._held = len(self._runs)
        self._slots[:] = False
        self._slots[_slot(self._runs)] = True


def _slot(hashes: np.ndarray) -> np.ndarray:
    return hashes >> np.uint64(64 - _SLOTS_BITS)


def _runs(text: str, bits: int) -> np.ndarray:
    """Hashes of the runs of 64 bytes that are looked at, in order.

    A run's hash is a polynomial of its bytes' values modulo 2^64, made by doubling: the hash of 2k bytes is that of the
    first k times the multiplier to the k, plus that of the others.
    """
    hashes = _VALUES[np.frombuffer(normalised(text).encode(), np.uint8)]
    for doubling, power in enumerate(_POWERS):
        length = 1 << doubling
        if len(hashes) <= length:
            return np.zeros(0, np.uint64)
        hashes = hashes[:-length] * power + hashes[length:]
    return hashes[_chosen(hashes, bits)]


def _chosen(hashes: np.ndarray, bits: int) -> np.ndarray:
    """One in 2^bits, by the hash itself; of more bits, some of those of fewer."""
    return (hashes ^ (hashes >> np.uint64(32))) * _POWERS[0] >> np.uint64(64 - bits) == 0
