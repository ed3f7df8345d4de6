"""The public stocks of text and when they are used up: by the largest runs, or by runs that grow from a plan's."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.errors import ConfigError
from ...datasets.facts.data_stock import PublicStock, nearly_new_epochs, public_stocks, sources
from .exhaustion import Demand, UsedUp, stock_at, used_up

__all__ = ["PublicOutlook", "PublicUse", "most_epochs", "public_outlook", "public_use"]

_MOST_EPOCHS = 1000.0


@dataclass(frozen=True)
class PublicUse:
    """How data sets that grow stand to the public stock that they draw on."""

    stock: PublicStock
    tokens: float
    """The stock's median in the year from which data sets grow, of which a selection leaves as much."""
    share: float
    """Of the tokens that the stock gives at the most epochs, the part that they see then."""
    used_up: UsedUp | None
    """When they use it up; None where they take nothing from it, or only a part of their data."""
    drawn_tokens: float = 0.0
    """What they draw of it in that year, repeats counted."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "stock": self.stock.name,
            "tokens": self.tokens,
            "drawn_tokens": self.drawn_tokens,
            "share": self.share,
            "used_up": None if self.used_up is None else self.used_up.to_dict(),
            "evidence": self.stock.evidence,
            "sources": list(self.stock.sources),
        }


@dataclass(frozen=True)
class PublicOutlook:
    """The published stocks, and when the largest runs, whose data are `demand`, use up those for all of their data."""

    demand: Demand
    max_epochs: float
    stocks: Mapping[str, PublicUse]
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        return {
            "largest_runs": {"tokens": self.demand.tokens, "year": self.demand.year},
            "growth_per_year": math.exp(self.demand.log_rate),
            "max_epochs": self.max_epochs,
            "stocks": {name: {**_figures(use.stock), **use.to_dict()} for name, use in self.stocks.items()},
            "sources": dict(sources()),
            "seed": self.seed,
        }


def public_outlook(max_epochs: float | None = None, growth: float | None = None, seed: int = 0) -> PublicOutlook:
    """Hold the largest runs against every published stock.

    `max_epochs` is how often a token may be seen (4), `growth` by which share their data grow per year (as published).
    Raises `ConfigError` for values out of bounds.
    """
    most = most_epochs(max_epochs)
    demand = Demand.largest()
    if growth is not None:
        demand = replace(Demand.growing(demand.tokens, demand.year, growth), log_sd=demand.log_sd)
    found = {name: public_use(demand, stock, most, seed, name) for name, stock in public_stocks().items()}
    # of one kind of text runs take only a part, which is theirs to say
    found = {name: replace(use, used_up=None) if use.stock.part else use for name, use in found.items()}
    return PublicOutlook(demand, most, found, seed)


def public_use(
    demand: Demand, stock: PublicStock, max_epochs: float, seed: int, name: str, keep: float = 1.0
) -> PublicUse:
    """Hold growing data sets against a stock, of which a selection leaves the share `keep`.

    The draws come from `seed` and `name`, whatever else is asked, so that two uses of a name differ draw by draw.
    """
    now = stock_at(stock, demand.year) * keep
    usable = now * (1.0 if stock.counts_repeats else max_epochs)
    if not demand.tokens > 0:
        return PublicUse(stock, now, 0.0, None)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode("utf-8"))])
    # what is left of a stock is reached when as many times more would have reached all of it
    end = used_up(replace(demand, tokens=demand.tokens / keep), stock, rng, max_epochs)
    return PublicUse(stock, now, demand.tokens / usable, end, demand.tokens)


def most_epochs(stated: float | None) -> float:
    """How often a token may be seen: as stated, or until a repeat is no longer nearly as good as new. `ConfigError`."""
    most = nearly_new_epochs() if stated is None else stated
    if not 1 <= most <= _MOST_EPOCHS:
        raise ConfigError(f"max_epochs: got {most:g}; expected 1 to {_MOST_EPOCHS:g}")
    return most


def _figures(stock: PublicStock) -> dict[str, Any]:
    """What was published of a stock, in tokens, for its own year."""
    return {
        "what": stock.what,
        "published_tokens": stock.tokens,
        "published_interval": list(stock.interval),
        "level": stock.level,
        "year": stock.year,
        "counts_repeats": stock.counts_repeats,
        "growth": stock.growth.rate,
        "growth_year": stock.growth.year,
    }
