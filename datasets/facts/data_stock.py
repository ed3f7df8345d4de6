"""Public stocks of human-made text, how they grow, and how the data of the largest runs grow: published figures.

They are in `facts/data_stock.json`, whose head says what the figures mean and where they are from. Stocks are in
tokens and log-normal; a growth is the log of a factor per year, Gaussian, and may fall exponentially as years pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from statistics import NormalDist
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, model_validator

from ...core.errors import ConfigError
from ...core.reading.fields import FieldError, Frozen, Label, PositiveCount, PositiveReal, Real, Share
from ...core.reading.suggest import did_you_mean, nearest
from ...core.units import shown
from .catalogue import folded, read_facts

__all__ = [
    "Growth",
    "PublicStock",
    "find",
    "growths",
    "largest_runs",
    "nearly_new_epochs",
    "public_stock",
    "public_stocks",
    "repeat_star",
    "sources",
]

Evidence = Literal["read", "computed", "recalled", "stated"]
_Level = Annotated[Share, Field(ge=0.5, le=0.99)]
_Year = Annotated[Real, Field(ge=1950, le=2300)]
_Rate = Annotated[Real, Field(gt=-0.9, le=1000)]
_LEAST_FALL = 1e-12  # a year; below it a growth is constant


class Growth(Frozen):
    """Growth per year as a share, 0.07 for 7 %, in `year`; it falls to `final` in `final_year`, and on after that.

    The log of the factor per year is Gaussian with `log_rate` and `log_sd`, and falls by `fall` a year.
    """

    what: Label = Field(default="stated growth", description="What grows.")
    rate: _Rate = Field(description="Share per year, such as 0.07 for 7 %.")
    low: _Rate = Field(description="Lower end of the interval.")
    high: _Rate = Field(description="Upper end of the interval.")
    level: _Level = Field(default=0.95, description="Level of the interval.")
    year: _Year = Field(description="Year in which it is so.")
    final: _Rate = Field(description="What it has fallen to in final_year.")
    final_year: _Year = Field(default=2100, description="Year in which it has fallen that far.")
    sources: tuple[Label, ...] = Field(default=(), description="Where the figures are from.")
    evidence: Evidence = Field(default="stated", description="Whether they were read, computed, recalled or stated.")
    notes: Label | None = Field(default=None, description="What else to know.")

    @classmethod
    def constant(cls, rate: float) -> Self:
        """Growth by this share every year, without uncertainty, such as 1.4 for 140 %."""
        return cls(rate=rate, low=rate, high=rate, year=2024, final=rate)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.rate <= self.high:
            raise FieldError("rate", f"got {self.rate:g}; expected low {self.low:g} to high {self.high:g}")
        if self.final_year <= self.year:
            raise FieldError("final_year", f"got {self.final_year:g}; expected a year after {self.year:g}")
        if self.final != self.rate and not 0 < self.final < self.rate:
            raise FieldError("final", f"got {self.final:g}; expected 0 to rate {self.rate:g}, or the rate itself")
        return self

    @property
    def log_rate(self) -> float:
        """Log of the factor per year, in `year`."""
        return math.log1p(self.rate)

    @property
    def log_sd(self) -> float:
        """Standard deviation of that log."""
        return _log_sd(1 + self.low, 1 + self.high, self.level)

    @property
    def fall(self) -> float:
        """By which share per year that log falls, continuously; 0 where it is constant."""
        if self.final == self.rate:
            return 0.0
        fall = math.log(self.log_rate / math.log1p(self.final)) / (self.final_year - self.year)
        return fall if fall > _LEAST_FALL else 0.0


class PublicStock(Frozen):
    """How much text of a kind there is for the public: tokens or words, at the beginning of `year`, log-normal.

    >>> stock = public_stock("effective-text")
    >>> f"{stock.tokens:.3g}, {stock.growth.rate:.0%} a year"
    '3e+14, 7% a year'
    """

    name: Label = Field(description="Name.")
    what: Label = Field(description="What is counted.")
    median: PositiveCount | None = Field(default=None, description="Median (default: the middle of low and high).")
    low: PositiveCount = Field(description="Lower end of the interval.")
    high: PositiveCount = Field(description="Upper end of the interval.")
    level: _Level = Field(description="Level of the interval.")
    unit: Literal["tokens", "words"] = Field(description="What the figures count.")
    words_per_token: PositiveReal = Field(default=1.0, description="Words in a token, where the figures count words.")
    year: _Year = Field(description="Year at whose beginning it is so.")
    counts_repeats: StrictBool = Field(default=False, description="Whether the figure counts useful repeats already.")
    part: StrictBool = Field(default=False, description="Whether runs take only a part of their data from it.")
    growth: Growth = Field(description="How it grows.")
    aliases: tuple[Label, ...] = Field(default=(), description="Domains of plans that draw on it.")
    sources: tuple[Label, ...] = Field(default=(), description="Where the figures are from.")
    evidence: Evidence = Field(default="stated", description="Whether they were read, computed, recalled or stated.")
    notes: Label | None = Field(default=None, description="What else to know.")

    @classmethod
    def stated(cls, name: str, tokens: float, year: float) -> Self:
        """A stock of this many tokens, without uncertainty, that grows as text on the internet does."""
        facts = {"median": tokens, "low": tokens, "high": tokens, "level": 0.95, "unit": "tokens", "year": year}
        return cls.model_validate({"name": name, "what": "stated stock", **facts, "growth": growths()["text"]})

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= (self.median or self.low) <= self.high:
            raise FieldError("median", f"got {shown(self.median)}; expected low {self.low:g} to high {self.high:g}")
        return self

    @property
    def tokens(self) -> float:
        """The median, in tokens."""
        return self._in_tokens(math.sqrt(self.low * self.high) if self.median is None else self.median)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval of `level`, in tokens."""
        return self._in_tokens(self.low), self._in_tokens(self.high)

    @property
    def log_sd(self) -> float:
        """Standard deviation of the log of the stock."""
        return _log_sd(self.low, self.high, self.level)

    def _in_tokens(self, value: float) -> float:
        return value if self.unit == "tokens" else value / self.words_per_token


