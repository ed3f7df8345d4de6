"""Chances as dots: equally likely outcomes, piled up where they fall, filled where they are good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import words
from ..marks import PLAIN, field, label, log_ticks, points, rule, steps
from ..picture import Numbers, Picture, Spec

__all__ = ["Outcomes", "chance_picture", "difference_picture", "piled"]

_DOT_PX = 15  # from one dot to the next
_DOT_AREA = 95
_HEAD_PX, _FOOT_PX = 34, 52  # above a row of piles, and below the lowest with its axis
_AXIS = {"domain": True, "ticks": True, "grid": False}


@dataclass(frozen=True)
class Outcomes:
    """Equally likely outcomes of one plan."""

    plan: str
    """Its name."""
    values: Sequence[float]
    """The outcomes, rising."""
    role: str = "plan"
    """`plan` or `baseline`, which the colour and the dot's shape tell."""


def piled(values: Sequence[float], low: float, high: float, columns: int, log: bool) -> list[dict[str, float]]:
    """Places of dots: each in the middle of its column, on top of those that fell there before.

    >>> piled([1.0, 1.1, 9.0], 0.0, 10.0, columns=5, log=False)
    [{'x': 1.0, 'level': 0, 'value': 1.0}, {'x': 1.0, 'level': 1, 'value': 1.1}, {'x': 9.0, 'level': 0, 'value': 9.0}]
    """
    to, back = (math.log, math.exp) if log else (float, float)
    step = (to(high) - to(low)) / columns
    levels: dict[int, int] = {}
    found = []
    for value in values:
        column = min(max(int((to(value) - to(low)) / step), 0), columns - 1)
        level = levels.get(column, 0)
        levels[column] = level + 1
        middle = back(to(low) + (column + 0.5) * step)
        found.append({"x": float(middle), "level": level, "value": float(value)})
    return found


def chance_picture(plans: Sequence[Outcomes], target: float, what: str, p: float, unit: words.Unit) -> Picture:
    """Twenty equally likely outcomes of each plan on one axis; those within the target are filled.

    Args:
        plans: The plan, then what it is compared with.
        target: What is reached by less or as much.
        what: What is wanted, in words: `perplexity 6.5`.
        p: The plan's chance to reach it.
        unit: How its numbers are written.
    """
    reached = [sum(value <= target for value in one.values) for one in plans]
    count = len(plans[0].values)

    def draw(width: int) -> Spec:
        return _rows_of_dots(plans, target, unit, what.rpartition(" ")[0], width)

    return Picture(
        name="chance",
        title=words.capital(f"{words.a_chance(p)} of {what}"),
        subtitle=f"Each dot is one of {count} equally likely outcomes; filled: the target is reached",
        caption=_reached([one.plan for one in plans], reached, count),
        numbers=Numbers(
            (f"1 in {count} each", *(one.plan for one in plans)),
            tuple(
                (str(place + 1), *(unit.number(one.values[place], _spread(one)) for one in plans))
                for place in range(count)
            ),
        ),
        draw=draw,
    )


def _reached(names: Sequence[str], reached: Sequence[int], count: int) -> str:
    """How many outcomes of each plan reach the target, in words."""
    said = ["none" if n == 0 else f"{n} of {count}" for n in reached]
    if len(said) == 1:
        return words.sentence(f"{said[0]} reach it")
    return words.sentence("; ".join(f"{name}: {n} reach it" for name, n in zip(names, said, strict=True)))


def _spread(one: Outcomes) -> float:
    return one.values[-1] - one.values[0]


