"""What terms of settings share, which a run's maker chooses beside its size and data: learning rate, batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from ._term import Columns, Term, geometric_means

_NEIGHBOURS, _APART, _SHARE_OF_RUNS, _MOST_RUNS = 3, 0.2, 0.5, 600


class SettingsTerm(Term):
    """A term whose columns are settings: centred on their geometric means, and known where each varies by itself."""

    runs_per_parameter = 3

    @override
    def centre(self, columns, rows):
        return geometric_means(columns, self.columns, rows)

    @override
    def identifiable(self, columns):
        reason = self.absent(columns)
        fewest = self.runs_per_parameter * len(self.parameters)
        if reason is None and len(columns["params"]) < fewest:
            return f"{len(columns['params'])} runs are too few for {self.name!r}; {fewest} are needed"
        return reason or _reason(columns, self.columns)


def _left_by_size(columns: Columns, name: str) -> float:
    """Spread of log `name` around the power law in params and tokens that fits it best."""
    logs = [np.log(np.asarray(columns[c], dtype=float)) for c in ("params", "tokens", name)]
    design = np.stack([np.ones(len(logs[0])), *logs[:2]], axis=1)
    return float(np.std(logs[2] - design @ np.linalg.lstsq(design, logs[2], rcond=None)[0]))


def _own_variation(columns: Columns, name: str) -> float:
    """Share of runs with a neighbour in (log N, log D) whose `name` differs by more than 0.2 in log.

    A learning rate that is set by size says nothing of its own effect, however much it varies over the table.
    """
    every = np.linspace(0, len(columns["params"]) - 1, min(_MOST_RUNS, len(columns["params"]))).round().astype(int)
    place = np.stack([np.log(np.asarray(columns[c], dtype=float))[every] for c in ("params", "tokens")], axis=1)
    distance = ((place[:, None] - place[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, :_NEIGHBOURS]
    values = np.log(np.asarray(columns[name], dtype=float))[every]
    return float((np.abs(values[near] - values[:, None]) > _APART).any(axis=1).mean())


def _reason(columns: Columns, names: Sequence[str]) -> str | None:
    """None if each of these settings varies by itself, beside params and tokens; else the reason, naming the column."""
    for name in names:
        left = _left_by_size(columns, name)
        if left < _APART:
            return (
                f"column {name!r} varies too little beside params and tokens "
                f"(its log strays by {left:.2f} from a power law in them; {_APART} is needed)"
            )
        share = _own_variation(columns, name)
        if share < _SHARE_OF_RUNS:
            return (
                f"column {name!r} varies too little among runs of like params and tokens "
                f"({share:.0%} of the runs have such a neighbour; {_SHARE_OF_RUNS:.0%} are needed)"
            )
    return None
