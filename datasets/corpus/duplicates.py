"""Copies: documents that occur more than once within a domain, in several domains, or on both sides of the split.

Two documents are copies if their normalised texts are equal (`document.normalised`). Memory is bounded: up to
2,097,152 different documents are tracked, by 8 bytes of their digest (some 250 MB). Beyond that only those are whose
digest ends in a zero bit, then in two, and so on; counts are then estimates, scaled up from an unbiased sample of
texts, and `estimated` says so. Near-copies aren't looked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Copies", "DuplicateTracker", "SharedDocuments"]

_CAPACITY = 1 << 21
_SIDES = 2


class Copies(NamedTuple):
    """Documents of one domain beyond the first of each text: how many, and their bytes of UTF-8."""

    documents: int
    bytes: int


class SharedDocuments(NamedTuple):
    """Different texts that occur both at one place and at another; a place is a domain and a side of the split."""

    first: tuple[int, int]
    second: tuple[int, int]
    documents: int


class DuplicateTracker:
    """Counts copies among documents that are added one by one. Domains and sides (0, 1) are numbers.

    >>> tracker = DuplicateTracker()
    >>> for _ in range(3):
    ...     tracker.add(0, 0, b"d" * 32, 100)
    >>> tracker.copies(0)
    Copies(documents=2, bytes=200)
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._level = 0
        # By digest: one bit for each domain and side where the text occurred.
        self._places: dict[int, int] = {}
        self._copies: dict[tuple[int, int], Copies] = {}
        self._bits: dict[tuple[int, int], int] = {}

    @property
    def estimated(self) -> bool:
        """Are the counts scaled up from a sample?"""
        return self._level > 0

    def add(self, domain: int, side: int, digest: bytes, size_bytes: int) -> None:
        """Add a document by the digest of its normalised text (at least 16 bytes)."""
        # Not the first bytes: they decide the split.
        key = int.from_bytes(digest[8:16], "big")
        if key & self._mask:
            return
        # The same object for every document of a place: one number each would take as much memory again.
        bit = self._bits.setdefault((domain, side), 1 << (_SIDES * domain + side))
        before = self._places.get(key, 0)
        if before >> (_SIDES * domain) & (1 << _SIDES) - 1:
            known = self._copies.get((domain, key), Copies(0, 0))
            self._copies[domain, key] = Copies(known.documents + 1, known.bytes + size_bytes)
        if not before & bit:
            self._places[key] = before | bit if before else bit
            self._thin_out()

    def copies(self, domain: int) -> Copies:
        """Return how many documents of a domain repeat an earlier one of it."""
        mine = [copies for (owner, _), copies in self._copies.items() if owner == domain]
        return Copies(
            sum(copies.documents for copies in mine) * self._scale, sum(copies.bytes for copies in mine) * self._scale
        )

    def shared(self) -> list[SharedDocuments]:
        """Return the pairs of places that have texts in common, in order, with the number of these texts."""
        pairs = Counter[tuple[tuple[int, int], tuple[int, int]]]()
        for mask in self._places.values():
            # A power of two is a text at one place only.
            if mask & (mask - 1):
                places = list(_places_of(mask))
                pairs.update((first, second) for n, first in enumerate(places) for second in places[n + 1 :])
        return [SharedDocuments(first, second, count * self._scale) for (first, second), count in sorted(pairs.items())]

    @property
    def _scale(self) -> int:
        return 1 << self._level

    @property
    def _mask(self) -> int:
        return self._scale - 1

    def _thin_out(self) -> None:
        """Keep every other digest, by its last bit that still varies, once there are too many."""
        while len(self._places) > self._capacity:
            self._level += 1
            self._places = {key: mask for key, mask in self._places.items() if not key & self._mask}
            self._copies = {place: copies for place, copies in self._copies.items() if not place[1] & self._mask}


def _places_of(mask: int) -> Iterator[tuple[int, int]]:
    """Yield domain and side of each bit that is set, lowest first."""
    while mask:
        lowest = mask & -mask
        yield divmod(lowest.bit_length() - 1, _SIDES)
        mask ^= lowest
