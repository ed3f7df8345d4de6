"""Quotas: the best documents up to a share of the bytes."""

from __future__ import annotations

import numpy as np

__all__ = ["best"]


def best(scores: np.ndarray, sizes_bytes: np.ndarray, keep: float, rng: np.random.Generator) -> np.ndarray:
    """Say which documents are kept `(n,)`: those of the highest scores, until `keep` of all bytes is reached.

    Equal scores come in random order. At least one document is kept.

    >>> best(np.array([0.1, 0.9, 0.5]), np.array([10, 10, 20]), 0.5, np.random.default_rng(0)).tolist()
    [False, True, True]
    """
    order = np.lexsort((rng.random(len(scores)), -scores))
    before = np.cumsum(sizes_bytes[order]) - sizes_bytes[order]
    kept = np.zeros(len(scores), bool)
    kept[order[before < keep * sizes_bytes.sum()]] = True
    return kept
