"""The sections of a proxy space, and how its lists and mixes are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from ...core.errors import ConfigError
from ...core.reading.config_messages import Origins
from ...core.reading.config_reader import validated
from ...core.reading.fields import (
    FieldError,
    Frozen,
    Label,
    PositiveCount,
    PositiveReal,
    Real,
    Share,
    Whole,
    whole_schema,
)
from ...core.units import shown
from ..runs import Recipe

__all__ = [
    "BATCH",
    "Counts",
    "DomainShares",
    "LearningRates",
    "MixSpec",
    "SampledMixes",
    "ShareRange",
    "SobolPoints",
    "ValueRange",
    "Widths",
    "lowest_lr",
    "read_lr",
]

BATCH = "batch_sequences"
"""The one thing that a Sobol design may vary outside the recipe."""

_MAX_LR = 100.0
_MAX_ENTRIES = 64
_SUM_TOLERANCE = 0.01

_Setting = Literal["lr", "warmup_tokens", "weight_decay", "beta1", "beta2", "clip_norm", "averaging", "batch_sequences"]
_Number = TypeVar("_Number", bound=float)


def _listed(value: Any) -> Any:
    """Refuse what isn't a list of some values."""
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MAX_ENTRIES:
        raise ConfigError(f"got {shown(value)}; expected a list of 1 to {_MAX_ENTRIES} values, such as [1M, 2M]")
    return value


def _distinct(values: tuple[_Number, ...]) -> tuple[_Number, ...]:
    """Return the values in ascending order; refuse one that comes twice."""
    if len(set(values)) < len(values):
        raise ConfigError(f"got {', '.join(f'{value:g}' for value in values)}; expected each value once")
    return tuple(sorted(values))


