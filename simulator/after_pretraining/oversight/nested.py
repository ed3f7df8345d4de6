"""Nested oversight: the chance that each of n levels of overseers catches the next, stronger model.

Engels et al. 2025 (arXiv:2504.18530, sections 3 and 5): a guard of domain Elo m(g) oversees a model of domain Elo
a(g'), both linear in general Elo between their plateaus, and wins with chance 1 / (1 + 10^((a − m) / 400)). The gap Δ
is shared evenly by n levels, each of which must win, so that with one slope s for both sides

    P(n) = [1 + 10^((s Δ/n + b) / 400)]^(−n).

b, by how many points the game favours the overseen at equal strength, follows from the chance that is published at one
gap, at its best n; the slope isn't known for other models, and is drawn.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["MOST_LEVELS", "best_levels", "favour_of", "success"]

MOST_LEVELS = 30
"""Among which the best is looked for."""
_ELO = math.log(10.0) / 400.0
_BISECTIONS = 60
_FARTHEST = 4_000.0  # Elo points by which a game could favour a side


def success(gap: np.ndarray | float, levels: np.ndarray | int, slope: np.ndarray, favour: np.ndarray) -> np.ndarray:
    """The chance that all levels succeed; arguments broadcast.

    Args:
        gap: Elo points between the overseen model and the weakest overseer.
        levels: Levels that share it.
        slope: Elo in the game per general Elo.
        favour: Elo points by which the game favours the overseen at equal strength.

    >>> success(400.0, 1, np.array([1.0]), np.array([0.0])).round(3).tolist()
    [0.091]
    """
    exponent = _ELO * (slope * np.asarray(gap) / levels + favour)
    return np.exp(-np.asarray(levels) * np.logaddexp(0.0, exponent))


def best_levels(gap: float, slope: np.ndarray, favour: np.ndarray) -> np.ndarray:
    """The number of levels at which success is most likely `(n,)`, the fewest of them where several are."""
    chances = success(gap, np.arange(1, MOST_LEVELS + 1)[:, None], slope, favour)
    return 1 + np.argmax(chances, axis=0)


def favour_of(chance: np.ndarray, gap: float, slope: np.ndarray) -> np.ndarray:
    """The favour `(n,)` at which nested oversight succeeds with `chance` `(n,)` at `gap` and its best number of levels.

    >>> slope = np.array([0.5, 1.0, 2.0])
    >>> favour = favour_of(np.full(3, 0.517), 400.0, slope)
    >>> success(400.0, best_levels(400.0, slope, favour), slope, favour).round(3).tolist()
    [0.517, 0.517, 0.517]
    """
    low, high = np.full_like(slope, -_FARTHEST), np.full_like(slope, _FARTHEST)
    for _ in range(_BISECTIONS):  # success falls with favour
        middle = (low + high) / 2.0
        found = success(gap, best_levels(gap, slope, middle), slope, middle)
        low, high = np.where(found > chance, middle, low), np.where(found > chance, high, middle)
    return (low + high) / 2.0
