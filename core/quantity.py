"""A forecast number: its median and central intervals; and by how much one such number differs from another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from typing_extensions import override

__all__ = ["EQUALLY_LIKELY", "LEVELS", "Difference", "Quantity", "equal_shares", "median", "spread_normal"]

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the central intervals that forecasts, scores and back-tests report."""

EQUALLY_LIKELY = 50
"""How many equally likely outcomes a difference keeps."""


def equal_shares(n: int) -> np.ndarray:
    """The quantiles of n equally likely outcomes, the middles of n equal shares `(n,)`.

    >>> equal_shares(4).tolist()
    [0.125, 0.375, 0.625, 0.875]
    """
    return (np.arange(n) + 0.5) / n


def spread_normal(n: int, rng: np.random.Generator) -> np.ndarray:
    """n equally likely values of a standard normal in random order `(n,)`: their median is 0 to the last digit.

    >>> sorted(spread_normal(3, np.random.default_rng(0)).round(2).tolist())
    [-0.97, 0.0, 0.97]
    """
    from scipy.special import ndtri

    return rng.permutation(ndtri(equal_shares(n)))


def median(draws: np.ndarray) -> float:
    """The median of equally likely draws: what numpy's gives, at a third of its time."""
    ordered = np.sort(draws)
    return float((ordered[(len(draws) - 1) // 2] + ordered[len(draws) // 2]) / 2.0)


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


@dataclass(frozen=True)
class Quantity:
    """A forecast number: its median, and central intervals by level."""

    median: float
    intervals: Mapping[float, tuple[float, float]]

    @classmethod
    def of_draws(cls, draws: np.ndarray) -> Quantity:
        """Median and intervals of equally likely draws."""
        edges = [share for level in LEVELS for share in ((1 - level) / 2, (1 + level) / 2)]
        # sorting once is several times as fast as numpy's quantile, which it equals
        place = np.array([0.5, *edges]) * (len(draws) - 1)
        below = np.floor(place).astype(int)
        ordered = np.sort(draws)
        low, high = ordered[below], ordered[np.minimum(below + 1, len(draws) - 1)]
        if np.isinf(ordered[[0, -1]]).any():  # between a number and infinity there is none
            between = np.where(place - below < 0.5, low, high)
        else:
            between = low + (high - low) * (place - below)
        median, *found = between.tolist()
        return cls(median, dict(zip(LEVELS, zip(found[::2], found[1::2], strict=True), strict=True)))

    def quantile(self, share: float) -> float:
        """The value below which it lies with chance `share`, by the intervals; between them along a normal's quantiles.

        Beyond the widest interval that interval's end, so that nothing is made up.
        """
        ends = {0.5: self.median}
        for level, (low, high) in self.intervals.items():
            ends |= {(1 - level) / 2: low, (1 + level) / 2: high}
        known = sorted(ends)
        normal = NormalDist()
        return float(np.interp(normal.inv_cdf(share), [normal.inv_cdf(p) for p in known], [ends[p] for p in known]))

    def mapped(self, rising: Callable[[float], float]) -> Quantity:
        """The quantity under a function that never falls: so the ends of its intervals stay their ends."""
        intervals = {level: (rising(low), rising(high)) for level, (low, high) in self.intervals.items()}
        return Quantity(rising(self.median), intervals)

    def to_dict(self) -> dict[str, Any]:
        """`{"median": …, "intervals": {"0.9": [low, high], …}}`; None for what is infinite, which JSON can't write."""
        intervals = {f"{level:g}": [_finite(end) for end in ends] for level, ends in self.intervals.items()}
        return {"median": _finite(self.median), "intervals": intervals}


@dataclass(frozen=True)
class Difference(Quantity):
    """By how much a number of one plan exceeds that of another: the difference of their medians, with intervals."""

    chance_lower: float
    """Chance that the plan's own number is the lower one; one half where both are the same."""
    equally_likely: tuple[float, ...] = field(default=(), compare=False, repr=False)
    """EQUALLY_LIKELY outcomes in order, of the distribution of the intervals; empty where only these are known.

    The share of them below 0, with half of those at 0, is `chance_lower` to within one of them."""

    @property
    def verdict(self) -> str:
        """`better` where the 90 % interval lies below 0, `worse` where above; `undecided` where it contains 0.

        >>> Difference(-0.02, {0.9: (-0.05, 0.01)}, 0.86).verdict
        'undecided'
        """
        low, high = self.intervals[0.9]
        return "better" if high < 0.0 else "worse" if low > 0.0 else "undecided"

    @classmethod
    def around(cls, centre: float, draws: np.ndarray) -> Difference:
        """Intervals and chance of equally likely draws of a difference, moved so that their median is `centre`."""
        moved = draws + (centre - median(draws))
        lower = float(np.mean(moved < 0.0)) + 0.5 * float(np.mean(moved == 0.0))
        outcomes = np.quantile(moved, equal_shares(EQUALLY_LIKELY)).tolist()
        return cls(centre, Quantity.of_draws(moved).intervals, lower, tuple(outcomes))

    @override
    def to_dict(self) -> dict[str, Any]:
        """As of a `Quantity`, and `chance_lower`."""
        return {**super().to_dict(), "chance_lower": self.chance_lower}
