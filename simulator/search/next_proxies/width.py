"""The interval width that a predictor would state for the planned runs after it is fitted on further runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...fitting import error_scale, extrapolation_decades
from ...predictor.calibration import public_calibration
from ...predictor.loss_model import LossModel
from ...predictor.prediction import LossPrediction
from .region import Candidates, Region

__all__ = ["LEVEL", "Width"]

LEVEL = 0.9
_SD_OVER_MEAN = 1.25  # sd of a normal with mean absolute value 1
_UNBOUNDED = 20.0  # half-width in log loss beyond which a fraction of the loss is meaningless


@dataclass(frozen=True)
class Width:
    """Half-widths as a predictor states them: q(0.9)·√(spread² + noise² + (κ·gap)²), with κ·gap for extrapolation.

    `noise` is the mean absolute residual of the law's fit, and `fitted_ranges` the lowest and highest params, tokens
    and compute (6·N·D) of the runs done, None before the first. `spread: (t,)` is the predictor's current spread of
    each planned run, in log loss: the posterior then gives the factor by which further runs narrow it, so that widths
    start at the predictor's. Without it, the posterior's own variance and the public tables' q are used.
    """

    candidates: Candidates
    region: Region
    noise: float
    fitted_ranges: Mapping[str, tuple[float, float]] | None = None
    spread: np.ndarray | None = None
    quantile: float | None = None
    gap_counts: bool = True
    """Whether the predictor's scale has a part that grows with extrapolation; a posterior's draws have it in them."""

    @classmethod
    def of(cls, prediction: LossPrediction, model: LossModel, candidates: Candidates, region: Region) -> Width:
        """From a prediction of the region's runs by the model that made it, fitted on the runs done so far."""
        low, high = prediction.interval(LEVEL)
        noise, gap, gap_counts = model.fit.noise, prediction.extrapolation_decades, True
        if model.misfit is not None:
            noise, gap, gap_counts = model.misfit.noise / _SD_OVER_MEAN, np.zeros(len(region)), False
        known = error_scale(np.zeros(len(region)), noise, gap)
        spread = np.sqrt(np.maximum(prediction.scale**2 - known**2, 0.0))
        quantile = region.mean(0.5 * np.log(high / low) / prediction.scale)
        return cls(candidates, region, noise, model.fitted_ranges, spread, quantile, gap_counts)

    def half_width(self, runs: Sequence[int], left: np.ndarray, before: np.ndarray) -> float:
        """Half-width of the 90 % interval at the region, as a fraction of the loss, with these candidates done too.

        Args:
            runs: The candidates.
            left: Posterior variance of log loss after them, `(t,)`.
            before: Posterior variance of log loss now, `(t,)`.
        """
        spread = np.sqrt(np.maximum(left, 0.0))
        if self.spread is not None:
            spread = self.spread * spread / np.sqrt(np.maximum(before, 1e-300))
        scale = error_scale(spread, self.noise, self._gap(list(runs)))
        quantile = float(public_calibration().width(LEVEL)) if self.quantile is None else self.quantile
        return float(np.expm1(min(quantile * np.sqrt(self.region.mean(scale**2)), _UNBOUNDED)))

    def _gap(self, runs: list[int]) -> np.ndarray:
        """Decades of extrapolation from the runs, done and chosen, to each planned one, `(t,)`."""
        if not self.gap_counts:
            return np.zeros(len(self.region))
        ranges = dict(self.fitted_ranges or {})
        rows = self.candidates.rows_of(runs)
        if len(rows):
            params, tokens = (np.asarray(self.candidates.columns[name], float)[rows] for name in ("params", "tokens"))
            for name, values in {"params": params, "tokens": tokens, "compute": 6.0 * params * tokens}.items():
                low, high = ranges.get(name, (np.inf, 0.0))
                ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
        return extrapolation_decades(ranges, self.region.columns) if ranges else np.zeros(len(self.region))
