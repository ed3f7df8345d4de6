"""Numbers as a meeting says them: `7.7 (4.4 to 17)`, `$410k`, `22 days`, `about 1 in 4`, `almost surely`.

Digits as the interval allows, units that fit a hobby run as well as a 405B, and never 0 or 100 % of a chance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.quantity import Difference, Quantity

__all__ = [
    "BITS",
    "GIB",
    "LOSS",
    "NATS_APART",
    "PERPLEXITY",
    "Unit",
    "a_chance",
    "capital",
    "chance",
    "chance_in_words",
    "count",
    "days_unit",
    "flops",
    "in_fifty",
    "interval",
    "likely",
    "listed",
    "money_unit",
    "no_difference",
    "of_fifty",
    "percent",
    "plain",
    "sentence",
    "share",
    "share_in_words",
    "signed",
    "size",
    "width_of",
]

_MOST_DIGITS = 4
_PERCENT = re.compile(r"(?<=\d)%")
_MINUS = re.compile(r"(?<![\w.)-])-(?=\d)")
_SETTING = re.compile(r"(model|data|optim|hardware|layout|reliability|prices|energy|targets|serving)(\.[a-z0-9_]+)+")
_NOTHING = 0.01  # of the width of its 90 % interval, below which a difference is told as none
_STEPS_IN_INTERVAL = 6.0  # an interval holds at least so many steps of the last digit shown


@dataclass(frozen=True)
class Unit:
    """How a number is written: divided by `scale`, between `before` and `after`, with at least so many digits.

    >>> Unit(scale=1e3, before="$", after="k").text(411_300.0)
    '$410k'
    """

    scale: float = 1.0
    before: str = ""
    after: str = ""
    digits: int = 2

    def number(self, value: float, width: float | None = None) -> str:
        """The bare number; `width` is that of its interval, which says how many digits mean something."""
        return plain(value / self.scale, None if width is None else width / self.scale, self.digits)

    def text(self, value: float, width: float | None = None) -> str:
        """The number with its unit; a negative one has a true minus in front."""
        sign = "−" if value < 0 else ""
        return f"{sign}{self.before}{self.number(abs(value), width)}{self.after}"


LOSS = Unit(after=" nats", digits=3)
NATS_APART = Unit(after=" nats")
BITS = Unit(after=" bits per byte", digits=3)
PERPLEXITY = Unit()
GIB = Unit(after=" GiB")

_DAYS = (
    (365.25, " years", 3 * 365.25),
    (1.0, " days", 1.5),
    (1 / 24, " hours", 1.5 / 24),
    (1 / 1440, " minutes", 1.5 / 1440),
)
_ROUNDS_UP = 0.995  # of a unit, from which on a number is written as one of it
_USD = ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def days_unit(days: float) -> Unit:
    """The unit of a duration of so many days: years, days, hours, minutes or seconds, one for all numbers beside it.

    >>> days_unit(22.3).text(22.3), days_unit(0.2).text(0.2), days_unit(0.01).text(0.01)
    ('22 days', '4.8 hours', '14 minutes')
    """
    for scale, name, least in _DAYS:
        if abs(days) >= _ROUNDS_UP * least:
            return Unit(scale, after=name)
    return Unit(1 / 86_400, after=" seconds")


def money_unit(usd: float) -> Unit:
    """The unit of an amount of US dollars: billions, millions, thousands or dollars.

    >>> money_unit(411_000).text(411_000), money_unit(3.2e6).text(3.24e6), money_unit(4.5).text(4.5)
    ('$410k', '$3.2M', '$4.5')
    >>> money_unit(999_700).text(999_700)
    '$1.0M'
    """
    for scale, suffix in _USD:
        if abs(usd) >= _ROUNDS_UP * scale:
            return Unit(scale, "$", suffix)
    return Unit(1.0, "$")


def plain(value: float, width: float | None = None, digits: int = 2) -> str:
    """A number with the digits that mean something: at least `digits`, more where its interval of `width` is narrow.

    >>> plain(7.71, 12.6), plain(7.43, 0.24), plain(16.8), plain(411.3), plain(0.0)
    ('7.7', '7.43', '17', '410', '0')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    size = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))  # 0.9997 is written as 1.0, not as 1.00
    decimals = digits - 1 - size
    if width is not None and width > 0:
        decimals = max(decimals, math.ceil(math.log10(_STEPS_IN_INTERVAL / width) - 1e-9))
    decimals = min(decimals, _MOST_DIGITS - 1 - size)
    if size < -4 or size > 14:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, decimals)
    return f"{rounded:,.{max(decimals, 0)}f}".replace("-", "−")


