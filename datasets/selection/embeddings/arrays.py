"""Arrays of vectors: in memory, or in a temporary file where there are many; and rows of length 1."""

from __future__ import annotations

import tempfile

import numpy as np

__all__ = ["empty", "unit_rows"]

_MOST_IN_MEMORY_BYTES = 1 << 29


def empty(rows: int, columns: int) -> np.ndarray:
    """A float32 array `(rows, columns)` to be filled; beyond 512 MiB it lies in a file that goes with it."""
    if rows * columns * 4 <= _MOST_IN_MEMORY_BYTES:
        return np.empty((rows, columns), np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=(rows, columns))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their lengths, as float32; rows of zeros stay so.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
