"""Releases of training software, named by year and month as NVIDIA's containers are: 26.04, a patch 26.04.01."""

from __future__ import annotations

import re

from ...core.errors import InputError
from ...core.units import shown

__all__ = ["release_inside", "release_name", "release_number"]

_DATED = re.compile(r"(20)?([0-9]{2})[.-]([0-9]{1,2})(?:[.-]([0-9]{1,2}))?", re.ASCII)
_INSIDE = re.compile(r"(?<![0-9.])[0-9]{2}\.(?:0[1-9]|1[0-2])(?:\.[0-9]{1,2})?(?![0-9.])", re.ASCII)
_NUMBERED = re.compile(r"v?[0-9]{1,9}(?:[.-][0-9]{1,9}){0,4}", re.ASCII)
_EXPECTED = "expected year and month such as 26.04, with a patch such as 26.04.01, or a date such as 2026-04-15"
_LONGEST = 40
_FIRST_YEAR = 17  # of containers that are named so: smaller numbers are versions of something else


def release_number(said: str | float) -> float:
    """A release as a number by which releases are in order: 26.04.01 is 2604.01.

    Args:
        said: Year and month, with a patch after them; a date; or the number that readers of tables and of YAML make of
            it, to whom 26.10 is 26.1.

    Returns:
        The number; 0 for a version that doesn't tell its date, such as 0.15.0: nothing is known of those.

    Raises:
        InputError: It is no version at all, or one of a month that doesn't exist.

    >>> release_number("26.04.01"), release_number(26.1), release_number("2026-04-15"), release_number("0.15.0")
    (2604.01, 2610.0, 2604.0, 0.0)
    """
    words = said.strip().casefold() if isinstance(said, str) else f"{float(said):.2f}"
    if len(words) <= _LONGEST:
        found = _DATED.fullmatch(words)
        if found is not None and 1 <= int(found[3]) <= 12:
            # the day of a date isn't a patch
            patch = 0 if found[4] is None or found[1] else int(found[4])
            return 100.0 * int(found[2]) + int(found[3]) + patch / 100.0
        if found is not None and (found[1] or int(found[2]) >= _FIRST_YEAR):
            raise InputError(f"got {shown(said)}, which has no month {found[3]}; {_EXPECTED}")
        if _NUMBERED.fullmatch(words):
            return 0.0
    raise InputError(f"got {shown(said)}; {_EXPECTED}")


def release_inside(words: str) -> float:
    """The release that is part of a framework's name (`megatron-bridge 26.04`), 0 where none is."""
    found = _INSIDE.search(words)
    return 0.0 if found is None else release_number(found[0])


def release_name(number: float) -> str:
    """A release as people write it.

    >>> release_name(2604.01), release_name(2604.0)
    ('26.04.01', '26.04')
    """
    month, patch = divmod(round(100.0 * number), 100)
    return f"{month // 100:02d}.{month % 100:02d}" + (f".{patch:02d}" if patch else "")
