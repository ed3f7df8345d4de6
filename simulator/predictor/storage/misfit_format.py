"""What a posterior of the model over tables keeps of its runs, as plain values and arrays, and back; checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...hierarchy.errors import Runs, Spread
from ...hierarchy.misfit import Misfit

_RUNS = ("params", "tokens", "log_loss", "unfinished", "run", "extra_sd", "weight")
_ARRAYS = ("misfit_runs", "misfit_shares", "misfit_variance")
_MOST_RUNS = 5_000
_MOST_SPREADS = 100
_WIDE = 1e3  # no log loss, deviation or spread of one is larger
_HUGE = 1e40  # parameters, tokens


def misfit_to_dict(misfit: Misfit) -> dict[str, Any]:
    """What `predictor.json` holds of a misfit: everything but arrays."""
    return {"spreads": [[spread.noise, spread.misfit] for spread in misfit.spreads]}


def misfit_arrays(misfit: Misfit) -> dict[str, np.ndarray]:
    """Its arrays by name."""
    runs = np.array([getattr(misfit.runs, name) for name in _RUNS], dtype=float)
    return dict(zip(_ARRAYS, (runs, misfit.shares, misfit.variance), strict=True))


def misfit_from(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Misfit:
    """The inverse. ValueError, KeyError or TypeError for what isn't ours."""
    spreads = tuple(Spread(float(noise), float(misfit)) for noise, misfit in entry["spreads"])
    if not 1 <= len(spreads) <= _MOST_SPREADS or not all(0 < s.noise < 1 and 0 < s.misfit < 1 for s in spreads):
        raise ValueError("misfit: spreads out of range")
    runs, shares, variance = (np.asarray(arrays[name], dtype=float) for name in _ARRAYS)
    n = runs.shape[-1]
    shapes = {"runs": (len(_RUNS), n), "shares": (len(spreads),), "variance": (len(spreads), n)}
    for (name, shape), array in zip(shapes.items(), (runs, shares, variance), strict=True):
        if array.shape != shape or n > _MOST_RUNS:
            raise ValueError(f"misfit array {name!r} of shape {array.shape}; expected {shape}")
        if not np.all(np.abs(array) < (_HUGE if name == "runs" else _WIDE)):  # also false for NaN
            raise ValueError(f"misfit array {name!r}: not finite, or out of range")
    if not np.all(shares >= 0) or abs(shares.sum() - 1.0) > 1e-6:
        raise ValueError("misfit: the weights of the spreads don't sum to 1")
    params, tokens, log_loss, early, run, extra_sd, weight = runs
    sizes = np.all((params > 0) & (tokens > 0))
    if not sizes or np.any(np.abs(log_loss) > _WIDE) or np.any((early < 0) | (early > 1)) or np.any(run < 0):
        raise ValueError("misfit: runs out of range")
    if np.any(variance <= 0) or np.any(extra_sd < 0) or np.any(weight < 0):
        raise ValueError("misfit: a variance or weight is negative")
    kept = Runs(params, tokens, log_loss, early, run.astype(int), extra_sd, weight, np.full(n, np.nan))
    return Misfit(kept, spreads, shares, variance)
