"""The Pareto front of plans with several goals: its points, its ends, its balanced point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..evaluate import PlanEvaluation

__all__ = ["balanced", "front_of", "spread_out"]


def front_of(found: Sequence[PlanEvaluation], directions: Sequence[str]) -> list[PlanEvaluation]:
    """The plans that no other dominates, sorted by their first goal; of equal ones the first."""
    goals = _small(found, directions)
    kept = []
    for number, mine in enumerate(goals):
        beats = (goals <= mine).all(axis=1) & (goals < mine).any(axis=1)
        same = (goals[:number] == mine).all(axis=1)
        if not beats.any() and not same.any():
            kept.append(number)
    return [found[number] for number in sorted(kept, key=lambda number: goals[number][0])]


def balanced(front: Sequence[PlanEvaluation], directions: Sequence[str]) -> PlanEvaluation:
    """The point of a front that is nearest to the best of every goal, each in units of its width on the front."""
    goals = _scaled(_small(front, directions))
    return front[int(np.argmin((goals**2).sum(axis=1)))]


def spread_out(front: Sequence[PlanEvaluation], directions: Sequence[str], count: int) -> list[PlanEvaluation]:
    """Up to `count` points of a front, each as far from the ones before as can be; its ends come first."""
    if not front:
        return []
    goals = _scaled(_small(front, directions))
    chosen: list[int] = []
    for column in goals.T:
        end = int(np.argmin(column))
        chosen += [] if end in chosen else [end]
    while len(chosen) < min(count, len(front)):
        away = np.abs(goals[:, None] - goals[chosen][None]).sum(axis=2).min(axis=1)
        chosen.append(int(np.argmax(away)))
    return [front[number] for number in chosen[:count]]


def _small(found: Sequence[PlanEvaluation], directions: Sequence[str]) -> np.ndarray:
    """Goals `(n, goals)` with signs such that all are minimised."""
    signs = np.array([1.0 if way == "minimize" else -1.0 for way in directions])
    return np.array([one.goals for one in found], dtype=float).reshape(len(found), len(signs)) * signs


def _scaled(goals: np.ndarray) -> np.ndarray:
    """Goals from 0, the best on the front, to 1, the worst."""
    width = goals.max(axis=0) - goals.min(axis=0)
    return (goals - goals.min(axis=0)) / np.where(width > 0, width, 1.0)
