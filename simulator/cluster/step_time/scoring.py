"""Accuracy of predictions on measured steps: errors by source, coverage, memory, and the ranking of layouts.

The shape of the result is what `simulate cluster score --json` prints; keys are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..memory.memory import memory
from .measurements.table import Measurements
from .step_model import StepTimeModel

__all__ = ["errors", "memory_scores", "ranking", "score", "step_time_scores"]

_LEAST_LAYOUTS = 4  # smallest group for which ranks are meaningful
_LEVEL = 0.8
_MEMORY_LEVEL = 0.8


def score(model: StepTimeModel, data: Measurements) -> dict[str, Any]:
    """Score a model on measured steps: step times, memory, ranking of layouts, and what was skipped and why."""
    timed = data.take(np.flatnonzero(np.isfinite(data.step_time_s)))
    left_out = {"skipped": dict(data.skipped), "assumed": dict(data.assumed)}
    scores: dict[str, Any] = {"rows": len(data), **left_out, "step_time": None, "ranking": None}
    if len(timed):
        low, high = model.interval_s(timed.steps, _LEVEL)
        predicted = model.predict(timed.steps).total_s
        scores["step_time"] = step_time_scores(timed, predicted, (low, high))
        scores["ranking"] = ranking(timed, predicted)
    scores["memory"] = memory_scores(data)
    return scores


def errors(predicted: np.ndarray, observed: np.ndarray) -> dict[str, float | int]:
    """Rows, median, p90 and maximum of |predicted / observed − 1|, and the median signed error."""
    relative = predicted / observed - 1.0
    size = np.abs(relative)
    return {
        "rows": len(size),
        "median": float(np.median(size)),
        "p90": float(np.percentile(size, 90)),
        "max": float(size.max()),
        "bias": float(np.median(relative)),
    }


def step_time_scores(
    data: Measurements, predicted_s: np.ndarray, interval: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Errors pooled, by source, of dense models and of mixtures of experts, and coverage of the 80 % interval."""
    observed, experts = data.step_time_s, data.steps.models.num_experts > 0
    inside = (observed >= interval[0]) & (observed <= interval[1])
    by_source, covered = {}, []
    for name in np.unique(data.source):
        own = data.source == name
        covered.append(float(inside[own].mean()))
        by_source[str(name)] = {**errors(predicted_s[own], observed[own]), "coverage": {f"{_LEVEL:g}": covered[-1]}}
    kinds = {"dense": ~np.broadcast_to(experts, observed.shape), "moe": np.broadcast_to(experts, observed.shape)}
    return {
        "pooled": errors(predicted_s, observed),
        **{kind: errors(predicted_s[own], observed[own]) if own.any() else None for kind, own in kinds.items()},
        "by_source": by_source,
        "macro_median": float(np.mean([one["median"] for one in by_source.values()])),
        "coverage": {f"{_LEVEL:g}": float(np.mean(covered))},
    }


def ranking(data: Measurements, predicted_s: np.ndarray) -> dict[str, Any]:
    """Whether the fastest of several measured layouts is found: regret and rank correlation, means over groups.

    A group has at least four distinct layouts of one model on the same machines with one batch; measurements of one
    layout are their median. Regret is how much slower the layout is that the prediction picks.
    """
    layouts = data.steps.layouts
    columns = np.stack([np.broadcast_to(v, predicted_s.shape) for v in vars(layouts).values()], axis=1)
    regrets, correlations = [], []
    for group in np.unique(data.group):
        rows = np.flatnonzero(data.group == group)
        distinct, index = np.unique(columns[rows], axis=0, return_inverse=True)
        if len(distinct) < _LEAST_LAYOUTS:
            continue
        index = index.ravel()
        seen = np.array([np.median(data.step_time_s[rows[index == k]]) for k in range(len(distinct))])
        said = np.array([np.median(predicted_s[rows[index == k]]) for k in range(len(distinct))])
        regrets.append(seen[said.argmin()] / seen.min() - 1.0)
        correlations.append(_rank_correlation(said, seen))
    if not regrets:
        return {"groups": 0, "mean_regret": None, "spearman": None}
    return {"groups": len(regrets), "mean_regret": float(np.mean(regrets)), "spearman": float(np.mean(correlations))}


def memory_scores(data: Measurements) -> dict[str, Any]:
    """Errors of peak memory, against what was read: tensors', the allocator's or the device's figure; and what fits.

    What fits is judged on every row whose answer is known: a row that ran with known recomputation must not be said not
    to fit, a row that ran out of memory must not be said to fit.
    """
    predicted = memory(data.steps)
    kinds = {"device": predicted.device_gib, "reserved": predicted.reserved_gib, "allocated": predicted.allocated_gib}
    said = np.select([data.memory_kind == kind for kind in kinds], list(kinds.values()))
    known = data.recompute_known | ~data.ran
    wrong = np.where(data.ran, predicted.verdict() == "does not fit", predicted.verdict() == "fits")
    fits = {"rows": int(known.sum()), "wrong": int((known & wrong).sum())}
    sized, read = np.isfinite(data.peak_memory_gib), data.peak_memory_gib
    by_source: Mapping[str, Any] = {
        str(name): errors(said[own], read[own])
        for name in np.unique(data.source[sized])
        for own in [sized & (data.source == name)]
    }
    pooled = errors(said[sized], read[sized]) if sized.any() else None
    return {"pooled": pooled, "by_source": by_source, "fits": fits}


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's: the correlation of ranks, ties sharing theirs; 0 where one side is constant."""
    first, second = _ranks(one), _ranks(other)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last + 1) / 2)[index]
