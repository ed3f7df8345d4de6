"""Categories at prediction: the levels that a fitted law tells apart, and those that no fitted run had."""

from __future__ import annotations

import numpy as np

from ...core.columns import level_column, level_of
from ...core.errors import InputError
from ...core.units import shown
from ..fitting import Fit
from ..laws import Columns

__all__ = ["check_levels"]


def check_levels(fit: Fit, columns: Columns) -> Columns:
    """The columns of runs `(n,)` with every level that the law reads; those that no run has are 0.

    Raises InputError, naming the levels that are known, where a run states none, or one that no fitted run had.
    """
    complete = dict(columns)
    n = len(columns["params"])
    for category, levels in fit.law.levels.items():
        stated = {name: values for name, values in columns.items() if (level_of(name) or ("",))[0] == category}
        known = f"the fitted runs had {', '.join(shown(level) for level in levels)}"
        new = [name for name, values in stated.items() if name not in fit.law.columns and np.any(values)]
        if new:
            level = (level_of(new[0]) or ("", new[0]))[1]
            raise InputError(f"{category}: got {shown(level)}; {known}, so this predictor can't say what it does")
        names = [level_column(category, level) for level in levels]
        complete |= {name: np.zeros(n) for name in names if name not in stated}
        if not np.all(np.sum([complete[name] for name in names], axis=0) == 1.0):
            raise InputError(f"{category}: is not stated; {known}: expected one of those")
    return complete
