"""What an estimate of a cluster is drawn from, and what two plans that are compared have in common of it.

On machines of one kind, plans share how far the cluster deviates from the fitted efficiencies (as far as their steps
depend on the same ones), how often it fails, and how far its price moves; which failures hit a run is its own luck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .step_time.step_model import Spread, StepTimeModel

__all__ = ["Chance"]

_MOST_DRAWN = 16  # seeds whose errors are known at once, 80 kB each
_PRICES, _LUCK, _OTHER_MACHINES = 2, 3, 4  # streams of a seed beside its own, which step times and failures use


@dataclass(frozen=True)
class Chance:
    """Standardised errors of the log step time `(draws,)`, and streams for failure rates, interruptions and prices."""

    step_errors: np.ndarray
    failure_rates: np.random.Generator
    interruptions: np.random.Generator
    prices: np.random.Generator

    @classmethod
    def own(cls, seed: int, fitted: StepTimeModel, draws: int) -> Chance:
        """Of a plan by itself."""
        errors, state = _drawn(seed, tuple(fitted.spread.quantiles.items()), draws)
        rng = np.random.default_rng(seed)
        rng.bit_generator.state = state
        return cls(errors, rng, rng, np.random.default_rng([seed, _PRICES]))

    @classmethod
    def beside(cls, seed: int, fitted: StepTimeModel, draws: int, place: int, shared: float | None) -> Chance:
        """Of a plan that is compared with one whose chance is `own` of the same seed, model and number of draws.

        Args:
            seed: The other plan's seed.
            fitted: Predicts the step times of both.
            draws: Number of random draws.
            place: Numbers the plans that are compared with the other one, from 1.
            shared: Correlation of the errors of both step times; None where the machines are of another kind.
        """
        if shared is None:
            rng = np.random.default_rng([seed, _OTHER_MACHINES, place])
            return cls(fitted.spread.draw(rng, draws), rng, rng, rng)
        from scipy.special import ndtri

        other, luck = cls.own(seed, fitted, draws), np.random.default_rng([seed, _LUCK, place])
        of_other = ndtri((_rank(other.step_errors) + 0.5) / draws)
        mixed = shared * of_other + math.sqrt(max(1.0 - shared**2, 0.0)) * luck.standard_normal(draws)
        return cls(np.sort(other.step_errors)[_rank(mixed)], other.failure_rates, luck, other.prices)


@lru_cache(maxsize=_MOST_DRAWN)
def _drawn(seed: int, quantiles: tuple[tuple[float, float], ...], draws: int) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Standardised errors of a seed, `(draws,)`, and the state of its stream after them: the same for every plan."""
    rng = np.random.default_rng(seed)
    errors = Spread(0.0, 0.0, dict(quantiles)).draw(rng, draws)
    errors.setflags(write=False)
    return errors, rng.bit_generator.state


def _rank(values: np.ndarray) -> np.ndarray:
    """Place of each value among all, from 0, `(n,)`."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")
