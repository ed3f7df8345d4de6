"""What more parameters and more tokens can't do: raise a loss.

How far a run lies beyond the fitted ones widens its interval on both sides, so that the upper end of a run ten times
as long could lie above that of the shorter one, and twice the tokens seem to hurt. What is open there is mostly how
much more tokens gain, never whether they harm. So the upper end of a run is at most that of every smaller one between
the fitted runs and it; the lower end stays as far away as the distance asks for. Between two such runs the sign of the
difference is known. Of repeated data, and of text that models wrote, only tokens count so: there a larger model may end
higher, by the law as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...fitting import Fit
from ...laws import Columns
from ..prediction import KNOTS, LossPrediction

__all__ = ["never_above", "ordered"]

_STEP = 0.01  # in log size, of the first look whether an upper end rises
_TOGETHER = 256  # runs that are predicted at once
_LOOKS = (0.2, 0.4, 0.7)  # of the way back to the smallest fitted run
_POINTS = 9  # on each side of the grid between the smallest fitted run and the plan
_FINER, _ROUNDS = 5, 3  # on each side of the grids that then close in on the lowest upper end of each level
_SIZES = ("params", "tokens")


def ordered(
    prediction: LossPrediction,
    columns: Columns,
    fitted_ranges: Mapping[str, tuple[float, float]],
    predict: Callable[[Columns], LossPrediction],
    sizes_read: Collection[str] = _SIZES,
) -> LossPrediction:
    """The prediction with upper ends no higher than those of smaller runs beyond the fitted ones.

    Args:
        prediction: Of n runs, each by itself.
        columns: Their columns, each `(n,)`.
        fitted_ranges: Lowest and highest params and tokens of the fitted runs.
        predict: Predicts runs from such columns, each by itself.
        sizes_read: Which of params and tokens the law reads.
    """
    # what was learned on top of a law among its runs need not be monotone
    open_ = (prediction.extrapolation_decades > 0) | (prediction.within is None)
    if not open_.any():
        return prediction
    sizes = np.log(np.array([np.asarray(columns[name], float) for name in _SIZES]).T)  # (n, 2)
    ends = np.log([fitted_ranges.get(name, (1e-300, np.inf)) for name in (*_SIZES, "compute")])
    starts = np.minimum(sizes, ends[:2, 0])
    worse = _worse_for_larger(columns, sizes[:, 1])
    starts[worse, 0] = sizes[worse, 0]
    for axis, name in enumerate(_SIZES):
        if name not in sizes_read:
            starts[:, axis] = sizes[:, axis]
    rows = np.flatnonzero(open_)
    upper = _upper(prediction)
    lowest = upper.copy()
    for row in rows[_above_some_smaller(columns, rows, starts, sizes, upper, predict)]:
        found = _lowest(columns, row, starts[row], sizes[row], ends[:, 1], predict)
        lowest[row] = np.minimum(upper[row], found)
    if (lowest == upper).all():
        return prediction
    centre = prediction.log_loss[:, None]
    share = (lowest - centre) / (upper - centre)
    return replace(prediction, upper_share=np.where(share > 0, share, 1.0))  # else it is the law itself that rises


def _above_some_smaller(
    columns: Columns,
    rows: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    upper: np.ndarray,
    predict: Callable[[Columns], LossPrediction],
) -> np.ndarray:
    """Whether each run's upper end lies above that of one of a few smaller ones, `(m,)`."""
    found, looks = np.zeros(len(rows), dtype=bool), []
    for axis in range(len(_SIZES)):
        way = sizes[rows, axis] - starts[rows, axis]
        for back in (np.minimum(_STEP, way), *(share * way for share in _LOOKS)):
            smaller = sizes[rows].copy()
            smaller[:, axis] -= back
            looks.append(smaller)
    some = max(1, _TOGETHER // len(looks))
    for part in range(0, len(rows), some):
        own = slice(part, part + some)
        those = [_at(columns, rows[own], smaller[own]) for smaller in looks]
        together = {name: np.concatenate([one[name] for one in those]) for name in those[0]}
        ends = _upper(predict(together)).reshape(len(looks), -1, len(KNOTS))
        found[own] = (ends < upper[rows[own]]).any(axis=(0, 2))
    return found


def _worse_for_larger(columns: Columns, log_tokens: np.ndarray) -> np.ndarray:
    """Whether each run sees some data more than once, or text that models wrote, `(n,)`; with stocks by domain all
    count as such."""
    if any(name.startswith("unique_tokens.") for name in columns):
        return np.ones(len(log_tokens), dtype=bool)
    repeated = np.asarray(columns.get("unique_tokens", np.inf)) < np.exp(log_tokens) * (1 - 1e-9)
    return repeated | (np.asarray(columns.get("synthetic_share", 0.0)) > 0.0)


def _upper(prediction: LossPrediction) -> np.ndarray:
    """Log of the upper ends at KNOTS, `(n, K)`."""
    return prediction.log_loss[:, None] + prediction.widths(np.array(KNOTS)) * prediction.scale[:, None]


def _at(columns: Columns, rows: np.ndarray, sizes: np.ndarray) -> Columns:
    """The columns of some runs at other sizes, logarithms `(m, 2)`; distinct tokens are at most those seen."""
    found = {name: np.asarray(values)[rows] for name, values in columns.items()}
    for axis, name in enumerate(_SIZES):
        found[name] = np.exp(sizes[:, axis])
    if "unique_tokens" in found:
        found["unique_tokens"] = np.minimum(found["unique_tokens"], found["tokens"])
    return found


def _lowest(
    columns: Columns,
    row: int,
    start: np.ndarray,
    end: np.ndarray,
    fitted: np.ndarray,
    predict: Callable[[Columns], LossPrediction],
) -> np.ndarray:
    """The lowest upper ends of runs between two sizes, logarithms `(2,)`, all else as in one row: at KNOTS, `(K,)`.

    `fitted: (3,)` are the largest fitted params, tokens and compute, beyond which upper ends begin to rise.
    """

    def upper(grid: np.ndarray) -> np.ndarray:
        return _upper(predict(_at(columns, np.full(len(grid), row), grid)))

    corner = np.clip(fitted[:2], start, end)
    at_params = np.linspace(start[0], end[0], _POINTS)
    edge = np.clip(np.stack([at_params, fitted[2] - np.log(6.0) - at_params], axis=-1), start, end)
    ends = np.clip([[end[0], fitted[2] - np.log(6.0) - end[0]], [fitted[2] - np.log(6.0) - end[1], end[1]]], start, end)
    crosses = [[corner[0], end[1]], [end[0], corner[1]], corner]
    grid, cell = np.concatenate([_grid(start, end, _POINTS), edge, ends, crosses]), (end - start) / (_POINTS - 1)
    values = upper(grid)
    places, lowest = grid[values.argmin(axis=0)], values.min(axis=0)
    for _ in range(_ROUNDS):
        near = [
            _grid(np.maximum(at - cell, start), np.minimum(at + cell, end), _FINER) for at in np.unique(places, axis=0)
        ]
        cell, grid = 2.0 * cell / (_FINER - 1), np.concatenate(near)
        values = upper(grid)
        closer = values.min(axis=0) < lowest
        places[closer] = grid[values.argmin(axis=0)][closer]
        lowest = np.minimum(lowest, values.min(axis=0))
    return lowest


def _grid(low: np.ndarray, high: np.ndarray, points: int) -> np.ndarray:
    """An even grid between two sizes `(m, 2)`, with so many points on each side that has a length."""
    axes = [np.linspace(a, b, points if b > a else 1) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(_SIZES))


def never_above(fit: Fit, columns: Columns, forms: Sequence[Fit] = ()) -> np.ndarray:
    """Whether run i can't end above run j, `(n, n)`: at least as large and as long, all else alike, by every draw and
    by every further form of the law."""
    count = len(columns["params"])
    found = np.ones((count, count), dtype=bool)
    for name, values in dict(columns).items():
        own = np.asarray(values)
        if name in _SIZES or name.startswith("unique_tokens"):
            found &= own[:, None] >= own[None, :]
        else:
            found &= own[:, None] == own[None, :]
    drawn = np.concatenate([fit.log_loss_draws(columns), *(form.log_loss(columns)[None] for form in forms)])
    for i, j in zip(*np.nonzero(found & ~np.eye(count, dtype=bool)), strict=True):
        found[i, j] = bool((drawn[:, i] <= drawn[:, j]).all())
    return found
