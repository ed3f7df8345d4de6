"""Warm starts: the run as configured, the compute-optimal split of its budget, natural mixes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ....core.errors import ForetrainError
from ...allocation.compute_optimal.optimal import compute_optimal
from ...forecast.for_plan import for_plan
from ..space.dimensions import Dimension, MixDimension, RangeDimension, SetDimension, Values
from ..space.spaces import Space
from ..study import Study

__all__ = ["recipes"]

_SIZES = ("model.params", "data.tokens")


def recipes(study: Study) -> list[tuple[str, dict[str, Any]]]:
    """Names and parameters, for `enqueue_trial`, of the plans to try first, without those outside the space."""
    space = study.space
    found: dict[str, dict[str, Any]] = {}
    for name, values in _plans(study):
        parameters = space.encode(_within(space, values))
        if parameters is not None and parameters not in found.values():
            found[name] = parameters
    return list(found.items())


def _plans(study: Study) -> Iterator[tuple[str, Values]]:
    mixes = _mixes(study.space.mix, study.space.run.data.mix)
    sizes = [("as it is", {}), *_compute_optimal(study)]
    for what, values in sizes:
        yield from ((f"{what}{mix_name}", {**values, **mix}) for mix_name, mix in mixes)


def _compute_optimal(study: Study) -> Iterator[tuple[str, Values]]:
    """The compute-optimal split of the run's own compute, and of the most that a limit on compute allows."""
    dimensions = {dimension.path: dimension for dimension in study.space.dimensions}
    if not all(path in dimensions for path in _SIZES):
        return
    budgets = {"compute-optimal": study.run.training_flops}
    for limit in study.limits:
        if limit.measure.name == "training_flops" and limit.side == "at_most":
            budgets["compute-optimal at the limit"] = 0.99 * limit.bound
    for name, flops in budgets.items():
        try:
            best = compute_optimal(for_plan(study.run, study.predictor), flops)
        except ForetrainError:  # a predictor of mixes alone has no compute optimum
            continue
        yield name, {"model.params": best.params.median, "data.tokens": best.tokens.median}


def _mixes(mix: MixDimension | None, own: Any) -> list[tuple[str, Values]]:
    """Mixes by name: the run's own if it has one, in proportion to stocks, and even; all within bounds."""
    if mix is None:
        return [("", {})]
    found: list[tuple[str, Values]] = [] if own is None else [("", {})]
    known = np.isfinite(mix.stocks)
    if known.all():
        found.append((", mixed by stock", {mix.path: mix.shares(_fitted(mix, mix.stocks / mix.stocks.sum()))}))
    even = np.full(len(mix.domains), 1.0 / len(mix.domains))
    return [*found, (", mixed evenly", {mix.path: mix.shares(_fitted(mix, even))})]


def _fitted(mix: MixDimension, shares: np.ndarray) -> np.ndarray:
    """The nearest proportional mix within bounds: shares times a common factor, clipped to their bounds."""
    low, high = 1e-9, 1e9
    for _ in range(100):
        middle = math.sqrt(low * high)
        total = np.clip(middle * shares, mix.low, mix.high).sum()
        low, high = (middle, high) if total < 1.0 else (low, middle)
    found = np.clip(high * shares, mix.low, mix.high)
    return found / found.sum()


def _within(space: Space, values: Values) -> dict[str, Any]:
    """The values with numbers clipped to their range; values that the run doesn't state are set to the middle."""
    found = {**space.current(), **values}
    for dimension in space.dimensions:
        found[dimension.path] = _nearest(dimension, found.get(dimension.path))
    return found


def _nearest(dimension: Dimension, value: Any) -> Any:
    if isinstance(dimension, SetDimension) and dimension.encode({dimension.path: value}) is None:
        return dimension.choices[0]
    if not isinstance(dimension, RangeDimension):
        return value
    middle = math.sqrt(dimension.low * dimension.high) if dimension.log else 0.5 * (dimension.low + dimension.high)
    return dimension.snapped(middle if isinstance(value, bool) or not isinstance(value, int | float) else value)