def public_stock(name: str) -> PublicStock:
    """The published stock of this name or alias, whatever its case and dashes. `ConfigError` for any other."""
    found = find(name)
    if found is not None:
        return found
    hint = did_you_mean(_index()[near].name for near in nearest(folded(name), _index()))
    known = ", ".join(public_stocks())
    raise ConfigError(f"got {shown(name)}, which no figure is published for; {hint}expected one of {known}")


def find(domain: str) -> PublicStock | None:
    """The published stock that a domain of this name draws on; None if its name doesn't determine one."""
    return _index().get(folded(domain))


@cache
def public_stocks() -> Mapping[str, PublicStock]:
    """Every published stock by its name, in the order of the file."""
    facts = _facts()
    words = facts["words_per_token"]["value"]
    stocks = {
        name: PublicStock.model_validate(
            {"name": name, "words_per_token": words, **entry, "growth": growths()[entry["growth"]]}
        )
        for name, entry in facts["stocks"].items()
    }
    return MappingProxyType(stocks)


@cache
def growths() -> Mapping[str, Growth]:
    """How stocks grow, by kind."""
    return MappingProxyType({name: Growth.model_validate(entry) for name, entry in _facts()["growth"].items()})


@cache
def largest_runs() -> PublicStock:
    """The data set of the largest runs, tokens, and how it grows."""
    facts = _facts()["largest_runs"]
    return PublicStock.model_validate({"name": "largest-runs", **facts["tokens"], "growth": facts["growth"]})


def nearly_new_epochs() -> float:
    """Number of epochs up to which repeated tokens are nearly as valuable as new ones (Muennighoff et al. 2023)."""
    return float(_facts()["repeats"]["nearly_new_epochs"]["value"])


def repeat_star() -> float:
    """R_D* of Muennighoff et al. 2023, equation 5: repeats after which one more has 1/e of a new token's value."""
    return float(_facts()["repeats"]["repeat_star"]["value"])


def sources() -> Mapping[str, str]:
    """What the short names of sources stand for."""
    return MappingProxyType(dict(_facts()["sources"]))


@cache
def _facts() -> dict[str, Any]:
    return read_facts("data_stock.json")


@cache
def _index() -> Mapping[str, PublicStock]:
    return {folded(name): stock for stock in public_stocks().values() for name in (stock.name, *stock.aliases)}


def _log_sd(low: float, high: float, level: float) -> float:
    """Of a Gaussian log whose central interval of this level runs from log `low` to log `high`."""
    return math.log(high / low) / (2 * NormalDist().inv_cdf((1 + level) / 2))
