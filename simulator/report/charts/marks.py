"""The few marks that all pictures are made of, as pieces of a Vega-Lite specification."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..theme import colour

__all__ = [
    "COUNTS",
    "DOLLARS",
    "PLAIN",
    "area",
    "bars",
    "field",
    "label",
    "layer",
    "line",
    "log_ticks",
    "name",
    "points",
    "rule",
    "steps",
    "ticks",
]

Row = Mapping[str, Any]

COUNTS = "replace(replace(format(datum.value, '~s'), 'G', 'B'), 'k', 'k')"
"""Labels of an axis of counts: 100M, 2B, 5T."""
DOLLARS = "'$' + replace(format(datum.value, '~s'), 'G', 'B')"
"""Labels of an axis of US dollars: $50k, $1M."""
PLAIN = "format(datum.value, ',~g')"
"""Labels of an axis of plain numbers."""

_DIGITS = ((1, 2, 5), (1, 3), (1,))
_LEAST_TICKS = 3


def layer(rows: Iterable[Row], mark: str | Mapping[str, Any], **encoding: Any) -> dict[str, Any]:
    """One mark for each row."""
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}


def field(of: str, **options: Any) -> dict[str, Any]:
    """A number of the rows as a place, a width, ….

    >>> field("loss", title=None)
    {'field': 'loss', 'type': 'quantitative', 'title': None}
    """
    return {"field": of, "type": "quantitative", **options}


def name(of: str, **options: Any) -> dict[str, Any]:
    """A name of the rows, each with a place of its own, in the rows' order.

    >>> name("part")["sort"] is None
    True
    """
    return {"field": of, "type": "nominal", "sort": None, **options}


def area(rows: Iterable[Row], fill: str, low: str, high: str, *, x: Mapping[str, Any], **y: Any) -> dict[str, Any]:
    """A band between two numbers of the rows."""
    mark = {"type": "area", "color": colour(fill), "clip": True}
    return layer(rows, mark, x=x, y=field(low, **y), y2={"field": high})


def line(
    rows: Iterable[Row], stroke: str, of: str, *, x: Mapping[str, Any], dashed: bool = False, **y: Any
) -> dict[str, Any]:
    """A line through the rows."""
    mark: dict[str, Any] = {"type": "line", "color": colour(stroke), "clip": True}
    if dashed:
        mark["strokeDash"] = [7, 4]
    return layer(rows, mark, x=x, y=field(of, **y))


def points(
    rows: Iterable[Row], fill: str, *, size: float = 90, hollow: bool = False, **encoding: Any
) -> dict[str, Any]:
    """A dot for each row; `shape` of an encoding tells kinds apart."""
    mark = {
        "type": "point",
        "filled": True,
        "size": size,
        "opacity": 1,
        "fill": colour("ground") if hollow else colour(fill),
        "stroke": colour(fill),
        "strokeWidth": 2,
    }
    return layer(rows, mark, **encoding)


def rule(
    rows: Iterable[Row], stroke: str, *, dashed: bool = False, width: float = 1.5, **encoding: Any
) -> dict[str, Any]:
    """A straight line for each row."""
    mark: dict[str, Any] = {"type": "rule", "color": colour(stroke), "strokeWidth": width}
    if dashed:
        mark["strokeDash"] = [5, 3]
    return layer(rows, mark, **encoding)


def bars(rows: Iterable[Row], fill: str, thickness: float, **encoding: Any) -> dict[str, Any]:
    """A horizontal bar from `x` to `x2` for each row."""
    mark = {"type": "bar", "color": colour(fill), "height": thickness}
    return layer(rows, mark, **encoding)


def ticks(rows: Iterable[Row], stroke: str, length: float, **encoding: Any) -> dict[str, Any]:
    """A short upright line for each row, as the median of an interval."""
    mark = {"type": "tick", "color": colour(stroke), "thickness": 3, "height": length}
    return layer(rows, mark, **encoding)


def label(
    rows: Iterable[Row],
    of: str,
    *,
    ink: str = "ink",
    align: str = "left",
    dx: float = 0,
    dy: float = 0,
    bold: bool = False,
    **encoding: Any,
) -> list[dict[str, Any]]:
    """Text beside a mark, on a rim of the ground's colour so that it can be read across bands and lines."""
    rows = list(rows)
    mark = {
        "type": "text",
        "align": align,
        "baseline": "middle",
        "dx": dx,
        "dy": dy,
        "fontWeight": "bold" if bold else "normal",
        "clip": False,
    }
    rim = mark | {"stroke": colour("ground"), "strokeWidth": 4, "strokeJoin": "round", "color": colour("ground")}
    text = {"text": {"field": of, "type": "nominal"}}
    return [layer(rows, one, **encoding, **text) for one in (rim, mark | {"color": colour(ink)})]


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Places of ticks on a logarithmic axis: 1, 2 and 5 of each decade, or fewer where there were more than `most`.

    Where the axis spans little, so that there were hardly any, equal steps instead.

    >>> log_ticks(40, 600)
    [50.0, 100.0, 200.0, 500.0]
    >>> log_ticks(1, 1e6, most=4)
    [1.0, 100.0, 10000.0, 1000000.0]
    >>> log_ticks(4.4, 7.1)
    [4.5, 5.0, 5.5, 6.0, 6.5, 7.0]
    >>> log_ticks(2e9, 8e11, most=4)
    [3000000000.0, 30000000000.0, 300000000000.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[float] = []
    denser: list[float] = []
    for digits in _DIGITS:
        every = [digit * 10.0**decade for decade in range(first, last + 1) for digit in digits]
        denser, found = found, [value for value in every if low <= value <= high]
        if len(found) <= most:
            if len(found) >= _LEAST_TICKS:
                return found
            return denser[:: math.ceil(len(denser) / most)] if denser else steps(low, high, most)
    return found[:: math.ceil(len(found) / most)]


def steps(low: float, high: float, most: int = 7) -> list[float]:
    """Places of ticks in equal steps of 1, 2 or 5 times a power of ten, at most `most`.

    >>> steps(0, 93, most=5)
    [0.0, 20.0, 40.0, 60.0, 80.0]
    """
    smallest = math.floor(math.log10((high - low) / most))
    for step in (digit * 10.0**decade for decade in range(smallest, smallest + 3) for digit in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
    return [low, high]
