"""A plan with text that models wrote: what it is held against, and where it lies beyond the measured chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ....core.units import format_count, shown
from ...config.run_config import RunConfig
from ...laws import Columns
from ...predictor.predictor import Predictor
from ..law_inputs import run_columns
from .levels import level_stated, place_of, shares_shown

__all__ = ["setting_of", "synthetic_doubts", "without_synthetic"]

_PLACE = "data.synthetic"
_MUCH_LARGER = 3.0
_ROUNDING = 0.01  # by which shares are rounded


def without_synthetic(config: RunConfig, predictor: Predictor) -> dict[str, np.ndarray]:
    """The columns of the same plan without synthetic text: real text alone, of which there may be less."""
    data = config.data.model_copy(update={"synthetic": None})
    return run_columns(config.model_copy(update={"data": data}), predictor, [])


def setting_of(columns: Columns) -> str:
    """Share, generation and regime of a plan, in words."""
    share, generation = float(columns["synthetic_share"][0]), int(columns["generation"][0])
    return f"{100 * share:.3g} % of the tokens at generation {generation} under {level_stated('regime', columns)}"


def synthetic_doubts(predictor: Predictor, columns: Columns, runs: Mapping[str, Any] | None) -> Iterator[str]:
    """Where a plan lies beyond the fitted runs: in its size, its regime, its generation, or its share.

    Args:
        predictor: The predictor.
        columns: The plan's, `(1,)` each.
        runs: The fitted runs of its generator, see `runs_behind`.
    """
    if runs is not None and float(columns["params"][0]) > _MUCH_LARGER * runs["params"][1]:
        yield (
            f"{_PLACE}: this model is larger than those of the fitted chains, at most "
            f"{format_count(runs['params'][1])} parameters; whether a rise grows or shrinks with size is open "
            "(arXiv:2410.04840), and part of the interval"
        )
    regime = level_stated("regime", columns)
    of_regimes: Any = predictor.about.get("levels")
    facts = of_regimes.get("regime") if isinstance(of_regimes, Mapping) else None
    behind = runs
    if isinstance(facts, Mapping):
        behind = facts.get(regime)
        if behind is None:
            known = ", ".join(shown(one) for one in facts if one not in ("real", "fresh"))
            yield (
                f"{place_of('regime')}: no fitted run had {shown(regime)}, so what it does rests on 5-grams and small "
                f"transformers, with a wide interval; known are {known}"
            )
    if behind is None:
        return
    generation, share = float(columns["generation"][0]), float(columns["synthetic_share"][0])
    if "generation" in behind and generation > behind["generation"][1]:
        yield (
            f"{place_of('generation')}: {generation:.0f} lies beyond the fitted runs, whose generations are "
            f"{shares_shown(behind['generation'])}: the rise from there on is the law's"
        )
    ends = behind.get("synthetic_share")
    if ends is not None and not ends[0] - _ROUNDING <= share <= ends[1] + _ROUNDING:
        yield f"{place_of('synthetic_share')}: {share:.3g} lies outside the fitted runs, {shares_shown(ends)}"
