"""Numbers as people write them: "7B" parameters, "1.4T" tokens, "30d" of wall clock.

Parsers return plain floats in base units (a count, seconds) and raise `ConfigError` with a message of the form
``got …; expected …``, so that a caller can put the place in front. Formatters are for people and round; never parse
what they return back into a result.
"""

from __future__ import annotations

import math
import numbers
import re
import reprlib
from decimal import Decimal
from typing import Any

from .errors import ConfigError

__all__ = [
    "COUNT_PATTERN",
    "DURATION_PATTERN",
    "SHARE_PATTERN",
    "format_amount",
    "format_count",
    "format_decimals",
    "format_duration",
    "format_flops",
    "format_share",
    "parse_count",
    "parse_duration_s",
    "parse_share",
    "parse_whole",
    "percent_hint",
    "shown",
]

_COUNT_EXPONENTS = {"": 0, "k": 3, "m": 6, "b": 9, "t": 12}
_DURATION_S = {
    "w": 604_800.0,
    "d": 86_400.0,
    "h": 3_600.0,
    "min": 60.0,
    "s": 1.0,
    "ms": 1e-3,
}
_GROUPED = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+"  # not 0,345: a comma may be a decimal point elsewhere
_NUMBER = rf"(?:(?:{_GROUPED}|[0-9]+(?:_[0-9]{{3}})*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{{1,4}})?"

COUNT_PATTERN = rf"^\s*\+?{_NUMBER}\s*[kKmMbBtT]?\s*$"
"""Regular expression (also valid in JSON Schema) of the text that `parse_count` reads."""

DURATION_PATTERN = rf"^\s*(?:{_NUMBER}\s*(?:w|d|h|min|ms|s)\s*)+$"
"""Regular expression (also valid in JSON Schema) of the text that `parse_duration_s` reads."""

SHARE_PATTERN = r"^\s*(?:[0-9]+\.?[0-9]*|\.[0-9]+)\s*%\s*$"
"""Regular expression (also valid in JSON Schema) of a share in percent, such as 40%."""

_COUNT = re.compile(rf"\s*\+?(?P<number>{_NUMBER})\s*(?P<suffix>[kmbt]?)\s*", re.IGNORECASE)
_DURATION_PART = re.compile(rf"\s*(?P<number>{_NUMBER})\s*(?P<unit>[a-zA-Z]+)\s*")
_COUNT_EXPECTED = "a number that isn't negative, such as 7e9, 300k, 7B or 1.4T (k, M, B, T)"
_DURATION_EXPECTED = "a duration with its unit, such as 45s, 90min, 12h, 30d, 2w or 1d12h"
_UNCERTAIN = re.compile(r"±|\+/?-")
# Nobody writes a number this long on purpose; the bound keeps hostile input cheap.
_MAX_TEXT = 64


def shown(value: object, limit: int = 60) -> str:
    """Return `value` as a message may quote it: a repr of bounded length, safe for any size or depth.

    >>> shown("7 Bn")
    "'7 Bn'"
    >>> shown(10**400)
    'an integer of about 401 digits'
    """
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = limit
    try:
        text = brief.repr(value)
    except Exception:
        # A repr is foreign code; a message about bad input must not fail because of it.
        return f"a {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def parse_count(value: Any) -> float:
    """Read a count (parameters, tokens, dollars): a number, or text with the suffix k, M, B or T in either case.

    Thousands may be grouped by underscores or commas. Raises `ConfigError` for booleans, NaN, infinities, negative
    numbers, numbers beyond the range of a float, and any other text or type.

    >>> parse_count("1.4T"), parse_count("300k"), parse_count(7_000_000_000)
    (1400000000000.0, 300000.0, 7000000000.0)
    >>> parse_count("20,000,000")
    20000000.0
    """
    number = _text_to_count(value) if isinstance(value, str) else _real(value)
    if number is None or not math.isfinite(number) or number < 0:
        raise ConfigError(f"got {shown(value)}; expected {_COUNT_EXPECTED}{_uncertain_hint(value)}")
    # Turns -0.0 into 0.0, so that a count never prints with a sign.
    return number + 0.0


def parse_whole(value: Any) -> int:
    """Read a whole number: anything `parse_count` reads that has no fractional part.

    >>> parse_whole("32k")
    32000
    """
    number = parse_count(value)
    if not number.is_integer():
        raise ConfigError(f"got {shown(value)}; expected a whole number")
    # An int is kept as it is: beyond 2**53 the way through a float would change it.
    return int(value) if isinstance(value, int) else int(number)


def parse_share(text: str) -> float:
    """Read text such as "10%" or "0.1" as a fraction; bounds are the caller's. Raises `ConfigError` for other text.

    One rule wherever a share or a chance is read: percent has its sign, and a bare number is the fraction itself.

    >>> parse_share("10%"), parse_share("0.1")
    (0.1, 0.1)
    """
    plain = text.strip()
    try:
        number = float(plain.removesuffix("%").rstrip())
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"got {shown(text)}; expected a share such as 10% or 0.1")
    return number / 100.0 if plain.endswith("%") else number


def percent_hint(value: float) -> str:
    """` (40%?)` for a bare number that isn't a share but may be percent, else nothing.

    >>> percent_hint(40), percent_hint(0.4)
    (' (40%?)', '')
    """
    return f" ({value:g}%?)" if 1 < value <= 100 else ""


