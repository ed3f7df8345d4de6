"""Years as words: when a stock is used up, with its interval, and by how many years later."""

from __future__ import annotations

import math

from ....data_budget.exhaustion import UsedUp

__all__ = ["UNKNOWN", "interval", "used_up", "year", "year_shift"]

UNKNOWN = "–"
_FAR = 2200.0  # a year past which no trend speaks


def used_up(end: UsedUp) -> str:
    """The median year; `already` where that is more likely than not."""
    return "already" if end.p_already > 0.5 else year(end.median_year)


def interval(end: UsedUp, level: float) -> str:
    """The ends of a central interval of years."""
    low, high = (year(one) for one in end.intervals[level])
    return low if low == high else f"{low} to {high}"


def year(when: float) -> str:
    """A year as a decimal.

    >>> year(2031.52), year(2431.0), year(float("inf"))
    ('2031.5', 'after 2200', 'never')
    """
    if math.isinf(when):
        return "never"
    return f"{when:.1f}" if when < _FAR else f"after {_FAR:.0f}"


def year_shift(years: float) -> str:
    """By how many years later, below 0 sooner; where it is never used up on one side, which.

    >>> year_shift(-1.46), year_shift(0.0), year_shift(float("inf"))
    ('-1.5', '0', 'to never')
    """
    if math.isinf(years):
        return "to never" if years > 0 else "from never"
    if abs(years) < 0.005:
        return "0"
    return f"{years:+.1f}" if abs(years) >= 0.995 else f"{years:+.2f}"
