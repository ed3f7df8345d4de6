"""When growing data sets use up a growing stock of text: a closed form, and its interval by Monte Carlo.

Data sets grow by a constant factor per year, D = D₀·exp(r·t); the stock by one that falls, S = S₀·exp(g/k·(1 - e^-kt)).
They meet where r·t + (g/k)·e^-kt = g/k - log(D₀/S₀), which Lambert's W solves. Published stocks, growths and data sets
of the largest runs are uncertain; what is stated is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ...core.errors import ConfigError
from ...core.quantity import LEVELS
from ...datasets.facts.data_stock import PublicStock, largest_runs

__all__ = ["DRAWS", "Demand", "UsedUp", "YearsLater", "crossing_years", "stock_at", "used_up"]

DRAWS = 20_000
"""Draws of an interval: its ends are then good to a few hundredths of a year."""
_MOST_GROWTH = 1000.0
_LEAST_ARGUMENT = -math.exp(-1) * (1 - 1e-15)  # of Lambert's W; rounding alone goes below it


@dataclass(frozen=True)
class Demand:
    """Data sets that grow: `tokens` in `year` (log-normal with `log_sd`), the log of their factor per year Gaussian."""

    tokens: float
    year: float
    log_rate: float
    log_rate_sd: float = 0.0
    log_sd: float = 0.0

    @classmethod
    def largest(cls) -> Self:
        """The data sets of the largest runs, as published."""
        known = largest_runs()
        return cls(known.tokens, known.year, known.growth.log_rate, known.growth.log_sd, known.log_sd)

    @classmethod
    def growing(cls, tokens: float, year: float, growth: float | None = None) -> Self:
        """Exactly these tokens in this year, growing by a share per year: 1.4 for 140 %, None as the largest runs do.

        Raises `ConfigError` for a growth that isn't above 0.
        """
        known = largest_runs().growth
        if growth is None:
            return cls(tokens, year, known.log_rate, known.log_sd)
        if not 0 < growth <= _MOST_GROWTH:
            raise ConfigError(
                f"growth: got {growth:g}; expected a share per year above 0 and at most {_MOST_GROWTH:g}, "
                "such as 1.4 for 140 %"
            )
        return cls(tokens, year, math.log1p(growth))


@dataclass(frozen=True)
class UsedUp:
    """The year in which a stock is used up, as a decimal: its median and central intervals; infinite for never."""

    median_year: float
    intervals: Mapping[float, tuple[float, float]]
    p_already: float
    """Chance that it is used up from the start."""
    years: np.ndarray = field(repr=False, compare=False, default_factory=lambda: np.empty(0))
    """Its draws, years from the start, `(draws,)`; those of one seed belong together, draw by draw."""

    @classmethod
    def of_draws(cls, start: float, years: np.ndarray) -> Self:
        """Of draws of the years from a start on, `(draws,)`: 0 for already, infinite for never."""
        median, intervals = _central(years)
        ends = {level: (start + low, start + high) for level, (low, high) in intervals.items()}
        return cls(start + median, ends, float((years == 0).mean()), years)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for never."""
        return {
            "median_year": _known(self.median_year),
            "intervals": {f"{level:g}": [_known(low), _known(high)] for level, (low, high) in self.intervals.items()},
            "p_already": self.p_already,
        }


