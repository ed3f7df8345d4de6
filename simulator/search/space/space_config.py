"""What a search may change, as it is written in a study: a range, a set of values, or shares that sum to 1.

    space:
      data.tokens: {low: 1T, high: 20T, log: true}
      hardware.count: {low: 64, high: 1024, step: 64}
      optim.schedule: [cosine, wsd]
      hardware: [{accelerator: A100-SXM-80, price_usd_per_hour: 2}, {accelerator: H100-SXM-80, price_usd_per_hour: 3}]
      data.mix: {simplex: {web: {min: 0.3}, code: {max: 0.4, unique_tokens: 200B, max_epochs: 8}}, max_epochs: 4}

Keys are paths of a run configuration. `spaces` makes Optuna's parameters of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from ....core.errors import ConfigError
from ....core.reading.config_messages import Origins
from ....core.reading.config_reader import validated
from ....core.reading.fields import FieldError, Frozen, Label, PositiveCount, PositiveReal, Share
from ....core.units import parse_count, shown

__all__ = ["ALL_DOMAINS", "DomainSpec", "RangeSpec", "SimplexSpec", "Spec", "ValueSet", "read_spec"]

ALL_DOMAINS = "all"
"""In place of a simplex's domains: every domain whose share the predictor's laws read."""

_MOST_VALUES, _MOST_DOMAINS = 1_000, 1_000
_SLACK = 1e-9

_Epochs = Annotated[PositiveReal, Field(le=10_000)]


def _number(value: Any) -> float:
    """A plain number, or a count such as "7B"."""
    if isinstance(value, bool):
        raise ConfigError(f"got {shown(value)}; expected a number")
    try:
        return float(value) if isinstance(value, int | float) else parse_count(value)
    except OverflowError:  # an integer of hundreds of digits
        raise ConfigError(f"got {shown(value)}; expected a finite number") from None


_Number = Annotated[float, BeforeValidator(_number)]


class RangeSpec(Frozen):
    """Every number from `low` to `high`; with `step`, only `low` and what is whole steps above it."""

    low: _Number = Field(description="The least.")
    high: _Number = Field(description="The most.")
    log: StrictBool = Field(default=False, description="Evenly spread in the logarithm.")
    step: _Number | None = Field(default=None, description="Distance between values (default: any value).")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise FieldError("high", f"got {self.high:g}; expected more than low {self.low:g}, or no range at all")
        if self.log and self.low <= 0:
            raise FieldError("low", f"got {self.low:g}; expected a number above 0, since log is true")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise FieldError("step", f"got {self.step:g}; expected above 0 and at most {self.high - self.low:g}")
        return self


class ValueSet(Frozen):
    """One of several values, each as it would stand in a run configuration."""

    values: tuple[Any, ...] = Field(min_length=1, max_length=_MOST_VALUES, description="What may be taken.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        known = [repr(value) for value in self.values]
        twice = next((text for text in known if known.count(text) > 1), None)
        if twice is not None:
            raise FieldError("values", f"got {twice} twice; expected each value once")
        return self


class DomainSpec(Frozen):
    """Bounds of one domain's share, and its stock."""

    min: Share = Field(default=0.0, description="The least share.")
    max: Share = Field(default=1.0, description="The largest share.")
    unique_tokens: PositiveCount | None = Field(
        default=None, description="Distinct tokens in stock (default: what the run says, else unlimited)."
    )
    max_epochs: _Epochs | None = Field(
        default=None, description="How often its stock may be seen at most (default: the mix's max_epochs)."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise FieldError("min", f"got {self.min:g}; expected at most max {self.max:g}")
        return self


class SimplexSpec(Frozen):
    """Shares of domains, which sum to 1."""

    simplex: dict[Label, DomainSpec] = Field(
        description="The domains with the bounds of their shares, a list of them, or all: every one the laws read."
    )
    """Empty for all."""
    max_epochs: _Epochs | None = Field(
        default=None, description="How often a domain's stock may be seen at most (default: any number of times)."
    )

    @model_validator(mode="before")
    @classmethod
    def _spelling(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "simplex" not in value:
            return value
        wanted = value["simplex"]
        if wanted == ALL_DOMAINS:
            return {**value, "simplex": {}}
        if isinstance(wanted, list | tuple):
            if len(set(map(repr, wanted))) < len(wanted):
                raise FieldError("simplex", "names a domain twice")
            if not all(isinstance(domain, str) for domain in wanted):
                raise FieldError("simplex", f"got {shown(wanted)}; expected a list of domains, each as text")
            wanted = dict.fromkeys(wanted)
        if not isinstance(wanted, Mapping):
            raise FieldError("simplex", f"got {shown(wanted)}; expected domains with bounds, or all")
        if not 2 <= len(wanted) <= _MOST_DOMAINS:
            raise FieldError("simplex", f"got {_counted(len(wanted))}; expected 2 to {_MOST_DOMAINS}")
        return {**value, "simplex": {domain: {} if bounds is None else bounds for domain, bounds in wanted.items()}}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.simplex:
            return self
        least = math.fsum(domain.min for domain in self.simplex.values())
        most = math.fsum(domain.max for domain in self.simplex.values())
        if least > 1 + _SLACK or most < 1 - _SLACK:
            what = f"minima sum to {least:g}" if least > 1 else f"maxima sum to {most:g}"
            expected = "at most" if least > 1 else "at least"
            raise FieldError("simplex", f"{what}, so that no shares sum to 1; expected {expected} 1")
        return self


def _counted(domains: int) -> str:
    return "1 domain" if domains == 1 else f"{domains} domains"


Spec = RangeSpec | ValueSet | SimplexSpec
"""What may be taken at one path of a run configuration."""


def read_spec(path: str, value: Any, origins: Origins) -> Spec:
    """Read one entry of a study's space. Raises ConfigError with its place in the file."""
    within = ("space", path)
    if isinstance(value, list | tuple):
        return _value_set(path, tuple(value), origins, within)
    if isinstance(value, Mapping) and (path == "data.mix" or "simplex" in value):
        if path != "data.mix":
            raise ConfigError(f"{origins.of(within)}: space.{path}: is no mix; only data.mix is a simplex")
        return validated(SimplexSpec, value, origins, within)
    if isinstance(value, Mapping):
        return validated(RangeSpec, value, origins, within)
    expected = "a range {low: 1T, high: 4T, log: true}, a list of values, or a simplex"
    raise ConfigError(f"{origins.of(within)}: space.{path}: got {shown(value)}; expected {expected}")


def _value_set(path: str, values: tuple[Any, ...], origins: Origins, within: tuple[str, ...]) -> ValueSet:
    if not 1 <= len(values) <= _MOST_VALUES:
        expected = f"expected 1 to {_MOST_VALUES:,}"
        raise ConfigError(f"{origins.of(within)}: space.{path}: got {len(values):,} values; {expected}")
    try:
        return validated(ValueSet, {"values": values}, origins, within)
    except ConfigError as error:
        # an author writes a plain list, which has no key `values`
        raise ConfigError(str(error).replace(f"space.{path}.values: ", f"space.{path}: ")) from None
