"""The loss averaged over domains, with the correlations between their errors kept.

Errors of different domains on one run share causes (its luck, the law's misfit), so the average is less sure than if
they were independent, and surer than if they were one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .calibration import Calibration
from .prediction import KNOTS, LossPrediction

_FEWEST_RUNS = 8
_SHRINKAGE_RUNS = 10.0  # a correlation from few runs is drawn towards 1, the careful end, as if by this many
_MOST_SD = 3.0  # errors further out are cut off: one odd run must not set a correlation
_SHARED_DECADES = 0.3  # this far beyond the fitted runs, errors are taken as wholly shared


def error_correlation(errors: Sequence[np.ndarray]) -> np.ndarray:
    """Correlation `(T, T)` of the errors of T targets, each `(n,)` over its sd, NaN where a target has no loss."""
    count = len(errors)
    clipped = np.clip(np.array(errors), -_MOST_SD, _MOST_SD)
    known = clipped[:, np.isfinite(clipped).all(axis=0)]
    runs = known.shape[1]
    if count < 2 or runs < _FEWEST_RUNS:
        return np.ones((count, count))
    with np.errstate(invalid="ignore"):
        found = np.nan_to_num(np.corrcoef(known), nan=1.0)
    trusted = runs / (runs + _SHRINKAGE_RUNS)
    return trusted * found + (1.0 - trusted)


def average(predictions: Sequence[LossPrediction], weights: np.ndarray, correlation: np.ndarray) -> LossPrediction:
    """The weighted mean of T predictions of the same n runs. `weights: (T,)` sum to 1, `correlation: (T, T)`."""
    loss = np.array([p.loss_nats for p in predictions])
    sd = loss * np.array([p.scale for p in predictions]) * weights[:, None]
    gap = np.max([p.extrapolation_decades for p in predictions], axis=0)
    shared = np.minimum(gap / _SHARED_DECADES, 1.0)
    distance = np.einsum("tn,tu,un->n", sd, correlation, sd)
    variance = (1.0 - shared) * np.maximum(distance, 0.0) + shared * sd.sum(axis=0) ** 2
    mean = weights @ loss
    within = [p.within for p in predictions]
    inside = None if any(c is None for c in within) else _mixed([c for c in within if c is not None], weights)
    outside = _mixed([p.calibration for p in predictions], weights)
    scale = np.sqrt(variance) / mean
    uppers = [np.ones((len(gap), len(KNOTS))) if p.upper_share is None else p.upper_share for p in predictions]
    narrower = None
    if any(p.upper_share is not None for p in predictions):
        narrower = np.tensordot(weights, np.array(uppers), axes=1)
    orders = [p.never_above for p in predictions if p.never_above is not None]
    never_above = np.all(orders, axis=0) if len(orders) == len(predictions) else None
    of_runs = _of_runs(predictions, weights)
    return LossPrediction(np.log(mean), scale, gap, outside, inside, of_runs, narrower, never_above)


def _of_runs(predictions: Sequence[LossPrediction], weights: np.ndarray) -> np.ndarray | None:
    """Correlation of the mean's errors between runs, `(n, n)`: that of the domains' errors, on average over them.

    None where some domain's isn't known.
    """
    known = [p.correlation for p in predictions if p.correlation is not None]
    if len(known) < len(predictions):
        return None
    return np.tensordot(weights, np.array(known), axes=1)


def _mixed(calibrations: Sequence[Calibration], weights: np.ndarray) -> Calibration:
    quantiles = weights @ np.array([c.quantiles for c in calibrations])
    return Calibration(quantiles, calibrations[0].own_cuts, calibrations[0].own_scores)


def shares(weights: Mapping[str, float], targets: Sequence[str]) -> np.ndarray:
    """Weights by target as an array `(T,)` that sums to 1, in the order of `targets`."""
    values = np.array([float(weights.get(name, 0.0)) for name in targets])
    return values / values.sum()
