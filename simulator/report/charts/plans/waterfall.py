"""Where money or time goes: parts one on top of the other, and the whole with its doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .....core.quantity import Quantity
from ... import words
from ...theme import colour
from ..marks import PLAIN, bars, field, label, name, rule, steps, ticks
from ..picture import Numbers, Picture, Spec

__all__ = ["Whole", "waterfall_picture"]

_ROW_PX, _TALL_ROW_PX = 26, 35
_LEAST_SHARE = 0.005  # of the whole, below which parts are joined
_REST = "other, each under 0.5 %"
_FAR = 6.0  # times the plan's whole, from which on another whole or a limit would leave its parts no room
_NARROW_PX = 400
_NARROW_LINE = 16  # letters of a row's name on one line, where there is little room
_NAME_LETTER_PX = 7.0  # the space that names get is no less than this, whatever font they were measured in
_BESIDE_PX = 16
_LETTER_PX = 7.5
_DIGITS_OF_PARTS = 0.05  # share of the whole that is written with as many digits as an interval of that width
_AXIS_TITLES = {"k": "thousand US dollars", "M": "million US dollars", "B": "billion US dollars"}


@dataclass(frozen=True)
class Whole:
    """A plan's whole: its name, its parts in order, and the forecast of their sum, all in one unit."""

    plan: str
    parts: Sequence[tuple[str, float]]
    total: Quantity
    role: str = "plan"


def waterfall_picture(
    which: str,
    title: str,
    subtitle: str,
    wholes: Sequence[Whole],
    unit: words.Unit,
    limit: tuple[str, float] | None = None,
    caption: str = "",
) -> Picture:
    """The first plan's parts, one on top of the other, and the wholes of all plans with 50 % and 90 % ends.

    Args:
        which: The picture's name within a page: `cost` or `time`.
        title: The finding.
        subtitle: What is drawn.
        wholes: The plan, then what it is compared with.
        unit: How the numbers are written; the axis counts in it.
        limit: Name and value of what must not be exceeded.
        caption: Source, what isn't stated.
    """
    parts = _joined(wholes[0])
    most = wholes[0].total.intervals[0.9][1]
    near = [whole for whole in wholes if whole.total.median <= _FAR * most]
    shown_limit = limit if limit is not None and limit[1] <= _FAR * most else None
    fine = replace(unit, digits=1)

    def draw(width: int) -> Spec:
        return _drawn(parts, near, unit, shown_limit, width)

    names = list(dict.fromkeys(part for whole in wholes for part, _ in whole.parts))
    of_each = [dict(whole.parts) for whole in wholes]
    rows = [
        (
            part,
            *(
                fine.text(values.get(part, 0.0), whole.total.median * _DIGITS_OF_PARTS)
                for values, whole in zip(of_each, wholes, strict=True)
            ),
        )
        for part in names
    ]
    rows.append(("in all", *(unit.text(whole.total.median, whole.total.median * _DIGITS_OF_PARTS) for whole in wholes)))
    rows.append(("90 %", *(words.interval(whole.total, unit) for whole in wholes)))
    return Picture(
        name=which,
        title=title,
        subtitle=subtitle,
        caption=caption,
        numbers=Numbers(("", *(whole.plan for whole in wholes)), tuple(rows)),
        draw=draw,
    )


def _joined(whole: Whole) -> list[tuple[str, float]]:
    """Parts that can be seen, in order; the others as one."""
    least = _LEAST_SHARE * whole.total.median
    seen = [(part, value) for part, value in whole.parts if value >= least]
    rest = sum(value for _, value in whole.parts) - sum(value for _, value in seen)
    return [*seen, (_REST, rest)] if rest >= 0.1 * least else seen


