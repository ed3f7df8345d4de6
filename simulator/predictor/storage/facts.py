"""What a stored predictor says of itself: its name, its facts and why its laws were chosen; checked before use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ....core.units import shown

_MOST_SIGNS = 100_000  # of a text; the longest real one is a command with all its options
_DEEPEST = 8  # of mappings and lists in each other; real facts have 3
_TEXTS = ("title", "table", "source", "corpus", "val_domain", "tokenizer", "params_kind", "by", "digest")
_SWITCHES = ("follows_plan", "text_of_plan")
_SIZES = ("bytes_per_token", "bytes_per_token_log_sd")
_COUNTS = ("runs", "seeds")  # of the runs of a level; of all else the range is told
_LARGEST_SIZE = 1e3  # bytes of a token; real ones end near 6


def checked_name(name: Any) -> str:
    """A predictor's name. ValueError for what is no text."""
    if not isinstance(name, str) or len(name) > _MOST_SIGNS:
        raise ValueError(f"name: got {shown(name)}; expected a text")
    return name


def checked_notes(notes: Any) -> tuple[str, ...]:
    """The doubts that were written with a predictor. ValueError for anything but a list of texts."""
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ValueError("notes: expected a list of texts")
    return tuple(notes)


def checked_about(about: Any) -> dict[str, Any]:
    """A predictor's facts. ValueError for values that no fit writes."""
    found = checked_plain("about", about)
    for key in _TEXTS:
        if not isinstance(found.get(key), str | None):
            raise ValueError(f"about.{key}: got {shown(found[key])}; expected a text")
    for key in _SWITCHES:
        if not isinstance(found.get(key), bool | None):
            raise ValueError(f"about.{key}: got {shown(found[key])}; expected true or false")
    for key in _SIZES:
        size = found.get(key)
        if size is not None and (isinstance(size, bool | str | list | dict) or not 0 <= size <= _LARGEST_SIZE):
            raise ValueError(f"about.{key}: got {shown(size)}; expected a number from 0 to {_LARGEST_SIZE:g}")
    for switch, needed in (("follows_plan", ("title",)), ("text_of_plan", _SIZES)):
        if found.get(switch) and any(found.get(key) is None for key in needed):
            raise ValueError(f"about.{switch}: there is no {' or '.join(needed)}")
    _check_levels(found.get("levels"))
    return found


def _check_levels(facts: Any) -> None:
    """ValueError for anything but what `runs_by_level` says of categories; None where there are none."""
    for category, levels in _mapping("about.levels", {} if facts is None else facts).items():
        for level, runs in _mapping(f"about.levels.{shown(category)}", levels).items():
            where = f"about.levels.{shown(category)}.{shown(level)}"
            for name, value in _mapping(where, runs).items():
                right = _is_count(value) if name in _COUNTS else _is_range(value)
                if not right:
                    expected = "a whole number" if name in _COUNTS else "the lowest and the highest value"
                    raise ValueError(f"{where}.{shown(name)}: got {shown(value)}; expected {expected}")
            for name in ("runs", "params", "tokens"):
                if name not in runs:
                    raise ValueError(f"{where}: there is no {name}")


def _mapping(where: str, facts: Any) -> Mapping[str, Any]:
    if not isinstance(facts, Mapping):
        raise ValueError(f"{where}: got {shown(facts)}; expected facts by name")
    return facts


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and [
        one for one in value if isinstance(one, int | float) and not isinstance(one, bool) and one >= 0
    ]
    return bool(numbers) and len(value) == len(numbers) == 2 and numbers[0] <= numbers[1]


def checked_plain(key: str, facts: Any) -> dict[str, Any]:
    """A mapping whose values are plain and finite, whatever they say. ValueError, with `key` in it, for any other."""
    if not isinstance(facts, Mapping):
        raise ValueError(f"{key}: got {shown(facts)}; expected facts by name")
    _check(key, facts, 0)
    return dict(facts)


def _check(key: str, value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"{key}: mappings and lists more than {_DEEPEST} deep")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check(f"{key}.{shown(name)}", inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(key, inner, depth + 1)
    elif isinstance(value, str):
        if len(value) > _MOST_SIGNS:
            raise ValueError(f"{key}: a text of {len(value)} characters; expected at most {_MOST_SIGNS}")
    elif isinstance(value, int | float) and not math.isfinite(value):  # OverflowError for whole numbers beyond floats
        raise ValueError(f"{key}: got {value}; expected a finite number")