def interval(quantity: Quantity, unit: Unit, level: float = 0.9) -> str:
    """The ends of a central interval, each with its digits: `4.4 to 17`.

    >>> interval(Quantity(7.7, {0.9: (4.41, 16.8)}), PERPLEXITY)
    '4.4 to 17'
    """
    low, high = quantity.intervals[level]
    width = high - low
    return (
        f"{unit.before}{unit.number(low, width)}{_short(unit)} to {unit.before}{unit.number(high, width)}{_short(unit)}"
    )


def _short(unit: Unit) -> str:
    """What stands right behind a number, as the k of $410k does; words stand once."""
    return unit.after if not unit.after.startswith(" ") else ""


def width_of(quantity: Quantity, level: float = 0.9) -> float:
    """How wide a central interval is."""
    low, high = quantity.intervals[level]
    return high - low


def no_difference(difference: Difference) -> bool:
    """Whether a difference is nothing beside what is unknown of it: `−0.00004 (90 %: −0.16 to +0.16)`.

    >>> no_difference(Difference(-4e-5, {0.9: (-0.16, 0.16)}, 0.5))
    True
    """
    low, high = difference.intervals[0.9]
    return low < 0 < high and abs(difference.median) < _NOTHING * (high - low)


def signed(value: float, unit: Unit, width: float | None = None) -> str:
    """A difference with its sign.

    >>> signed(-0.0712, LOSS), signed(103_000.0, money_unit(103_000))
    ('−0.0712 nats', '+$100k')
    """
    return ("+" if value > 0 else "") + unit.text(value, width)


def count(number: float) -> str:
    """A count of parameters or tokens with a digit behind the point, none from 100 on: `6.7B`, `15.6T`, `757B`, `2T`.

    >>> count(6.74e9), count(757.3e9), count(2e12), count(15.6e12), count(41_000)
    ('6.7B', '757B', '2T', '15.6T', '41k')
    """
    for scale, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, "")):
        if number >= scale * 0.9995:
            scaled = number / scale
            text = f"{scaled:.0f}" if scaled >= 99.95 else f"{scaled:.1f}"
            return text.removesuffix(".0") + suffix
    return f"{number:.2g}"


def flops(amount: float) -> str:
    """Compute with three digits or fewer: `1e22 FLOPs`, `5.76e23 FLOPs`.

    >>> flops(1e22), flops(5.76e23)
    ('1e22 FLOPs', '5.76e23 FLOPs')
    """
    digits, _, power = f"{amount:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)} FLOPs"


_FRACTIONS = (
    (1, 20),
    (1, 10),
    (1, 5),
    (1, 4),
    (1, 3),
    (2, 5),
    (1, 2),
    (3, 5),
    (2, 3),
    (3, 4),
    (4, 5),
    (9, 10),
    (19, 20),
)


def percent(share: float) -> str:
    """A chance as a percentage, never 0 or 100.

    >>> percent(0.238), percent(0.9993), percent(0.0004)
    ('24 %', 'over 99 %', 'under 1 %')
    """
    if share > 0.99:
        return "over 99 %"
    if share < 0.01:
        return "under 1 %"
    return f"{share:.0%}".replace("%", " %")


def share(part: float) -> str:
    """A share of a whole as a percentage, which is 0 or 100 only where it is that exactly.

    >>> share(0.413), share(1.0), share(0.9993), share(0)
    ('41 %', '100 %', 'over 99 %', '0 %')
    """
    return f"{part:.0%}".replace("%", " %") if part in (0.0, 1.0) else percent(part)


def size(count_bytes: float) -> str:
    """An amount of text: `812 B`, `1.2 MB`.

    >>> size(812), size(1_234_567), size(45e9)
    ('812 B', '1.2 MB', '45 GB')
    """
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count_bytes >= scale:
            amount = count_bytes / scale
            return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:,.0f} {unit}"
    return f"{count_bytes:.0f} B"


