"""Published prices of accelerators by name, each with the day on which it was seen and where.

They are in `facts/prices.json`, whose head says what the figures mean. A plan pays one only where it names it
(`prices.preset`), since they change monthly.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ...core.reading.fields import Day, FieldError, Label, Real
from ...core.units import shown
from .accelerators import Accelerator, find
from .catalogue import Catalogue, Entry, read_facts

__all__ = ["PublishedPrice", "price", "prices", "sources"]


class PublishedPrice(Entry):
    """What a provider published for an hour of one accelerator.

    >>> price("lambda-h100-on-demand-2026").purchase
    'on_demand'
    """

    provider: Label = Field(description="Who sells it.")
    accelerator: Label = Field(description="Name of the accelerator in the catalogue.")
    usd_per_hour: Annotated[Real, Field(gt=0, le=1000)] = Field(
        description="US dollars per accelerator and hour, its host included."
    )
    purchase: Literal["reserved", "on_demand", "spot"] = Field(description="How it is paid for.")
    date: Day = Field(description="Day on which it was seen to be published.")

    @model_validator(mode="after")
    def _of_a_known_accelerator(self) -> Self:
        known = find(self.accelerator)
        if known is None or known.name != self.accelerator:
            raise FieldError("accelerator", f"got {shown(self.accelerator)}; expected a name of the catalogue")
        return self

    def is_of(self, machine: Accelerator) -> bool:
        """Whether it is the price of this accelerator."""
        return self.accelerator == machine.name

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        plain = self.model_dump(mode="json", include={"name", "what", "provider", "accelerator", "purchase", "date"})
        return {**plain, "usd_per_device_hour": self.usd_per_hour, "sources": [*self.sources], "notes": self.notes}

    @property
    def in_words(self) -> str:
        """What it is, in a line: price, way of purchase, date and source."""
        how = {"on_demand": "on demand", "reserved": "reserved", "spot": "spot"}[self.purchase]
        return f"{self.usd_per_hour:g} USD {how}, {self.what}, as of {self.date} ({self.sources[0]})"


@cache
def prices() -> Catalogue[PublishedPrice]:
    """Every known price by its name, in the order of the file."""
    entries = read_facts("prices.json")["prices"].items()
    return Catalogue(PublishedPrice.model_validate({"name": name, **entry}) for name, entry in entries)


def price(name: str) -> PublishedPrice:
    """Look up a published price.

    Args:
        name: Name or alias, whatever its case, blanks and signs.

    Raises:
        ConfigError: There is no such price; the message names the nearest ones.
    """
    return prices().require(name, "a name that `simulate list prices` shows")


def sources() -> Mapping[str, str]:
    """What the short names of sources stand for."""
    return MappingProxyType(read_facts("prices.json")["sources"])
