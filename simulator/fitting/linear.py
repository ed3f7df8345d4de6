"""Symmetric systems that may be singular to the last bit, as those of two or three runs are: a solution in any case.

Whether elimination meets an exact zero depends on the order in which the processor's kernels add: the same fit ended in
an answer on one machine and in an error on another.
"""

from __future__ import annotations

import numpy as np


def solve(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """What `np.linalg.solve` gives for symmetric matrices `(…, P, P)`, repaired where one of them is singular.

    A singular matrix is solved by its eigenvalues, none taken as nearer to zero than rounding can tell. Other members
    of the stack keep their bits. Nothing raises; what is not finite gives NaN.
    """
    try:
        return np.linalg.solve(matrices, right)
    except np.linalg.LinAlgError:
        if matrices.ndim == 2:
            return _repaired(matrices, right)
        return np.stack([solve(one, other) for one, other in zip(matrices, right, strict=True)])


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a symmetric matrix `(P, P)`, by the rules of `solve`."""
    return solve(matrix, np.eye(len(matrix)))


def _repaired(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    if not np.all(np.isfinite(matrix)):
        return np.full(right.shape, np.nan)
    size = np.sqrt(np.abs(np.diag(matrix)))
    size[size == 0] = 1.0  # each parameter in its own unit, so that rounding is judged alike in all
    values, vectors = np.linalg.eigh(matrix / np.outer(size, size))
    least = len(matrix) * np.finfo(float).eps * np.max(np.abs(values))
    kept = np.where(np.abs(values) > least, values, max(least, np.finfo(float).tiny))
    vectors = vectors / size[:, None]
    return vectors @ ((vectors.T @ right).T / kept).T
