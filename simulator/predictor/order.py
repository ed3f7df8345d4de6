"""What more parameters and more tokens can't do: raise a loss.

How far a run lies beyond the fitted ones widens its interval on both sides, so that the upper end of a run ten times
as long could lie above that of the shorter one, and twice the tokens seem to hurt. What is open there is mostly how
much more tokens gain, never whether they harm. So the upper end of a run is at most that of every smaller one between
the fitted runs and it; the lower end stays as far away as the distance asks for. Between two such runs the sign of the
difference is known. Of repeated data only tokens count so: there a larger model may end higher, by the law as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ..fitting import Fit
from ..laws import Columns
from .prediction import LossPrediction

__all__ = ["never_above", "ordered"]

_LEVEL = 0.99  # of the interval whose upper end is held; ends between it and the centre then follow
_STEP = 0.01  # in log size, of the look whether an upper end rises
_POINTS, _ROUNDS = 7, 6  # of a grid between the fitted runs and the plan, which closes in on the lowest upper end
_SIZES = ("params", "tokens")


def ordered(
    prediction: LossPrediction,
    columns: Columns,
    fitted_ranges: Mapping[str, tuple[float, float]],
    predict: Callable[[Columns], LossPrediction],
) -> LossPrediction:
    """The prediction with upper ends no higher than those of smaller runs beyond the fitted ones.

    Args:
        prediction: Of n runs, each by itself.
        columns: Their columns, each `(n,)`.
        fitted_ranges: Lowest and highest params and tokens of the fitted runs.
        predict: Predicts runs from such columns, each by itself.
    """
    sizes = np.log(np.array([np.asarray(columns[name], float) for name in _SIZES]).T)  # (n, 2)
    highest = np.log([fitted_ranges.get(name, (0.0, np.inf))[1] for name in _SIZES])
    starts = np.minimum(sizes, highest)
    repeated = _repeated(columns, sizes[:, 1])
    starts[repeated, 0] = sizes[repeated, 0]
    open_ = (sizes > starts).any(axis=1)
    if not open_.any():
        return prediction
    rows = np.flatnonzero(open_)
    upper = _upper(prediction)
    rising = np.zeros(len(rows), dtype=bool)
    for axis in range(len(_SIZES)):
        smaller = sizes[rows].copy()
        smaller[:, axis] = np.maximum(smaller[:, axis] - _STEP, starts[rows, axis])
        rising |= _upper(predict(_at(columns, rows, smaller))) < upper[rows]
    if not rising.any():
        return prediction
    lowest = upper.copy()
    for row in rows[rising]:
        lowest[row] = min(lowest[row], _lowest(columns, row, starts[row], sizes[row], predict))
    narrower = (lowest - prediction.log_loss) / (upper - prediction.log_loss)
    narrower = np.where(narrower > 0, narrower, 1.0)  # else it is the law itself that rises
    return replace(prediction, upper_scale=prediction.scale * narrower)


def _repeated(columns: Columns, log_tokens: np.ndarray) -> np.ndarray:
    """Whether each run sees some data more than once, `(n,)`; with stocks by domain all count as such."""
    if any(name.startswith("unique_tokens.") for name in columns):
        return np.ones(len(log_tokens), dtype=bool)
    return np.asarray(columns.get("unique_tokens", np.inf)) < np.exp(log_tokens) * (1 - 1e-9)


def _upper(prediction: LossPrediction) -> np.ndarray:
    """Log of the upper end that is held, `(n,)`."""
    return np.log(prediction.interval(_LEVEL)[1])


def _at(columns: Columns, rows: np.ndarray, sizes: np.ndarray) -> Columns:
    """The columns of some runs at other sizes, logarithms `(m, 2)`; distinct tokens are at most those seen."""
    found = {name: np.asarray(values)[rows] for name, values in columns.items()}
    for axis, name in enumerate(_SIZES):
        found[name] = np.exp(sizes[:, axis])
    if "unique_tokens" in found:
        found["unique_tokens"] = np.minimum(found["unique_tokens"], found["tokens"])
    return found


def _lowest(
    columns: Columns, row: int, start: np.ndarray, end: np.ndarray, predict: Callable[[Columns], LossPrediction]
) -> float:
    """The lowest upper end of the runs between two sizes, logarithms `(2,)`, all else as in one row."""
    low, high = start, end
    for _ in range(_ROUNDS):
        axes = [np.linspace(a, b, _POINTS if b > a else 1) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(_SIZES))
        values = _upper(predict(_at(columns, np.full(len(grid), row), grid)))
        best, cell = grid[values.argmin()], (high - low) / (_POINTS - 1)
        low, high = np.maximum(best - cell, start), np.minimum(best + cell, end)
    return float(values.min())


def never_above(fit: Fit, columns: Columns) -> np.ndarray:
    """Whether run i can't end above run j, `(n, n)`: at least as large and as long, all else alike, by every draw."""
    count = len(columns["params"])
    found = np.ones((count, count), dtype=bool)
    for name, values in columns.items():
        own = np.asarray(values)
        if name in _SIZES or name.startswith("unique_tokens"):
            found &= own[:, None] >= own[None, :]
        else:
            found &= own[:, None] == own[None, :]
    drawn = fit.log_loss_draws(columns)
    for i, j in zip(*np.nonzero(found & ~np.eye(count, dtype=bool)), strict=True):
        found[i, j] = bool((drawn[:, i] <= drawn[:, j]).all())
    return found
