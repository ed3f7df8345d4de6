"""How much of public text models may have written by a year: a stated scenario, and what it leaves of human text.

Of the text that is new in a year a share is theirs, which rises and then stays (`datasets/facts/synthetic.json`). What
was there before they wrote is human. With S(t) the public stock and s(t) that share, human text is

    H(t) = S(t) - ∫ s dS    from the year in which they began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...datasets.facts.data_stock import PublicStock, public_stock
from ...datasets.facts.synthetic import PublicSyntheticText, synthetic_facts
from .exhaustion import stock_at

__all__ = ["SyntheticOutlook", "SyntheticYear", "synthetic_outlook"]

_STOCK = "indexed-web"
_YEARS = (2024.0, 2025.0, 2026.0, 2028.0, 2030.0)
_STEPS = 400  # of the integral


@dataclass(frozen=True)
class SyntheticYear:
    """The scenario in one year. Shares are a middle and the two ends of an interval."""

    year: float
    of_new_text: tuple[float, float, float]
    """Of the text that is new in that year."""
    of_stock: tuple[float, float, float]
    """Of all public text that there is then."""
    stock_tokens: float
    """The median of the public stock."""

    @property
    def human_tokens(self) -> tuple[float, float, float]:
        """Tokens of the stock that people wrote: a middle, and the ends of its interval."""
        middle, low, high = self.of_stock
        return self.stock_tokens * (1 - middle), self.stock_tokens * (1 - high), self.stock_tokens * (1 - low)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "year": self.year,
            "share_of_new_text": list(self.of_new_text),
            "share_of_stock": list(self.of_stock),
            "stock_tokens": self.stock_tokens,
            "human_tokens": list(self.human_tokens),
        }


@dataclass(frozen=True)
class SyntheticOutlook:
    """The scenario over years, of one public stock."""

    scenario: PublicSyntheticText
    stock: PublicStock
    years: tuple[SyntheticYear, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        scenario = self.scenario
        return {
            "stock": self.stock.name,
            "from_year": scenario.from_year,
            "level_year": scenario.level_year,
            "level": scenario.level,
            "why": scenario.why,
            "years": [one.to_dict() for one in self.years],
            "sources": list(scenario.sources),
        }


def synthetic_outlook(years: Sequence[float] = _YEARS) -> SyntheticOutlook:
    """How much of public text models may have written by some years.

    Args:
        years: The years, as decimals.

    >>> found = synthetic_outlook([2022.0, 2026.0])
    >>> [one.of_stock[0] > 0 for one in found.years], found.years[1].of_new_text[0]
    ([False, True], 0.35)
    """
    scenario, stock = synthetic_facts().public_text, public_stock(_STOCK)
    return SyntheticOutlook(scenario, stock, tuple(_in_year(scenario, stock, year) for year in sorted(set(years))))


def _in_year(scenario: PublicSyntheticText, stock: PublicStock, year: float) -> SyntheticYear:
    now = stock_at(stock, year)
    grid = np.linspace(min(scenario.from_year, year), year, _STEPS + 1)
    new = np.diff([stock_at(stock, moment) for moment in grid])
    shares = np.array([scenario.of_new_text(moment) for moment in 0.5 * (grid[1:] + grid[:-1])])
    middle, low, high = (new @ shares / now).tolist()
    return SyntheticYear(year, scenario.of_new_text(year), (middle, low, high), now)
