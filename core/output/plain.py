"""Which characters may stand in a name or reach a terminal, and what stands for the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["bounded", "bounded_words", "is_plain", "made_plain", "strings_of", "visible"]

# Control characters (C0, DEL, C1), line and paragraph separators, what turns the direction of writing around, and
# halves of surrogate pairs, which have no UTF-8. Other invisible characters are part of how people write: no-break
# spaces, joiners of emoji, marks of Arabic and Persian words.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_STEERING_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

_WORD = (160, 80)  # characters kept of a longer word, from its start and its end; paths are rarely as long
_LINE = (1200, 600)
_LONG_WORD = re.compile(rf"[^\s]{{{sum(_WORD) + 1},}}")


def bounded(message: str) -> str:
    """The message without the middle of its overlong words and lines, which are somebody's data.

    >>> len(bounded("name: got " + "x" * 10_000)) < 300
    True
    """
    return "\n".join(_cut(line, *_LINE) for line in bounded_words(message).split("\n"))


def bounded_words(text: str) -> str:
    """The text without the middle of its overlong words."""
    return _LONG_WORD.sub(lambda found: _cut(found.group(), *_WORD), text)


def is_plain(text: str) -> bool:
    """Whether a text is one line that steers no terminal and has UTF-8: what a name may be.

    >>> is_plain("12\\u202f000 runs"), is_plain("\\x1b[2J")
    (True, False)
    """
    return _STEERING.search(text) is None


def visible(text: str, lines: bool = False) -> str:
    """The text with each character that `is_plain` refuses spelled as an escape, such as `\\x1b`.

    With `lines`, line ends and tabs stay, and halves of surrogate pairs too, which the stream's encoding replaces.

    >>> print(visible("loss\\x1b[31m"))
    loss\\x1b[31m
    """
    return (_STEERING_LINES if lines else _STEERING).sub(_escape, text)


def made_plain(value: Any) -> Any:
    """A nest of mappings and sequences whose texts, keys included, are all `visible`."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {made_plain(key): made_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [made_plain(item) for item in value]
    return value


def strings_of(value: Any) -> list[str]:
    """Every text in a nest of mappings and lists, keys included."""
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (*strings_of(key), *strings_of(item))]
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings_of(item)]
    return [value] if isinstance(value, str) else []


def _cut(text: str, start: int, end: int) -> str:
    return text if len(text) <= start + end + 1 else f"{text[:start]}…{text[-end:]}"


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
