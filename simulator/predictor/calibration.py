"""Intervals that hold: normalised conformal scores from back-tests, this table's and those of the public tables.

A prediction's scale is s² = spread² + noise² + (κ·gap)²: what the draws leave open, what the fit misses in sample,
and a term that grows with the decades of extrapolation. Back-test errors over their own s give scores |z|; the
interval is the prediction ± q(level)·s with q the quantile of the scores. A parametric bootstrap alone (q = 1.64 at
90 %, s the spread) covered 52 % of extrapolated runs on the public tables, so q is measured, never assumed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import numpy as np

from ..fitting.backtest import Scores
from ..hierarchy.shipped import error_quantiles

GRID = np.concatenate([np.linspace(0.0, 0.9, 37), np.linspace(0.91, 0.99, 9)])
"""Levels at which the quantiles of |z| are kept."""
_PUBLIC_CUTS = 16.0  # the public scores weigh as much as this many cuts of the table's own: two for each public table


_FOLDS = 20
_FEWEST_CUTS = 2  # to judge one by the others
_FEWEST_SCORES = 10  # runs of all cuts; fewer are one run again and again
_COVERED = 0.9
_TOLERATED = 0.85  # few cuts, whose runs miss together, cover as little by chance
_MOST_WIDENING = 5.0

_PRIOR_CUTS = 3.7  # of usual width, beside those of the table's own back-test
_MOST_SQUARE = 25.0  # one run that went wrong must not widen all intervals without end


@dataclass(frozen=True)
class Calibration:
    """Quantiles of |z| on `GRID`, and how many of the table's own back-test cuts and scores went into them."""

    quantiles: np.ndarray
    own_cuts: int = 0
    own_scores: int = 0

    @classmethod
    def pooled(cls, groups: Mapping[str, Sequence[Scores]]) -> Calibration:
        """The scores of many tables: each group counts once, each table in it equally, each cut of a table equally."""
        values, weights = [], []
        for tables in groups.values():
            scored = [s for s in tables if s.cuts]
            for scores in scored:
                values.append(scores.z())
                weights.append(scores.cut_weights() / (scores.cuts * len(scored)))
        z = np.concatenate(values)
        return cls(weighted_quantiles(z, np.concatenate(weights), GRID), sum(map(len, groups.values())), len(z))

    @classmethod
    def from_scores(cls, scores: Scores, public: Calibration, weights: np.ndarray | None = None) -> Calibration:
        """Mix a table's own scores with the public ones.

        Each own cut counts once, however many runs lie above it, unless `weights` say otherwise: then the scores are as
        many as they are worth by Kish's effective sample size.
        """
        if not scores.cuts:
            return cls(public.width(np.minimum(GRID * (1.0 + 1.0 / _PUBLIC_CUTS), 0.99)))
        z = scores.z()
        own = scores.cut_weights() if weights is None else weights * (weights.sum() / (weights**2).sum())
        # the public quantile function as equally likely points
        points = np.interp(np.linspace(0.005, 0.985, 99), GRID, public.quantiles)
        weight = np.concatenate([own, np.full(99, _PUBLIC_CUTS / 99)])
        # split conformal's finite-sample level, with a cut as the exchangeable unit
        levels = np.minimum(GRID * (1.0 + 1.0 / (own.sum() + _PUBLIC_CUTS)), 1.0)
        values = weighted_quantiles(np.concatenate([z, points]), weight, levels)
        return cls(values, scores.cuts, len(z))

    def width(self, level: float | np.ndarray) -> np.ndarray:
        """q(level): half-width of the central interval in units of s. `level` in [0, 1)."""
        tail = np.log(0.01 / np.maximum(1.0 - np.asarray(level, float), 1e-6))  # beyond the grid: an exponential tail
        step = self.quantiles[-1] - self.quantiles[-10]  # 90 % to 99 %: ln 10 of it
        return np.interp(level, GRID, self.quantiles) + np.maximum(tail, 0.0) * max(step, 0.1) / np.log(10.0)

    def level(self, z: float) -> float:
        """The inverse of `width`: the level whose interval just reaches |z|."""
        levels = np.concatenate([GRID, 1.0 - np.geomspace(0.009, 1e-6, 40)])
        return float(np.interp(abs(z), self.width(levels), levels, left=0.0, right=1.0))

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Random signed z, `(size,)`: symmetric, with |z| drawn from the scores."""
        return np.where(rng.random(size) < 0.5, -1.0, 1.0) * self.width(rng.random(size))

    def blended(self, other: Calibration, share: float) -> Calibration:
        """This calibration moved towards `other` by `share`, 0 to 1, level by level."""
        quantiles = (1.0 - share) * self.quantiles + share * other.quantiles
        return Calibration(quantiles, self.own_cuts, self.own_scores)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "quantiles": [float(f"{q:.8g}") for q in self.quantiles],
            "own_cuts": self.own_cuts,
            "own_scores": self.own_scores,
        }

    @classmethod
    def from_dict(cls, data: Mapping) -> Calibration:
        """The inverse of `to_dict`."""
        return cls(np.array(data["quantiles"], dtype=float), int(data["own_cuts"]), int(data["own_scores"]))


def posterior_calibration(scores: Scores) -> Calibration:
    """Quantiles for posteriors of the model over tables, as wide as a table's own back-test says they must be.

    Args:
        scores: The table's back-test, with the whole s of each prediction as `spread`; it may be empty.
    """
    quantiles = error_quantiles()
    if not scores.cuts:
        return Calibration(quantiles)
    squares = np.minimum((scores.error / scores.spread) ** 2, _MOST_SQUARE)
    of_cuts = sum(float(squares[scores.cut == cut].mean()) for cut in np.unique(scores.cut))
    factor = np.sqrt((_PRIOR_CUTS + of_cuts) / (_PRIOR_CUTS + scores.cuts))
    return Calibration(quantiles * factor, scores.cuts, len(scores.error))


def widened(scores: Scores, z: np.ndarray, calibrate: Callable[[Scores], Calibration]) -> tuple[Calibration, float]:
    """The calibration by some scores, wide enough that each cut of theirs is covered by what the others say.

    Args:
        scores: A table's back-test.
        z: Its errors over their scale, `(n,)`.
        calibrate: Makes a calibration of some of the scores.

    Returns:
        The calibration, and the factor by which it was widened; 1 where enough of the runs were covered.
    """
    calibration = calibrate(scores)
    if scores.cuts < _FEWEST_CUTS or len(z) < _FEWEST_SCORES:
        return calibration, 1.0
    reach = np.zeros(len(z))
    for here in left_out_folds(scores):
        reach[here] = np.abs(z[here]) / calibrate(scores.take(~here)).width(_COVERED)
    if (reach <= 1.0).mean() >= _TOLERATED:
        return calibration, 1.0
    factor = min(float(np.quantile(reach, _COVERED, method="inverted_cdf")), _MOST_WIDENING)
    return replace(calibration, quantiles=calibration.quantiles * factor), factor


def left_out_folds(scores: Scores) -> list[np.ndarray]:
    """Masks `(n,)` of the scores to leave out together: those of one cut, or of every twentieth of more than twenty."""
    fold = np.unique(scores.cut, return_inverse=True)[1] % _FOLDS
    return [fold == number for number in np.unique(fold)]


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles of a weighted sample, `(len(levels),)`, interpolated between the middles of the weight steps."""
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    middle = (np.cumsum(weights) - 0.5 * weights) / weights.sum()
    return np.interp(levels, middle, values)


@cache
def public_calibration() -> Calibration:
    """The scores of the public tables, each predicted with a prior learned on the others."""
    text = resources.files("foretrain.datasets.facts.laws").joinpath("prior.json").read_text(encoding="utf-8")
    return Calibration.from_dict(json.loads(text)["calibration"])
