"""Categories at prediction: the levels that a fitted law tells apart, and those that no fitted run had.

A law that has learned how far levels of a category are apart (`OfLevels`) answers a level that no run had: the centre
is that of the baseline, and what levels differ by is added to the interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.columns import level_column, level_of
from ...core.errors import InputError
from ...core.units import shown
from ..fitting import Fit
from ..laws import Columns, OfLevels

if TYPE_CHECKING:
    from ...datasets.runs.run_table import RunTable

__all__ = ["check_levels", "error_of_new_levels", "new_levels", "runs_by_level"]

_FEWEST_VARIANTS = 2
"""Levels beside the baseline from which on runs say how far levels are apart."""


def check_levels(fit: Fit, columns: Columns) -> Columns:
    """The columns of runs `(n,)` with every level that the law reads; those that no run has are 0.

    A run of a level that no fitted run had counts as one of the baseline, and keeps the column of its own level, where
    the law knows how far levels are apart.

    Raises InputError, naming the levels that are known, where a run states none, or where a level is new and fewer than
    two beside the baseline were fitted.
    """
    complete = dict(columns)
    n = len(columns["params"])
    meant = {category for term in fit.law.terms for category in term.further_levels}
    for category, levels in fit.law.levels.items():
        names = [level_column(category, level) for level in levels]
        complete |= {name: np.zeros(n) for name in names if name not in columns}
        known = f"{'it is one of' if category in meant else 'the fitted runs had'} {', '.join(map(shown, levels))}"
        for level, has in _unknown(fit, category, columns).items():
            term = _of_levels(fit, category)
            if term is None or len(term.variants) < _FEWEST_VARIANTS:
                raise InputError(f"{category}: got {shown(level)}; {known}, so this predictor can't say what it does")
            baseline = level_column(category, term.baseline)
            complete[baseline] = np.where(has, 1.0, complete[baseline])
        if not np.all(np.sum([complete[name] for name in names], axis=0) == 1.0):
            raise InputError(f"{category}: is not stated; {known}: expected one of those")
    return complete


def new_levels(fit: Fit, columns: Columns) -> dict[str, list[str]]:
    """The levels that some of the runs have and no fitted run had, by the category's column."""
    found = {category: list(_unknown(fit, category, columns)) for category in fit.law.levels}
    return {category: levels for category, levels in found.items() if levels}


def error_of_new_levels(fit: Fit, columns: Columns) -> np.ndarray:
    """What is open of levels that no fitted run had, one sd in log loss for each independent part, `(F, n)`.

    Each kind of effect of a new level is N(0, τ²) with the spread τ that the draws have. Runs of the same new level
    share its errors, with their signs.

    Args:
        fit: The fitted law.
        columns: What `check_levels` returned for the n runs.
    """
    parts = [np.zeros((0, len(columns["params"])))]
    for category in fit.law.levels:
        for level, has in _unknown(fit, category, columns).items():
            parts.append(_error_of(fit, category, columns, level, has))
    return np.concatenate(parts)


def _error_of(fit: Fit, category: str, columns: Columns, level: str, has: np.ndarray) -> np.ndarray:
    """The same for one new level, `(kinds of effect, n)`; `has: (n,)`, which runs have it."""
    term, place = next((term, place) for term, place in fit.law.places if term.category == category)
    assert isinstance(term, OfLevels)
    stand_in = term.variants[0]
    columns = dict(columns)
    columns |= {level_column(category, other): np.zeros(len(has)) for other in (*term.levels, level)}
    columns[level_column(category, stand_in)] = np.ones(len(has))

    theta, its = fit.theta.copy(), term.effects_of(stand_in)
    of_level = slice(place.start + its.start, place.start + its.stop)
    theta[of_level] = 0.0
    value, grad = fit.law.loss(theta[None], fit.law.prepare(columns, fit.reference), gradient=True)
    per_tau = grad[0, of_level] / value[0]

    spreads = [place.start + spread for spread, _ in term.spreads]
    wider = np.sqrt(np.mean(np.exp(2.0 * (fit.draws[:, spreads] - theta[spreads])), axis=0))
    return wider[:, None] * per_tau * has


def _unknown(fit: Fit, category: str, columns: Columns) -> dict[str, np.ndarray]:
    """Which runs have each level of a category that no fitted run had, `(n,)` by level."""
    found = {}
    for name, values in columns.items():
        named = level_of(name)
        known = fit.law.levels[category]
        if named is not None and named[0] == category and named[1] not in known and np.any(values):
            found[named[1]] = np.asarray(values) != 0.0
    return found


def _of_levels(fit: Fit, category: str) -> OfLevels | None:
    """The term that knows how far a category's levels are apart; None where another kind of term reads it."""
    return next((term for term in fit.law.terms if term.category == category and isinstance(term, OfLevels)), None)


def runs_by_level(table: RunTable, categories: Iterable[str], further: Iterable[str] = ()) -> dict[str, Any]:
    """Which runs are behind each level of some categories.

    Args:
        table: The fitted runs.
        categories: Columns of the categories.
        further: Columns of numbers whose range is told too, where runs state them.

    Returns:
        By category and level: `runs`, their number; `params`, `tokens` and each of `further`, the lowest and the
        highest; `seeds`, how many there are, where runs state them.
    """
    from ...datasets.runs.columns import columns as known

    found: dict[str, Any] = {}
    for category in categories:
        cells = table.frame[category]
        default = known()[category].default
        words = (cells if default is None else cells.fillna(default)).astype(str).to_numpy()
        found[category] = {}
        for level in sorted(set(words)):
            rows = words == level
            facts: dict[str, Any] = {"runs": int(rows.sum())}
            for name in ("params", "tokens", *further):
                values = table.column(name)[rows] if table.has(name) else np.empty(0)
                values = values[np.isfinite(values)]
                if len(values):
                    facts[name] = [float(values.min()), float(values.max())]
            if table.has("seed"):
                facts["seeds"] = len(set(table.column("seed")[rows].tolist()))
            found[category][level] = facts
    return found