def _drawn(
    parts: Sequence[tuple[str, float]],
    wholes: Sequence[Whole],
    unit: words.Unit,
    limit: tuple[str, float] | None,
    width: int,
) -> Spec:
    narrow = width < _NARROW_PX
    called = _two_lines if narrow else str
    # a unit that is a word stands on the axis and behind the whole, not behind each part
    steps_up, floor, fine = [], 0.0, replace(unit, digits=1, after=unit.after if unit.before else "")
    for part, value in parts:
        text = fine.text(value, wholes[0].total.median * _DIGITS_OF_PARTS)
        ends = {"from": floor / unit.scale, "to": (floor + value) / unit.scale}
        steps_up.append({"row": called(part), "text": text} | ends)
        floor += value
    totals = [_total(whole, unit) for whole in wholes]
    for row in totals:
        row["row"] = called(row["row"])
    most = max([row["high90"] for row in totals] + ([] if limit is None else [limit[1] / unit.scale]))
    order = [row["row"] for row in steps_up] + [row["row"] for row in totals]
    names_px = round(_NAME_LETTER_PX * max(len(line) for row in order for line in row.split("\n"))) + 5
    labelled = [(row["to"], row["text"]) for row in steps_up] + [(row["high90"], row["text"]) for row in totals]
    end = _end(most, labelled, width - names_px - _BESIDE_PX)
    y = name(
        "row",
        scale={"domain": order, "paddingInner": 0.2},
        title=None,
        axis={
            "labelLimit": names_px,
            "labelOverlap": False,
            "minExtent": names_px,
            "labelExpr": "split(datum.value, '\\n')",
            "labelColor": colour("ink"),
            "ticks": False,
            "domain": False,
        },
    )
    title = _AXIS_TITLES.get(unit.after, "US dollars") if unit.before else unit.after.strip()
    x = {
        "scale": {"domain": [0, end], "nice": False},
        "axis": {"values": steps(0, most, 4 if width < _NARROW_PX else 6), "labelExpr": PLAIN, "grid": True},
        "title": title,
    }
    low = field("from", **x)
    layers: list[dict[str, Any]] = [bars(steps_up, "part", 15, x=low, x2={"field": "to"}, y=y)]
    crossing = [row for row in steps_up if limit is not None and _crosses(row, limit[1] / unit.scale, end, width)]
    if limit is not None:
        layers.append(rule([{"x": limit[1] / unit.scale}], "limit", dashed=True, x=field("x", **x)))
    layers += label([row for row in steps_up if row not in crossing], "text", dx=6, x=field("to", **x), y=y)
    layers += label(crossing, "text", align="right", dx=-6, x=low, y=y)
    for whole, row in zip(wholes, totals, strict=True):
        layers += _graded(row, whole.role, x, y)
    if limit is not None:
        at = [{"x": limit[1] / unit.scale, "text": f"{limit[0]} {_own_unit(limit[1], unit).text(limit[1])}"}]
        layers += label(
            at,
            "text",
            ink="limit",
            bold=True,
            align="right" if limit[1] / unit.scale > 0.5 * end else "left",
            dx=4,
            dy=-9,
            x=field("x", **x),
            y={"value": 0},
        )
    row_px = _TALL_ROW_PX if narrow else _ROW_PX
    return {"height": row_px * len(order) + (78 if limit else 56), "layer": layers}


def _own_unit(value: float, unit: words.Unit) -> words.Unit:
    """A limit's own unit: one of 45 days is no 0.12 years, however long the plan takes."""
    return words.money_unit(value) if unit.before else words.days_unit(value)


def _two_lines(row: str) -> str:
    """A long name broken in two, at the blank nearest to its middle."""
    if len(row) <= _NARROW_LINE or " " not in row:
        return row
    at = min((place for place, letter in enumerate(row) if letter == " "), key=lambda place: abs(place - len(row) / 2))
    return f"{row[:at]}\n{row[at + 1 :]}"


def _end(most: float, labelled: Sequence[tuple[float, str]], plot_px: float) -> float:
    """Where the axis ends, so that the text behind each bar has room."""
    ends = [most * 1.04]
    for value, text in labelled:
        ends.append(value * plot_px / max(plot_px - _LETTER_PX * len(text) - 10, 0.3 * plot_px))
    return max(ends)


def _crosses(row: dict[str, Any], limit: float, end: float, width: int) -> bool:
    """Whether the label behind a bar would lie across the limit, where there is room for it before the bar."""
    per_px = end / (0.65 * width)
    long = (len(row["text"]) * _LETTER_PX + 12) * per_px
    return row["to"] <= limit <= row["to"] + long and row["from"] > long


def _total(whole: Whole, unit: words.Unit) -> dict[str, Any]:
    (low50, high50), (low90, high90) = whole.total.intervals[0.5], whole.total.intervals[0.9]
    ends = {
        "zero": 0.0,
        "median": whole.total.median,
        "low50": low50,
        "high50": high50,
        "low90": low90,
        "high90": high90,
    }
    text = unit.text(whole.total.median, words.width_of(whole.total))
    return {"row": f"{whole.plan}, in all", "text": text} | {key: value / unit.scale for key, value in ends.items()}


def _graded(row: dict[str, Any], role: str, x: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole: solid up to where it is nearly sure to reach, then the tints of its 90 % and 50 %, and its median."""
    one = [row]
    return [
        bars(one, role, 17, x=field("zero", **x), x2={"field": "low90"}, y=y),
        bars(one, f"{role}-90", 17, x=field("low90", **x), x2={"field": "high90"}, y=y),
        bars(one, f"{role}-50", 17, x=field("low50", **x), x2={"field": "high50"}, y=y),
        ticks(one, role, 17, x=field("median", **x), y=y),
        *label(one, "text", ink=role, bold=True, dx=6, x=field("high90", **x), y=y),
    ]
