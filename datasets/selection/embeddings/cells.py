"""Cells: documents whose vectors are close together, found by k-means on a sample."""

from __future__ import annotations

import warnings

import numpy as np

from ....core.extras import require

__all__ = ["cells", "members"]

_SAMPLE_PER_CELL = 64
_SAMPLE = 16_384  # vectors that centres are learned from, at least
_BLOCK_ROWS = 8_192


def cells(vectors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Say in which of `count` cells each vector lies `(n,)`: the one with the nearest centre.

    Centres are those of k-means (Sculley 2010, in small batches) on a sample of 16,384 vectors, or 64 a cell. Fewer
    cells than asked hold vectors where many vectors are equal.
    """
    require("clusters of documents", "sklearn")
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    size = min(len(vectors), max(_SAMPLE, count * _SAMPLE_PER_CELL))
    sample = np.asarray(vectors[np.sort(rng.choice(len(vectors), size, replace=False))])
    seed, first = int(rng.integers(2**32)), max(4_096, 3 * count)
    means = MiniBatchKMeans(count, random_state=seed, batch_size=4_096, init_size=first)
    labels = np.empty(len(vectors), np.int64)
    # with one thread: sums of floats depend on how many share them
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct vectors than cells is no fault
        means.fit(sample)
        for start in range(0, len(vectors), _BLOCK_ROWS):
            block = np.asarray(vectors[start : start + _BLOCK_ROWS])
            labels[start : start + len(block)] = means.predict(block)
    return labels


def members(labels: np.ndarray) -> list[np.ndarray]:
    """The numbers of the documents in each cell that holds any, in order.

    >>> [some.tolist() for some in members(np.array([2, 0, 2]))]
    [[1], [0, 2]]
    """
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
