"""Sums of a Gaussian kernel at every document: how many documents there are, itself included, where it stands.

Up to 20,000 documents they are exact. Beyond that they are estimated without bias, at a cost that grows with the number
of documents only: exactly over a document's own cell of k-means (of 4,096 of its documents where it is larger), where
the large values are, and over a sample of 2,048 documents for all other cells.
"""

from __future__ import annotations

import math

import numpy as np

from ..embeddings.cells import cells, members

__all__ = ["kernel", "kernel_sums"]

_EXACT = 20_000
_MOST_IN_CELL = 4_096
_FAR_SAMPLE = 2_048
_BLOCK_ROWS = 512


def kernel(first: np.ndarray, second: np.ndarray, bandwidth: float) -> np.ndarray:
    """exp(−‖x − y‖² / 2h²) of every pair of vectors: `(n, dimensions)`, `(m, dimensions)` → `(n, m)`.

    >>> kernel(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]), 1.0).round(3).tolist()
    [[1.0, 0.368]]
    """
    distances = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    distances -= 2 * (first @ second.T)
    np.maximum(distances, 0, out=distances)  # rounding
    distances *= -0.5 / bandwidth**2
    return np.exp(distances, out=distances)


def kernel_sums(vectors: np.ndarray, bandwidth: float, rng: np.random.Generator, exact: int = _EXACT) -> np.ndarray:
    """Sum the kernel over all documents, at each of them `(n,)`, at least 1: a document's own.

    Args:
        vectors: Of the documents `(n, dimensions)`, rows of length 1 or 0.
        bandwidth: h, a distance between vectors of length 1: equal ones have 0, unrelated ones 1.41.
        rng: Draws cells and samples.
        exact: Most documents whose sums are exact.
    """
    from threadpoolctl import threadpool_limits

    if len(vectors) <= exact:
        with threadpool_limits(1):
            return 1 + _others(np.arange(len(vectors)), np.arange(len(vectors)), vectors, bandwidth)
    labels = cells(vectors, math.isqrt(len(vectors)), rng)
    far = np.sort(rng.choice(len(vectors), _FAR_SAMPLE, replace=False))
    sums = np.ones(len(vectors))
    with threadpool_limits(1):
        for cell in members(labels):
            near = cell if len(cell) <= _MOST_IN_CELL else np.sort(rng.choice(cell, _MOST_IN_CELL, replace=False))
            # a document of the sample stands for the others without itself
            counted = len(near) - np.isin(cell, near)
            sums[cell] += _others(cell, near, vectors, bandwidth) * (len(cell) - 1) / np.maximum(counted, 1)
            outside = far[labels[far] != labels[cell[0]]]
            if len(outside):
                weight = (len(vectors) - len(cell)) / len(outside)
                sums[cell] += weight * _others(cell, outside, vectors, bandwidth)
    return sums


def _others(at: np.ndarray, over: np.ndarray, vectors: np.ndarray, bandwidth: float) -> np.ndarray:
    """Sums of the kernel at documents `at` `(n,)` over documents `over` `(m,)`, in order, but for themselves."""
    sums = np.empty(len(at))
    second = np.asarray(vectors[over])
    for start in range(0, len(at), _BLOCK_ROWS):
        numbers = at[start : start + _BLOCK_ROWS]
        values = kernel(np.asarray(vectors[numbers]), second, bandwidth)
        place = np.minimum(np.searchsorted(over, numbers), len(over) - 1)
        itself = np.flatnonzero(over[place] == numbers)
        values[itself, place[itself]] = 0
        sums[start : start + len(numbers)] = values.sum(axis=1, dtype=np.float64)
    return sums
