"""Documents that say nearly the same: the cosine of their vectors is high.

As in SemDeDup (Abbas et al. 2023, arXiv 2303.09540), which D4 builds on (Tirumala et al. 2023, arXiv 2308.12284),
documents are compared within cells of k-means only. Unlike there, a document goes only where one that stays is close
to it, the earliest of several.
"""

from __future__ import annotations

import math

import numpy as np

from ..embeddings.cells import cells, members

__all__ = ["closest_kept"]

_ONE_CELL = 4_096  # documents up to which all are compared with all
_BLOCK_ROWS = 1_024


def closest_kept(vectors: np.ndarray, threshold: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Leave out documents whose vector has a cosine of `threshold` or more with that of an earlier one which is kept.

    Args:
        vectors: Of the documents, in order `(n, dimensions)`, rows of length 1.
        threshold: Least cosine of copies.
        rng: Draws the cells: the square root of n, none up to 4,096 documents.

    Returns:
        Which are kept `(n,)`, and of each the highest cosine with an earlier kept one in its cell `(n,)`, 0 for none.
    """
    from threadpoolctl import threadpool_limits

    count = math.isqrt(len(vectors)) if len(vectors) > _ONE_CELL else 1
    labels = cells(vectors, count, rng) if count > 1 else np.zeros(len(vectors), int)
    kept, cosine = np.ones(len(vectors), bool), np.zeros(len(vectors))
    with threadpool_limits(1):
        for cell in members(labels):
            kept[cell], cosine[cell] = _within(np.asarray(vectors[cell]), threshold)
    return kept, cosine


def _within(vectors: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """What `closest_kept` returns, of the vectors of one cell."""
    kept, cosine = np.ones(len(vectors), bool), np.zeros(len(vectors), np.float32)
    stay = np.empty_like(vectors)
    count = 0
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS]
        highest = cosine[start : start + len(block)]
        for other in range(0, count, _BLOCK_ROWS):
            np.maximum(highest, (block @ stay[other : min(other + _BLOCK_ROWS, count)].T).max(axis=1), out=highest)
        alike = np.tril(block @ block.T, -1)
        here = highest < threshold
        for number in np.flatnonzero(here & (alike >= threshold).any(axis=1)):
            here[number] = not (alike[number][here] >= threshold).any()
        np.maximum(highest, np.where(here, alike, 0).max(axis=1), out=highest)
        kept[start : start + len(block)] = here
        stay[count : count + here.sum()] = block[here]
        count += int(here.sum())
    return kept, cosine
