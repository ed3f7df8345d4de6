"""Levels of a category in a plan: which one it is of, where that is stated, and from which runs it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....core.columns import level_of
from ....datasets.runs.columns import columns as run_table_columns
from ...laws import Columns, OfLevels
from ...predictor.predictor import Predictor

__all__ = ["level_stated", "place_of", "runs_behind", "shares_shown", "side_by_side"]


def level_stated(category: str | None, columns: Columns) -> str | None:
    """The level of a single run, `(1,)` each."""
    named = [level_of(name) for name, values in columns.items() if level_of(name) is not None and values[0] == 1.0]
    return next((one[1] for one in named if one is not None and one[0] == category), None)


def place_of(column: str) -> str:
    """Where a plan states a column; of the kind of something the section."""
    return (run_table_columns()[column].place or column).removesuffix(".kind")


def runs_behind(predictor: Predictor, term: OfLevels, level: str) -> Mapping[str, Any] | None:
    """The runs behind a level, or behind all but the baseline for a new one; None where the predictor doesn't say."""
    facts: Any = predictor.about.get("levels")
    of_category = facts.get(term.category) if isinstance(facts, Mapping) else None
    if not isinstance(of_category, Mapping):
        return None
    if level in of_category:
        return of_category[level]
    every = [of_category[one] for one in term.variants if one in of_category]
    if not every:
        return None
    merged: dict[str, Any] = {"runs": sum(one["runs"] for one in every)}
    for name in {name for one in every for name in one} - {"runs", "seeds"}:
        ends = [one[name] for one in every if name in one]
        merged[name] = [min(low for low, _ in ends), max(high for _, high in ends)]
    seeds = [one["seeds"] for one in every if "seeds" in one]
    return merged | ({"seeds": max(seeds)} if seeds else {})


def side_by_side(first: Columns, second: Columns) -> dict[str, np.ndarray]:
    """Two runs, `(1,)` each, as columns `(2,)`. What one of them lacks is what run tables mean by a blank cell."""
    both = {}
    for name in dict.fromkeys([*first, *second]):
        pair = []
        for run in (first, second):
            if name in run:
                pair.append(float(run[name][0]))
                continue
            known = run_table_columns().get(name)
            default = None if known is None else known.default
            pair.append(
                float(run[default][0]) if isinstance(default, str) and default in run else float(default or 0.0)
            )
        both[name] = np.array(pair)
    return both


def shares_shown(ends: Sequence[float]) -> str:
    """The lowest and the highest of some numbers, one where they are alike."""
    low, high = (f"{end:.2g}" for end in ends)
    return high if low == high else f"{low} to {high}"