def chance(share: float) -> str:
    """A chance in a few letters: `1 in 4`, or a percentage where no simple fraction is near or the end is.

    >>> chance(0.238), chance(0.98), chance(0.03), chance(0.5)
    ('1 in 4', '98 %', '3 %', '1 in 2')
    """
    if not 0.04 <= share <= 0.96:
        return percent(share)
    part, whole = min(_FRACTIONS, key=lambda one: abs(one[0] / one[1] - share))
    return f"{part} in {whole}"


def chance_in_words(share: float) -> str:
    """A chance within a sentence.

    >>> chance_in_words(0.238), chance_in_words(0.995)
    ('about 1 in 4', 'over 99 %')
    """
    short = chance(share)
    return f"about {short}" if " in " in short or short[0].isdigit() else short


def a_chance(share: float) -> str:
    """A chance before `of` what it is of.

    >>> a_chance(0.66), a_chance(0.98), a_chance(0.9993)
    ('about a 2 in 3 chance', 'a 98 % chance', 'a better than 99 % chance')
    """
    short = chance(share)
    if " in " in short:
        return f"about a {short} chance"
    return f"a {short.replace('over', 'better than').replace('under', 'less than')} chance"


def in_fifty(share: float) -> int:
    """Of 50 equally likely cases, how many; neither none nor all where the chance is neither 0 nor 1."""
    cases = round(50 * share)
    return min(max(cases, 1 if share > 0 else 0), 49 if share < 1 else 50)


def of_fifty(share: float) -> str:
    """The same in words.

    >>> of_fifty(0.97), of_fifty(0.9999), of_fifty(0.0)
    ('about 48 of 50', 'over 49 of 50', 'under 1 of 50')
    """
    cases = round(50 * share)
    return "over 49 of 50" if cases >= 50 else ("under 1 of 50" if cases <= 0 else f"about {cases} of 50")


def likely(share: float) -> str:
    """The word of a chance: almost surely from 95 %, likely from 75 %.

    >>> likely(0.98), likely(0.8), likely(0.5), likely(0.1), likely(0.01)
    ('almost surely', 'likely', 'perhaps', 'unlikely', 'almost surely not')
    """
    for least, word in ((0.95, "almost surely"), (0.75, "likely"), (0.25, "perhaps"), (0.05, "unlikely")):
        if share >= least:
            return word
    return "almost surely not"


def sentence(text: str) -> str:
    """Text with a capital at its beginning and a full stop at its end, percentages and minuses as elsewhere.

    A name of the configuration, which has no capital, isn't what it begins with, unless names are all that there is.

    >>> sentence("the interval is 5% wider"), sentence("optim.lr isn't read"), sentence("optim.lr, data.mix")
    ('The interval is 5 % wider.', "The setting optim.lr isn't read.", 'optim.lr, data.mix.')
    """
    text = _MINUS.sub("−", _PERCENT.sub(" %", text.strip()))
    if not text:
        return ""
    first, *others = text.split()
    named = "." in first.rstrip(".,") or "_" in first
    if _SETTING.fullmatch(first) and others:
        text = f"The setting {text}"
    return (text if named else text[0].upper() + text[1:]) + ("" if text[-1] in ".!?" else ".")


def capital(text: str) -> str:
    """Text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a, b and c`."""
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


_SHARES = {
    "a tenth": 1 / 10,
    "a sixth": 1 / 6,
    "a fifth": 1 / 5,
    "a quarter": 1 / 4,
    "a third": 1 / 3,
    "two fifths": 2 / 5,
    "half": 1 / 2,
    "three fifths": 3 / 5,
    "two thirds": 2 / 3,
    "three quarters": 3 / 4,
    "four fifths": 4 / 5,
    "nine tenths": 9 / 10,
    "nearly all": 0.98,
}


def share_in_words(share: float) -> str:
    """A share of a whole as a fraction: the nearest that has a name, from a tenth on.

    >>> share_in_words(0.21), share_in_words(0.66), share_in_words(0.04)
    ('a fifth', 'two thirds', '4 %')
    """
    if share < 0.08:
        return percent(share)
    return min(_SHARES, key=lambda name: abs(_SHARES[name] - share))
