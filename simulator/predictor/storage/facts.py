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
    return found


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
