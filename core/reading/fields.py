"""Pydantic building blocks that configuration sections share: a frozen base and number types with bounds.

Kept apart from `units`, which the command line imports for its help and which therefore must not import pydantic.
No type here takes a boolean for a number, nor NaN or an infinity.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from ..errors import ConfigError
from ..output.plain import is_plain
from ..units import (
    COUNT_PATTERN,
    DURATION_PATTERN,
    SHARE_PATTERN,
    parse_count,
    parse_duration_s,
    parse_share,
    parse_whole,
    percent_hint,
    shown,
)

__all__ = [
    "DAY_PATTERN",
    "Count",
    "Day",
    "Deadline",
    "Duration",
    "FieldError",
    "Frozen",
    "Label",
    "PositiveCount",
    "PositiveReal",
    "PositiveShare",
    "Real",
    "Share",
    "Whole",
    "whole_schema",
]

MAX_COUNT = 1e18
"""Upper bound of parameters and tokens: thousands of times the text ever written, so only a slip exceeds it."""

_MAX_DURATION_S = 100 * 365.25 * 86_400

DAY_PATTERN = r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}\s*$"
"""Regular expression (also valid in JSON Schema) of a calendar day."""


class Frozen(BaseModel):
    """Base of every configuration section: immutable, closed to unknown keys, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_by_name=True)


class FieldError(ConfigError):
    """A problem found by looking at several fields, to be reported at the field `key`."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(f"{key}: {message}")
        self.message = message


def _no_bool(value: Any) -> Any:
    """Refuse booleans and text where a plain number is wanted; pydantic alone would turn True into 1."""
    if isinstance(value, bool | str | bytes):
        raise ConfigError(f"got {shown(value)}; expected a plain number")
    return value


def _printable(text: str) -> str:
    """Refuse control characters, which could forge lines in a log or a terminal."""
    if not is_plain(text):
        raise ConfigError(f"got {shown(text)}; expected one line of printable text")
    return text


def _share(value: Any) -> Any:
    """Read text in percent as a fraction; a bare number of percent is refused, with what may have been meant."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return parse_share(value)
    number = _no_bool(value)
    hint = percent_hint(number) if isinstance(number, int | float) else ""
    if hint:
        raise ConfigError(f"got {shown(value)}; expected a number of at most 1, or percent with its sign{hint}")
    return number


def _duration(value: Any) -> float:
    """Read a duration that states its unit: a bare 30 could be days or seconds, and a plan hangs on it."""
    if not isinstance(value, str):
        raise ConfigError(f"got {shown(value)}; expected a duration with its unit, such as 12h, 30d or 1d12h")
    return parse_duration_s(value)


def _seconds_text(seconds: float) -> str:
    """Return seconds as exact text that `parse_duration_s` reads back to the same float."""
    return f"{int(seconds)}s" if seconds.is_integer() else f"{seconds!r}s"


def _day(value: Any) -> datetime.date:
    """Read a calendar day, such as "2026-12-01"; pydantic alone would read numbers, as seconds since 1970."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    # The pattern keeps out what fromisoformat reads too: "20261201", "2026-W49-2".
    if isinstance(value, str) and re.fullmatch(DAY_PATTERN, value, re.ASCII):
        with contextlib.suppress(ValueError):  # a day that the month doesn't have
            return datetime.date.fromisoformat(value.strip())
    raise ConfigError(f"got {shown(value)}; expected a date as year-month-day, such as 2026-12-01")


def _deadline(value: Any) -> float | datetime.date:
    """Read a duration or a calendar day."""
    if isinstance(value, datetime.date) or (isinstance(value, str) and re.fullmatch(DAY_PATTERN, value, re.ASCII)):
        return _day(value)
    try:
        seconds = _duration(value)
    except ConfigError as error:
        raise ConfigError(f"{error}; or a date such as 2026-12-01") from None
    if not 0 < seconds <= _MAX_DURATION_S:
        raise ConfigError(f"got {shown(value)}; expected more than nothing and at most 100 years")
    return seconds


def _deadline_text(value: float | datetime.date) -> str:
    return value.isoformat() if isinstance(value, datetime.date) else _seconds_text(value)


def _count_schema(**bounds: float) -> WithJsonSchema:
    """Return the JSON Schema of a count: a number within bounds, or text such as "7B"."""
    return WithJsonSchema({"anyOf": [{"type": "number", **bounds}, {"type": "string", "pattern": COUNT_PATTERN}]})


def whole_schema(minimum: int, maximum: int) -> WithJsonSchema:
    """Return the JSON Schema of a whole number from `minimum` to `maximum`, or text such as "32k"."""
    number = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": COUNT_PATTERN}]})


Count = Annotated[
    float, BeforeValidator(parse_count), Field(ge=0, le=MAX_COUNT), _count_schema(minimum=0, maximum=MAX_COUNT)
]
"""A count that may be 0: a number or text such as "7B"."""

PositiveCount = Annotated[
    float,
    BeforeValidator(parse_count),
    Field(gt=0, le=MAX_COUNT),
    _count_schema(exclusiveMinimum=0, maximum=MAX_COUNT),
]
"""A count above 0: a number or text such as "7B"."""

Whole = Annotated[int, BeforeValidator(parse_whole)]
"""A whole number, or text such as "32k"; bounds are the field's own, with `whole_schema` to match."""

Real = Annotated[float, BeforeValidator(_no_bool)]
"""A finite number; bounds are the field's own."""

PositiveReal = Annotated[Real, Field(gt=0)]
"""A finite number above 0."""

Share = Annotated[
    float,
    BeforeValidator(_share),
    Field(ge=0, le=1),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": SHARE_PATTERN}]}
    ),
]
"""A part of a whole, from 0 to 1, or text in percent such as "40%"."""

PositiveShare = Annotated[Share, Field(gt=0)]
"""A part of a whole that isn't nothing: above 0, at most 1."""

Duration = Annotated[
    float,
    BeforeValidator(_duration),
    Field(gt=0, le=_MAX_DURATION_S),
    PlainSerializer(_seconds_text),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
"""Seconds above 0, written as text with a unit, such as "30d" or "1d12h"."""

Day = Annotated[
    datetime.date,
    BeforeValidator(_day),
    PlainSerializer(datetime.date.isoformat),
    WithJsonSchema({"type": "string", "pattern": DAY_PATTERN}),
]
"""A calendar day, written as text such as "2026-12-01"."""

Deadline = Annotated[
    float | datetime.date,
    BeforeValidator(_deadline),
    PlainSerializer(_deadline_text),
    WithJsonSchema({"type": "string", "anyOf": [{"pattern": DURATION_PATTERN}, {"pattern": DAY_PATTERN}]}),
]
"""Seconds above 0 or a calendar day, written as text such as "30d" or "2026-12-31"."""

Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
"""A name or a short note: one line of printable text, 1 to 200 characters."""
