"""Planned changes on the way of a run, at which its loss may step away from the law."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["PlannedChange", "expected_level", "loose_parts"]

_WEARS_OFF = 0.02
"""Share of the run over which what is passing of a change wears off: states of the optimizer, the start of a text."""


class PlannedChange(NamedTuple):
    """From step `step` on, the logarithm of the loss may lie `log_level` ± `log_sd` off what the law says.

    As much again may be passing: it wears off within some 2 % of the run.
    """

    step: float
    what: str
    """In words, such as "the stage annealing: another text"."""
    log_level: float = 0.0
    log_sd: float = 0.0


def expected_level(changes: tuple[PlannedChange, ...], step: np.ndarray) -> np.ndarray:
    """Logarithm of the loss that changes are expected to add at `step: (n,)`."""
    return sum((np.where(step > one.step, one.log_level, 0.0) for one in changes), np.zeros(len(step)))


def loose_parts(changes: tuple[PlannedChange, ...], step: np.ndarray, steps: int) -> np.ndarray:
    """`(n, J)` how much each unknown part of the changes, of unit variance, moves log loss at `step: (n,)`.

    Every change has two: a level that stays, and one that wears off.
    """
    columns = []
    for one in changes:
        if not one.log_sd:
            continue
        after = step > one.step
        since = np.maximum(step - one.step, 0.0) / (_WEARS_OFF * steps)
        columns += [after * one.log_sd, after * one.log_sd * np.exp(-since)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(step), 0))
