"""Shares that sum to 1 from independent numbers: −log u over their sum, within bounds.

With u uniform on (0, 1), −log u / Σ is uniform on the simplex (Dirichlet of ones), so that a sampler which explores the
unit cube explores mixes evenly. Each share starts at its lower bound; the remainder is distributed in the sampled
proportions, and any excess over an upper bound is redistributed to the other shares in proportion.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LEAST_U", "from_shares", "to_shares"]

LEAST_U = 1e-6
"""The smallest u: a share of −log u = 13.8 beside others of about 1 each."""
_TINY = 1e-12


def to_shares(u: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Shares `(k,)` within `low` and `high` from u `(k,)` in [LEAST_U, 1]; Σ low ≤ 1 ≤ Σ high is taken for granted.

    >>> to_shares(np.array([1.0, 0.5, 0.25]), np.zeros(3), np.ones(3)).round(3).tolist()
    [0.0, 0.333, 0.667]
    """
    weight = -np.log(np.clip(u, LEAST_U, 1.0))
    weight = weight if weight.sum() > 0 else np.ones(len(weight))
    shares, free = low.astype(float), np.ones(len(low), dtype=bool)
    # fill in proportion to the weights; who is full steps aside and the rest is dealt out anew
    for _ in range(len(low) + 1):
        left = 1.0 - np.where(free, low, shares).sum()
        total = weight[free].sum()
        if total <= 0:  # only domains that were to get nothing have room: by room
            room = np.where(free, high - low, 0.0)
            weight, total = room, room.sum()
        shares = np.where(free, low + left * weight / max(total, _TINY), shares)
        over = free & (shares > high + _TINY)
        if not over.any():
            break
        shares, free = np.where(over, high, shares), free & ~over
    return shares / shares.sum()


def from_shares(shares: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Numbers u from which `to_shares` makes these shares, which must be within the bounds."""
    above = np.maximum(np.asarray(shares, dtype=float) - low, 0.0)
    total = above.sum()
    if total <= _TINY:
        return np.full(len(low), 0.5)
    above = above / total
    # as large as a Dirichlet draw's typical sum, and no u below the least
    scale = min(len(low), -np.log(LEAST_U) / above.max())
    return np.clip(np.exp(-scale * above), LEAST_U, 1.0)
