"""Finding repeated documents in a stream of any length within bounded memory."""

from __future__ import annotations

import numpy as np

__all__ = ["MAX_REMEMBERED", "Repeats"]

MAX_REMEMBERED = 20_000_000
"""Documents that are remembered, at 8 bytes each; two different ones pass for equal once in 100,000 such corpora."""


class Repeats:
    """Remembers the digests it has seen, up to `limit` of them; later ones are still compared with those.

    Kept as sorted arrays that are merged as they grow, so that there are few of them and each digest moves rarely.
    """

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._levels: list[np.ndarray] = []
        self.complete = True
        """False once there were more digests than `limit`: from then on some repeats may be missed."""

    def new(self, digests: list[bytes]) -> np.ndarray:
        """Which of these digests were not seen before, (n,) bool, the first of equal ones counting as new."""
        # Not the first bytes: they decide the split.
        keys = np.frombuffer(b"".join(digest[8:16] for digest in digests), np.uint64)
        distinct, first = np.unique(keys, return_index=True)
        fresh = np.ones(len(distinct), bool)
        for level in self._levels:
            place = np.minimum(np.searchsorted(level, distinct), len(level) - 1)
            fresh &= level[place] != distinct
        self._remember(distinct[fresh])
        is_new = np.zeros(len(keys), bool)
        is_new[first[fresh]] = True
        return is_new

    def _remember(self, keys: np.ndarray) -> None:
        room = self._limit - sum(len(level) for level in self._levels)
        if len(keys) > room:
            self.complete = False
            keys = keys[:room]
        if not len(keys):
            return
        while self._levels and len(self._levels[-1]) <= 2 * len(keys):
            keys = np.sort(np.concatenate([self._levels.pop(), keys]))
        self._levels.append(keys)
