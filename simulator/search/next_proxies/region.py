"""Inputs of the choice of proxies: the planned runs (`Region`) and the runs that could be trained (`Candidates`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....core.errors import UsageError
from ...laws import Columns

__all__ = ["Candidates", "Region"]


@dataclass(frozen=True)
class Region:
    """The planned runs whose loss is to be predicted: columns `(t,)` each, and their weights `(t,)`.

    Weights are normalised to sum to 1, and equal by default. UsageError for invalid weights.
    """

    columns: Columns
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self)
        weights = np.ones(count) if self.weights is None else np.asarray(self.weights, dtype=float)
        if not count or weights.shape != (count,) or not _sound(weights) or not weights.sum() > 0:
            raise UsageError(
                f"target region of {count} runs: expected one or more, with weights that are none negative, not all 0"
            )
        object.__setattr__(self, "weights", weights / weights.sum())

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def mean(self, values: np.ndarray) -> float:
        """The weighted mean of values `(t,)` over the region."""
        return float(np.asarray(self.weights) @ values)

    @property
    def centre(self) -> dict[str, float]:
        """The weighted geometric mean of params and tokens."""
        return {name: float(np.exp(self.mean(np.log(self.columns[name])))) for name in ("params", "tokens")}


@dataclass(frozen=True)
class Candidates:
    """Runs that could be trained. Rows `(n,)` are the losses that would be observed, `cost: (m,)` the cost of each run.

    `run: (n,)` gives the run of each row, where runs are also evaluated at intermediate steps; one row a run by
    default. Costs share any one unit (FLOPs, seconds); a run of infinite cost is never chosen. UsageError for arrays
    that don't fit together.
    """

    columns: Columns
    cost: np.ndarray
    run: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows, cost = len(next(iter(self.columns.values()), ())), np.asarray(self.cost, dtype=float)
        if np.isnan(cost).any() or (cost <= 0).any():
            raise UsageError("cost of a candidate: expected a positive number for each run")
        run = np.arange(rows) if self.run is None else np.asarray(self.run, dtype=int)
        if run.shape != (rows,) or set(run.tolist()) != set(range(len(cost))):
            raise UsageError(f"{rows} rows for {len(cost)} costs; expected one row or more for each candidate run")
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "run", run)

    def __len__(self) -> int:
        return len(self.cost)

    def rows_of(self, runs: list[int] | tuple[int, ...]) -> np.ndarray:
        """The rows of some runs, in the order of the runs."""
        found = [np.flatnonzero(np.asarray(self.run) == number) for number in runs]
        return np.concatenate(found) if found else np.zeros(0, dtype=int)

    def blocks(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Runs grouped by their number of rows: `(ids (g,), rows (g, k))` for each k."""
        order = np.argsort(np.asarray(self.run), kind="stable")
        counts = np.bincount(np.asarray(self.run), minlength=len(self))
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        found = []
        for k in np.unique(counts):
            ids = np.flatnonzero(counts == k)
            found.append((ids, order[starts[ids][:, None] + np.arange(k)]))
        return found


def _sound(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and (values >= 0).all())