def parse_duration_s(value: Any) -> float:
    """Read a duration in seconds: text such as "30d", "90min" or "1d12h", or a plain number of seconds.

    Text needs a unit: w, d, h, min, s or ms. "m" is refused, since it could be minutes or months. Raises `ConfigError`
    for what `parse_count` refuses, and for any other text.

    >>> parse_duration_s("1d12h")
    129600.0
    >>> parse_duration_s("1930ms")
    1.93
    """
    seconds = _text_to_seconds(value) if isinstance(value, str) else _real(value)
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        hint = "; write min for minutes, d for days" if isinstance(value, str) and _unit_is_m(value) else ""
        raise ConfigError(f"got {shown(value)}; expected {_DURATION_EXPECTED}{hint}{_uncertain_hint(value)}")
    return seconds + 0.0


def format_count(count: float) -> str:
    """Return a count with three significant digits and a suffix.

    >>> format_count(7e9), format_count(512), format_count(1_557_611_200)
    ('7.00B', '512', '1.56B')
    """
    if not math.isfinite(count):
        return str(float(count))
    if count < 0:
        return "-" + format_count(-count)
    if count < 1000 and float(count).is_integer():
        return str(int(count))
    # Rounded first: 999_999 is "1.00M", not "1000k".
    rounded = float(f"{count:.2e}")
    if 0.1 <= rounded < 1:
        return f"{rounded:.3f}"
    for suffix, exponent in reversed(_COUNT_EXPONENTS.items()):
        if 10.0**exponent <= rounded < 10.0 ** (exponent + 3):
            mantissa = rounded / 10.0**exponent
            return f"{mantissa:.{2 - int(math.log10(mantissa))}f}{suffix.upper() if suffix != 'k' else suffix}"
    return _scientific(count)


def format_amount(number: float) -> str:
    """Return an amount with one decimal from 10 to 10,000, with a suffix beyond, with three digits below.

    >>> format_amount(12.454), format_amount(9.456), format_amount(0.001234), format_amount(365_250)
    ('12.5', '9.46', '0.00123', '365k')
    """
    if 9.995 <= abs(number) < 9_999.5:
        return f"{number:.1f}" if abs(number) < 999.95 else f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) < 9.995 else format_count(number)


def format_share(share: float) -> str:
    """Return a share as a percentage with one decimal, with three digits below 10%.

    >>> format_share(0.6312), format_share(0.04567), format_share(0.0000123)
    ('63.1%', '4.57%', '0.00123%')
    """
    return f"{share:.1%}" if abs(share) >= 0.09995 or share == 0 else f"{100 * share:.3g}%"


def format_decimals(number: float, decimals: int) -> str:
    """Return a number with so many decimals, or with three digits and a power of ten where it is huge.

    >>> format_decimals(5.6189, 2), format_decimals(1.2e55, 2)
    ('5.62', '1.20e55')
    """
    return f"{number:.{decimals}f}" if abs(number) < 1e6 else _scientific(number)


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units, or in seconds with three digits below a minute.

    >>> format_duration(129_600), format_duration(5_400), format_duration(7.25)
    ('1d12h', '1h30min', '7.25s')
    """
    if not math.isfinite(seconds):
        return str(float(seconds))
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds >= 1e6 * _DURATION_S["d"]:
        return f"{_scientific(seconds / _DURATION_S['d'])}d"
    if float(f"{seconds:.3g}") < 60:
        return f"{seconds:.3g}s"
    for large, small in (("d", "h"), ("h", "min"), ("min", "s")):
        # Rounded to the small unit first, so that 23h59min59s becomes "1d" and not "24h".
        units = round(seconds / _DURATION_S[small])
        whole, rest = divmod(units, round(_DURATION_S[large] / _DURATION_S[small]))
        if whole:
            return f"{whole}{large}" + (f"{rest}{small}" if rest else "")
    return f"{seconds:.3g}s"


def format_flops(flops: float) -> str:
    """Return an amount of arithmetic with three significant digits.

    >>> format_flops(3.14e23)
    '3.14e23 FLOPs'
    """
    return f"{_scientific(flops)} FLOPs"


def _scientific(number: float) -> str:
    """Return `number` as 3.14e23: three digits, no padding in the exponent."""
    if not math.isfinite(number):
        return str(float(number))
    mantissa, exponent = f"{number:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _real(value: Any) -> float | None:
    """Return a real number as a float, or None for a boolean, another type, or one too large for a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _text_to_count(text: str) -> float | None:
    """Return the count that `text` spells, or None."""
    match = _COUNT.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        return None
    # Shifting the decimal exponent keeps "1.4T" the float nearest to 1.4e12; multiplying could be one bit off.
    shifted = Decimal(match["number"].replace("_", "").replace(",", "")).scaleb(
        _COUNT_EXPONENTS[match["suffix"].lower()]
    )
    return float(shifted)


def _text_to_seconds(text: str) -> float | None:
    """Return the seconds that `text` spells, or None."""
    if len(text) > _MAX_TEXT:
        return None
    position, seconds = 0, 0.0
    while position < len(text):
        match = _DURATION_PART.match(text, position)
        if match is None or match["unit"] not in _DURATION_S:
            return None
        number = match["number"].replace("_", "").replace(",", "")
        # "1930ms" is the float nearest to 1.93
        seconds += float(number) / 1e3 if match["unit"] == "ms" else float(number) * _DURATION_S[match["unit"]]
        position = match.end()
    return seconds if position else None


def _uncertain_hint(value: Any) -> str:
    """What is to be said of text with an uncertainty in it, which no plain quantity has."""
    return "; what follows ± is an uncertainty: state the value alone" if _has_uncertainty(value) else ""


def _has_uncertainty(value: Any) -> bool:
    return isinstance(value, str) and _UNCERTAIN.search(value[:_MAX_TEXT]) is not None


def _unit_is_m(text: str) -> bool:
    """Say whether a duration uses the ambiguous unit "m"."""
    return any(match["unit"].lower() == "m" for match in _DURATION_PART.finditer(text[:_MAX_TEXT]))