@dataclass(frozen=True)
class YearsLater:
    """By how many years a stock is used up later, below 0 sooner: median and central intervals of paired draws.

    Years are counted from the start, before which nothing is used up; infinite where it is never used up on one side.
    """

    median: float
    intervals: Mapping[float, tuple[float, float]]

    @classmethod
    def between(cls, before: UsedUp, after: UsedUp) -> Self:
        """From `before` to `after`, whose draws are of one seed.

        >>> before, after = (UsedUp.of_draws(2026.0, np.array(years)) for years in ([1.0, np.inf], [1.5, np.inf]))
        >>> YearsLater.between(before, after).intervals[0.9]
        (0.0, 0.5)
        """
        never = np.isinf(before.years) & np.isinf(after.years)
        with np.errstate(invalid="ignore"):
            return cls(*_central(np.where(never, 0.0, after.years - before.years)))

    @property
    def verdict(self) -> str:
        """`sooner` or `later` where the 90 % interval says so, `undecided` where it holds 0, else `no change`."""
        low, high = self.intervals[0.9]
        if low == high == 0.0:
            return "no change"
        return "sooner" if high < 0 else "later" if low > 0 else "undecided"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, years; None where it is never used up on one side."""
        return {
            "median": _known(self.median),
            "intervals": {f"{level:g}": [_known(low), _known(high)] for level, (low, high) in self.intervals.items()},
            "verdict": self.verdict,
        }


def used_up(
    demand: Demand, stock: PublicStock, rng: np.random.Generator, epochs: float = 1.0, draws: int = DRAWS
) -> UsedUp:
    """When `demand` reaches `stock`, of which each token may be seen `epochs` times, counted from `demand.year`.

    A stock that counts repeats already is taken as it is.
    """
    z = rng.standard_normal((4, draws))
    times = 0.0 if stock.counts_repeats else math.log(epochs)
    rate = stock.growth.log_rate + stock.growth.log_sd * z[0]
    log_stock, rate = _moved(math.log(stock.tokens) + stock.log_sd * z[1], rate, stock, demand.year)
    log_demand = math.log(demand.tokens) + demand.log_sd * z[2]
    # data sets have grown every year so far; a draw of the published rate below 0 would be six deviations off
    demand_rate = np.maximum(demand.log_rate + demand.log_rate_sd * z[3], 1e-9)
    years = crossing_years(log_demand - log_stock - times, demand_rate, rate, stock.growth.fall)
    return UsedUp.of_draws(demand.year, years)


def stock_at(stock: PublicStock, year: float) -> float:
    """The median of a stock in another year, tokens."""
    log_stock, _ = _moved(np.array(math.log(stock.tokens)), np.array(stock.growth.log_rate), stock, year)
    return float(np.exp(log_stock))


def crossing_years(log_ratio: np.ndarray, demand_rate: np.ndarray, supply_rate: np.ndarray, fall: float) -> np.ndarray:
    """Years until demand reaches supply, `(n,)`: 0 where it has, infinite where it never does.

    `log_ratio` is the log of demand over supply now, the rates are logs of factors per year, `demand_rate` above 0;
    supply's falls by `fall` a year, continuously.

    >>> crossing_years(np.array([-1.0]), np.array([0.5]), np.array([0.0]), 0.0)
    array([2.])
    """
    log_ratio, demand_rate, supply_rate = np.broadcast_arrays(log_ratio, demand_rate, supply_rate)
    if fall > 0:
        years = _crossing_falling(log_ratio, demand_rate, supply_rate, fall)
    else:
        gain = demand_rate - supply_rate
        with np.errstate(divide="ignore", invalid="ignore"):
            years = np.where(gain > 0, -log_ratio / gain, np.inf)
    return np.where(log_ratio >= 0, 0.0, years)


def _crossing_falling(log_ratio: np.ndarray, demand_rate: np.ndarray, supply_rate: np.ndarray, fall: float):
    """The same for supply whose growth falls: demand reaches it in the end, since all growth of supply is finite.

    The principal branch is the last crossing; it is the only one where supply was ahead.
    """
    from scipy.special import lambertw

    limit = supply_rate / fall  # log of the factor by which supply grows in the end
    latest = (limit - log_ratio) / demand_rate
    with np.errstate(over="ignore"):
        argument = -supply_rate / demand_rate * np.exp(-fall * latest)
    return np.maximum(latest + lambertw(np.maximum(argument, _LEAST_ARGUMENT)).real / fall, 0.0)


def _moved(log_stock: np.ndarray, rate: np.ndarray, stock: PublicStock, year: float) -> tuple[np.ndarray, np.ndarray]:
    """The log of a stock and its growth, known for the years of their figures, in `year`."""
    growth = stock.growth
    if not growth.fall:
        return log_stock + rate * (year - stock.year), rate
    in_stock_year = rate * math.exp(-growth.fall * (stock.year - growth.year))
    passed = math.exp(-growth.fall * (year - stock.year))
    return log_stock + in_stock_year / growth.fall * (1.0 - passed), in_stock_year * passed


def _central(years: np.ndarray) -> tuple[float, dict[float, tuple[float, float]]]:
    """The median of draws and their central intervals, without interpolation: between a year and never is nothing."""
    edges = [share for level in LEVELS for share in ((1 - level) / 2, (1 + level) / 2)]
    median, *found = np.quantile(years, [0.5, *edges], method="inverted_cdf").tolist()
    return median, dict(zip(LEVELS, zip(found[::2], found[1::2], strict=True), strict=True))


def _known(year: float) -> float | None:
    return year if math.isfinite(year) else None