def _rows_of_dots(plans: Sequence[Outcomes], target: float, unit: words.Unit, of: str, width: int) -> Spec:
    everything = [value for one in plans for value in one.values] + [target]
    low, high = min(everything), max(everything)
    log = low > 0 and high / low > 3
    room = (high / low) ** 0.06 if log else 0.06 * (high - low) or 1.0
    low, high = (low / room, high * room) if log else (low - room, high + room)
    columns = max(8, (width - 24) // _DOT_PX)
    piles = [piled(one.values, low, high, columns, log) for one in plans]
    x = {
        "scale": {
            "type": "log" if log else "linear",
            "domain": [low, high],
            "nice": False,
            **({} if log else {"zero": False}),
        },
        "axis": {**_AXIS, "values": log_ticks(low, high, 6) if log else steps(low, high, 5), "labelExpr": PLAIN},
        "title": f"{of}, log scale" if log else of,
    }
    layers: list[dict[str, Any]] = []
    floor = 0.0
    heads = []
    for one, dots in zip(reversed(plans), reversed(piles), strict=True):
        tall = max(dot["level"] for dot in dots) + 1
        for filled in (True, False):
            here = [
                {"x": dot["x"], "y": floor + (dot["level"] + 0.7) * _DOT_PX}
                for dot in dots
                if (dot["value"] <= target) is filled
            ]
            layers.append(_dots(here, one.role, filled, x))
        heads.append((one, floor + tall * _DOT_PX + 14))
        floor += tall * _DOT_PX + _HEAD_PX
    y = {"scale": {"domain": [0, floor], "nice": False}, "axis": None}
    mark = [{"x": target, "text": f"target {unit.number(target)}"}]
    layers.append(rule(mark, "limit", dashed=True, x=field("x", **x)))
    for one, height in heads:
        layers += label(
            [{"text": one.plan, "y": height}], "text", ink=one.role, bold=True, x={"value": 0}, y=field("y", **y)
        )
    right = (math.log(target / low) / math.log(high / low) if log else (target - low) / (high - low)) > 0.6
    layers += label(
        mark,
        "text",
        ink="limit",
        bold=True,
        align="right" if right else "left",
        dx=-6 if right else 6,
        x=field("x", **x),
        y={"value": 6},
    )
    for one in layers:
        if "y" in one["encoding"] and "field" in one["encoding"]["y"]:
            one["encoding"]["y"] = {**one["encoding"]["y"], **y}
    return {"height": floor + _FOOT_PX, "layer": layers}


def _dots(rows: list[dict[str, float]], role: str, filled: bool, x: Mapping[str, Any]) -> dict[str, Any]:
    shape = {"value": "circle" if role == "plan" else "square"}
    return points(rows, role, size=_DOT_AREA, hollow=not filled, x=field("x", **x), y=field("y"), shape=shape)


def difference_picture(
    values: Sequence[float], chance_lower: float, ends_90: tuple[float, float], plan: str, baseline: str
) -> Picture:
    """Fifty equally likely differences of the loss, plan minus baseline, in nats, with their 90 % interval.

    Args:
        values: The differences, rising.
        chance_lower: The chance that the plan's loss is the lower one.
        ends_90: Of the difference's 90 % interval.
        plan: The plan's name.
        baseline: What it is compared with.
    """
    count = len(values)
    better = words.in_fifty(chance_lower)

    def draw(width: int) -> Spec:
        return _difference_dots(values, ends_90, width)

    if 20 < better < 30:
        title = f"Neither is better: {better} of 50 equally likely cases"
    elif better >= 25:
        title = f"{_short(plan)} is better in {words.of_fifty(chance_lower)} cases"
    else:
        title = f"{_short(plan)} is worse in {words.of_fifty(1.0 - chance_lower)} cases"
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    rows = [
        (f"{share:.0%}".replace("%", " %"), f"{values[min(int(share * count), count - 1)]:+.3f}".replace("-", "−"))
        for share in shares
    ]
    return Picture(
        name="difference",
        title=title,
        subtitle=f"Loss of {_the(plan)} minus that of {_the(baseline)}, nats per token; {count} equally likely cases",
        caption="Both by the same draws: what is unknown of the corpus and the laws moves both alike, "
        "so that a difference is far better known than a level.",
        numbers=Numbers(
            ("share of cases below", "nats"),
            (*((n, v) for n, v in rows), ("chance below 0", words.percent(chance_lower))),
        ),
        draw=draw,
    )


def _the(plan: str) -> str:
    """`the plan`, or a plan's own name."""
    return f"the {plan}" if plan in ("plan", "baseline") else plan


def _short(plan: str) -> str:
    """A name that a title has room for."""
    return plan if len(plan) <= 24 and plan != "plan" else "The plan"


def _difference_dots(values: Sequence[float], ends_90: tuple[float, float], width: int) -> Spec:
    low, high = min(values[0], ends_90[0], 0.0), max(values[-1], ends_90[1], 0.0)
    room = 0.08 * (high - low) or 0.01
    low, high = low - room, high + room
    columns = max(8, (width - 24) // _DOT_PX)
    dots = piled(values, low, high, columns, log=False)
    tall = max(dot["level"] for dot in dots) + 1
    top = tall * _DOT_PX + 30
    x = {
        "scale": {"domain": [low, high], "nice": False, "zero": False},
        "axis": {**_AXIS, "values": steps(low, high, 5 if width < 400 else 7), "labelExpr": _SIGNED},
        "title": "nats per token",
    }
    y = {"scale": {"domain": [-16, top], "nice": False}, "axis": None}
    layers: list[dict[str, Any]] = []
    for good in (True, False):
        here = [{"x": d["x"], "y": (d["level"] + 0.7) * _DOT_PX} for d in dots if (d["value"] < 0) is good]
        role = "plan" if good else "limit"
        layers.append(points(here, role, size=_DOT_AREA, hollow=not good, x=field("x", **x), y=field("y", **y)))
    layers.append(rule([{"x": 0.0}], "ink", width=1.5, x=field("x", **x)))
    bar = [{"x": ends_90[0], "x2": ends_90[1], "y": -8.0, "text": "90 %"}]
    layers.append(rule(bar, "plan", width=4, x=field("x", **x), x2={"field": "x2"}, y=field("y", **y)))
    layers += label(bar, "text", ink="muted", align="right", dx=-6, x=field("x", **x), y=field("y", **y))
    sides = [("better", "plan", "right", -7), ("worse", "muted", "left", 7)]
    for text, ink, align, dx in sides:
        room_px = ((0 - low) if align == "right" else (high - 0)) / (high - low) * width
        if room_px > 60:
            layers += label(
                [{"x": 0.0, "text": text}],
                "text",
                ink=ink,
                bold=True,
                align=align,
                dx=dx,
                x=field("x", **x),
                y={"value": 7},
            )
    return {"height": top + _FOOT_PX + 16, "layer": layers}


_SIGNED = "replace(format(datum.value, '+~g'), '+0', '0')"
