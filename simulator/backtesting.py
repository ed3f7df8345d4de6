"""`simulate backtest`: every applicable law on the same rolling cuts, and which one `auto` takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .calibration import LEVELS, Calibration, public_calibration
from .fitting import Observations, Prior, Scores, backtest, choose, public_prior
from .laws import get_law
from .predictor import Progress

if TYPE_CHECKING:
    from ..datasets.run_table import RunTable


def backtest_table(
    table: RunTable, *, prior: Prior | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Back-test by target: `{target: {"chosen", "why", "laws": {name: {…}}}}`, errors as fractions of the loss.

    Coverage is honest about order: the interval of each cut is calibrated on the other cuts and the public tables.
    """
    prior = public_prior() if prior is None else prior
    results = {}
    for number, target in enumerate(table.targets):
        if progress is not None:
            progress(target, number / len(table.targets))
        observations = Observations.from_table(table, target)
        choice = choose(observations, prior, seed=seed)
        laws = {}
        for name in choice.scores:
            scores = backtest(get_law(name), observations, prior, draws=64, seed=seed)
            laws[name] = {
                "median_relative_error": _finite(scores.median_relative_error),
                "max_relative_error": _finite(scores.max_relative_error),
                "coverage": coverage(scores),
                "cuts": scores.cuts,
            }
        results[target] = {"chosen": choice.law, "why": choice.why, "laws": laws, "left_out": dict(choice.left_out)}
    return results


def flatten(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The JSON of `simulate backtest`: the first target's result at the top, all of them under `targets`."""
    return {**next(iter(results.values())), "targets": results}


def coverage(scores: Scores) -> dict[str, float] | None:
    """Share of back-tested runs inside the interval, by level; each cut is judged by a calibration that left it out."""
    if not scores.cuts:
        return None
    inside = np.zeros((len(LEVELS), len(scores.error)), dtype=bool)
    for cut in np.unique(scores.cut):
        here = scores.cut == cut
        calibration = Calibration.from_scores(scores.take(~here), public_calibration())
        inside[:, here] = scores.take(here).z() <= np.array([calibration.width(level) for level in LEVELS])[:, None]
    return {f"{level:g}": float(share) for level, share in zip(LEVELS, inside.mean(axis=1), strict=True)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