Counts = Annotated[tuple[PositiveCount, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
"""Distinct counts, ascending."""

_Width = Annotated[
    Whole, Field(ge=8, le=65_536, multiple_of=8), WithJsonSchema({"type": "integer", "minimum": 8, "multipleOf": 8})
]
Widths = Annotated[tuple[_Width, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
"""Distinct widths, ascending."""


def _mix(value: Any, names: tuple[str, ...]) -> str | dict[str, float]:
    """Read a mix: one of `names`, or shares by domain that sum to 1 within 0.01."""
    if isinstance(value, str) and value in names:
        return value
    if not isinstance(value, dict) or not value:
        expected = ", ".join(names)
        raise ConfigError(f"got {shown(value)}; expected {expected}, or shares such as {{books: 0.5, web: 0.5}}")
    for domain, share in value.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise FieldError(str(domain), f"got {shown(share)}; expected a share from 0 to 1")
    total = math.fsum(value.values())
    if abs(total - 1) > _SUM_TOLERANCE + 1e-9:
        raise ConfigError(f"got shares that sum to {total:.4g}; expected 1 within {_SUM_TOLERANCE}")
    return {domain: share / total for domain, share in value.items()}


_ONE_MIX = ("natural", "uniform")
_SHARES_SCHEMA = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}

MixSpec = Annotated[
    str | dict[str, float],
    PlainValidator(lambda value: _mix(value, _ONE_MIX)),
    WithJsonSchema({"anyOf": [{"enum": list(_ONE_MIX)}, _SHARES_SCHEMA]}),
]
"""`natural`, `uniform`, or shares by domain, which sum to 1."""

_Mixes = Annotated[
    str | dict[str, float],
    PlainValidator(lambda value: _mix(value, (*_ONE_MIX, "single"))),
    WithJsonSchema({"anyOf": [{"enum": [*_ONE_MIX, "single"]}, _SHARES_SCHEMA]}),
]


class LearningRates(Frozen):
    """Where the peak learning rate at width 64 is looked for; `low` equal to `high` is a fixed one."""

    low: Annotated[PositiveReal, Field(le=_MAX_LR)] = Field(description="Lowest learning rate tried, at width 64.")
    high: Annotated[PositiveReal, Field(le=_MAX_LR)] = Field(description="Highest learning rate tried, at width 64.")
    points: Annotated[Whole, Field(ge=3, le=64), whole_schema(3, 64)] = Field(
        default=4, description="Learning rates tried at each size, evenly spaced on a log scale."
    )
    sizes: Counts | None = Field(
        default=None, description="Entries of sizes (or widths) to tune at (default: the smallest and the middle one)."
    )
    tokens: PositiveCount | None = Field(
        default=None, description="Training tokens of each trial (default: the lower middle one of the ladder's)."
    )

    @property
    def fixed(self) -> float | None:
        """The learning rate, where there is nothing to tune."""
        return self.low if self.low == self.high else None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low > self.high:
            raise FieldError("high", f"got {self.high:g}; expected at least low {self.low:g}")
        return self


def read_lr(value: Any) -> Any:
    """Read a plain learning rate as a range of no extent; leave the rest to the section."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value <= _MAX_LR:
            raise ConfigError(f"got {shown(value)}; expected a learning rate above 0 and of at most {_MAX_LR:g}")
        return {"low": value, "high": value}
    if not isinstance(value, dict | LearningRates):
        raise ConfigError(f"got {shown(value)}; expected a learning rate, or a range {{low: 0.003, high: 0.03}}")
    return value


def lowest_lr(value: Any) -> float | None:
    """Return the lowest learning rate of a raw `lr`, or None if there is none that makes sense."""
    low = value.low if isinstance(value, LearningRates) else value.get("low") if isinstance(value, dict) else value
    if isinstance(low, bool) or not isinstance(low, int | float):
        return None
    return float(low) if 0 < low <= _MAX_LR else None


class ShareRange(Frozen):
    """Bounds of one domain's share of the training tokens."""

    low: Share = Field(default=0.0, description="Smallest share, from 0 to 1.")
    high: Share = Field(default=1.0, description="Largest share, from 0 to 1.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low > self.high:
            raise FieldError("high", f"got {self.high:g}; expected at least low {self.low:g}")
        return self


class DomainShares(Frozen):
    """Mixes of the ladder in which one domain has each of some shares; the others keep their proportions."""

    domain: Label = Field(description="The domain.")
    of: Annotated[tuple[Share, ...], BeforeValidator(_listed), AfterValidator(_distinct)] = Field(
        description="Its shares of the training tokens, from 0 to 1."
    )

    def mixes(self, base: Mapping[str, float]) -> dict[float, dict[str, float]]:
        """The mix of each share, ascending, from a mix of all domains.

        Raises FieldError, with its key in a space, where that leaves the other domains without proportions.

        >>> DomainShares(domain="law", of=(0.5,)).mixes({"web": 0.75, "books": 0.25})
        {0.5: {'law': 0.5, 'web': 0.375, 'books': 0.125}}
        """
        others = {name: share for name, share in base.items() if name != self.domain and share > 0}
        total = math.fsum(others.values())
        if not others and min(self.of) < 1:
            why = f"got {min(self.of):g}, but mix has no other domain than {shown(self.domain)} for the rest"
            raise FieldError("shares.of", f"{why}; expected 1, or another mix")
        found = {}
        for share in self.of:
            rest = {name: part / total * (1 - share) for name, part in others.items()}
            found[share] = {name: part for name, part in {self.domain: share, **rest}.items() if part > 0}
        return found


class SampledMixes(Frozen):
    """Mixes to train beside the ladder: those included, and samples that spread over what the bounds allow."""

    sample: Annotated[Whole, Field(ge=0, le=4_096), whole_schema(0, 4_096)] = Field(
        default=0, description="Mixes to draw: Dirichlet candidates, thinned so that they spread."
    )
    concentration: Annotated[tuple[Annotated[Real, Field(ge=0.01, le=1_000)], ...], BeforeValidator(_listed)] = Field(
        default=(0.1, 0.3, 1.0, 3.0),
        description="Parameters of the symmetric Dirichlet distributions drawn from in turn; below 1: few domains.",
    )
    bounds: dict[Label, ShareRange] = Field(default={}, description="Bounds of the sampled shares, by domain.")
    include: tuple[_Mixes, ...] = Field(
        default=(),
        max_length=1_000,
        description="Mixes to train in any case: natural, uniform, single (each domain alone), or shares by domain.",
    )
    sizes: Counts | None = Field(
        default=None, description="Entries of sizes (or widths) to train them at (default: the smallest)."
    )
    tokens: PositiveCount | None = Field(
        default=None, description="Training tokens of each (default: the lower middle one of the ladder's)."
    )
    seeds: Annotated[Whole, Field(ge=1, le=100), whole_schema(1, 100)] = Field(
        default=1, description="Repetitions of each mix and size; the same seeds for every mix."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.sample and not self.include:
            raise FieldError("sample", "got 0 without include; expected some mixes, or the whole section left out")
        return self


class ValueRange(Frozen):
    """A range of a setting."""

    low: Real = Field(description="Lowest value, in the setting's own unit.")
    high: Real = Field(description="Highest value.")
    log: StrictBool = Field(default=False, description="Spread evenly over the logarithm.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            raise FieldError("high", f"got {self.high:g}; expected above low {self.low:g}")
        if self.log and self.low <= 0:
            raise FieldError("low", f"got {self.low:g}; expected above 0, as log is true")
        return self


class SobolPoints(Frozen):
    """Settings to train beside the ladder: points of a scrambled Sobol sequence over several ranges at once."""

    points: Annotated[Whole, Field(ge=1, le=4_096), whole_schema(1, 4_096)] = Field(
        default=16, description="Points of the sequence; powers of 2 are best balanced."
    )
    vary: dict[_Setting, ValueRange] = Field(
        min_length=1, description="Ranges by setting: numbers of the recipe, lr, batch_sequences; in the unit of each."
    )
    sizes: Counts | None = Field(
        default=None, description="Entries of sizes (or widths) to train them at (default: the smallest)."
    )
    tokens: PositiveCount | None = Field(
        default=None, description="Training tokens of each (default: the lower middle one of the ladder's)."
    )

    def check_against(self, recipe: Recipe) -> None:
        """Raise FieldError for a range of which an end isn't accepted by the setting itself."""
        for name, values in self.vary.items():
            for end in ("low", "high"):
                value, key = getattr(values, end), f"sobol.vary.{name}.{end}"
                if name == BATCH:
                    if not (1 <= value <= 10**6 and float(value).is_integer()):
                        raise FieldError(key, f"got {value:g}; expected a whole number from 1 to 1000000")
                    continue
                try:
                    validated(Recipe, {**recipe.model_dump(), name: value}, Origins(""))
                except ConfigError as error:
                    raise FieldError(key, str(error).partition(": ")[2]) from None
