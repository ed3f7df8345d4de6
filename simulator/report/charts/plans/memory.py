"""Does it fit: the memory of the fullest device by part, against what a program can use of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....cluster.cluster_estimate import ClusterEstimate
from ... import words
from ...theme import colour
from ..marks import PLAIN, bars, field, label, name, rule, steps, ticks
from ..picture import WHOLE, Numbers, Picture, Spec

__all__ = ["memory_picture"]

# (part of the picture, parts of the estimate, its colour), left to right
_PARTS = (
    ("activations", ("activations", "logits"), {"plan": "plan", "baseline": "baseline"}),
    ("weights", ("weights",), {"plan": "part-2", "baseline": "baseline-50"}),
    ("gradients, optimizer", ("gradients", "optimizer"), {"plan": "part-3", "baseline": "baseline-90"}),
    ("the rest", (), {"plan": "part-4", "baseline": "part-4"}),
)
_LETTER_PX = 7.2
_NAME_LETTER_PX = 8.6  # bold
_MARGIN_PX = 20
_ON_DARK = ("plan", "baseline")
_ROW_PX = 74


def memory_picture(estimates: Sequence[tuple[str, ClusterEstimate]]) -> Picture:
    """The parts of each plan's memory, GiB of the fullest device, its doubt, and the chance to fit.

    Args:
        estimates: By name: the plan, then what it is compared with.
    """
    (_, own), *_ = estimates

    def draw(width: int) -> Spec:
        return _drawn(estimates, width)

    names = [plan for plan, _ in estimates]
    parts = [dict(_parts(one)) for _, one in estimates]
    rows = [(part, *(words.GIB.text(of_each[part]) for of_each in parts)) for part, *_ in _PARTS]
    rows.append(("in all", *(words.GIB.text(one.peak_memory_gib.median, 1.0) for _, one in estimates)))
    rows.append(("90 %", *(words.interval(one.peak_memory_gib, words.GIB) for _, one in estimates)))
    rows.append(("usable", *(words.GIB.text(one.usable_memory_gib, 1.0) for _, one in estimates)))
    rows.append(("chance to fit", *(words.percent(one.p_fit) for _, one in estimates)))
    layout = own.layout
    said = [
        ("tensor", layout.tp),
        ("pipeline", layout.pp),
        ("context", layout.cp),
        ("expert", layout.ep),
        ("data", layout.dp),
    ]
    split = ", ".join(f"{what} {ways}" for what, ways in said if ways > 1) or "one device"
    of = "the plan" if names[0] == "plan" else names[0]
    return Picture(
        name="memory",
        title=_title(own, estimates),
        subtitle="Memory of the fullest device by part, GiB; strips: the sum, 50 % and 90 %",
        caption=f"Layout of {of}: {split}, ZeRO {layout.zero_stage}, micro-batch {layout.micro_batch}, "
        f"recompute {layout.recompute}. The usable memory leaves out what driver and allocator hold.",
        numbers=Numbers(("", *names), tuple(rows)),
        draw=draw,
        widths=WHOLE,
    )


def _title(own: ClusterEstimate, estimates: Sequence[tuple[str, ClusterEstimate]]) -> str:
    if own.p_fit < 0.5:
        return f"It hardly fits: {_in_hundred(own.p_fit)} that it does"
    if own.p_fit < 0.9:
        return f"Memory is tight: {_in_hundred(own.p_fit)} that it fits"
    need, usable = words.plain(own.peak_memory_gib.median), words.plain(own.usable_memory_gib)
    who = "It fits"
    if len(estimates) > 1 and all(one.p_fit >= 0.9 for _, one in estimates):
        who = "Both fit" if len(estimates) == 2 else "All fit"
    return f"{who}; the plan needs {need} of {usable} GiB"


def _in_hundred(share: float) -> str:
    """A chance to fit as `98 in 100`."""
    return "over 99 in 100" if share > 0.995 else ("under 1 in 100" if share < 0.005 else f"{100 * share:.0f} in 100")


def _parts(one: ClusterEstimate) -> list[tuple[str, float]]:
    """What the picture tells apart, GiB, summing to the memory needed."""
    known = one.memory_parts_gib
    found = {part: sum(known.get(key, 0.0) for key in keys) for part, keys, _ in _PARTS}
    found["the rest"] = max(one.peak_memory_gib.median - sum(found.values()), 0.0)
    return list(found.items())


def _drawn(estimates: Sequence[tuple[str, ClusterEstimate]], width: int) -> Spec:
    most = max(max(one.peak_memory_gib.intervals[0.9][1], one.usable_memory_gib) for _, one in estimates) * 1.08
    names_px = min(round(_NAME_LETTER_PX * max(len(plan) for plan, _ in estimates)) + 5, 78)
    y = name(
        "plan",
        scale={"domain": [_cut(plan) for plan, _ in estimates], "padding": 0},
        title=None,
        axis={
            "labelLimit": 150 if width > 450 else 78,
            "minExtent": names_px,
            "labelColor": colour("ink"),
            "labelFontWeight": "bold",
            "ticks": False,
            "domain": False,
        },
    )
    x = {
        "scale": {"domain": [0, most], "nice": False},
        "axis": {"values": steps(0, most, 6), "labelExpr": PLAIN, "grid": True},
        "title": "GiB of one device",
    }
    layers: list[dict[str, Any]] = []
    per_gib = (width - names_px - _MARGIN_PX) / most
    for place, (plan, one) in enumerate(estimates):
        role = "plan" if place == 0 else "baseline"
        floor = 0.0
        for (part, gib), (_, _, colours) in zip(_parts(one), _PARTS, strict=True):
            row = [
                {
                    "plan": _cut(plan),
                    "from": floor,
                    "to": floor + gib,
                    "middle": floor + gib / 2,
                    "text": _text(part, gib, gib * per_gib),
                }
            ]
            floor += gib
            bar = bars(row, colours[role], 26, x=field("from", **x), x2={"field": "to"}, y=y)
            bar["mark"] |= {"yOffset": -10, "stroke": colour("ground"), "strokeWidth": 1}
            layers.append(bar)
            if row[0]["text"]:
                ink = "ground" if colours[role] in _ON_DARK else "ink"
                text = label(row, "text", ink=ink, align="center", dy=-10, x=field("middle", **x), y=y)
                layers.append(text[-1])  # within its bar it needs no rim
        layers += _strip(_cut(plan), one, role, x, y, per_gib, most)
    layers += _usable(estimates, x, most)
    return {"height": _ROW_PX * len(estimates) + 70, "layer": layers}


def _cut(plan: str) -> str:
    return plan if len(plan) <= 40 else plan[:39] + "…"


def _text(part: str, gib: float, px: float) -> str:
    """The part's name and size, or its size, or nothing: as much as its bar has room for."""
    size = words.plain(gib)
    for text in (f"{part} {size}", size):
        if len(text) * _LETTER_PX + 8 < px:
            return text
    return ""


def _strip(
    plan: str, one: ClusterEstimate, role: str, x: Any, y: Any, per_gib: float, most: float
) -> list[dict[str, Any]]:
    peak = one.peak_memory_gib
    (low50, high50), (low90, high90) = peak.intervals[0.5], peak.intervals[0.9]
    row = [
        {
            "plan": plan,
            "median": peak.median,
            "low50": low50,
            "high50": high50,
            "low90": low90,
            "high90": high90,
            "text": f"{_in_hundred(one.p_fit)} fit",
        }
    ]
    found = [
        bars(row, f"{role}-90", 9, x=field("low90", **x), x2={"field": "high90"}, y=y),
        bars(row, f"{role}-50", 9, x=field("low50", **x), x2={"field": "high50"}, y=y),
        ticks(row, role, 13, x=field("median", **x), y=y),
    ]
    for one_mark in found:
        one_mark["mark"]["yOffset"] = 13
    # on the left where there is room for it, else where there is more
    left = low90 * per_gib > _NAME_LETTER_PX * len(row[0]["text"]) + 6 or low90 > most - high90
    found += label(
        row,
        "text",
        ink=role,
        bold=True,
        align="right" if left else "left",
        dx=-6 if left else 6,
        dy=14,
        x=field("low90" if left else "high90", **x),
        y=y,
    )
    return found


def _usable(estimates: Sequence[tuple[str, ClusterEstimate]], x: Any, most: float) -> list[dict[str, Any]]:
    """A line for what is usable; one for all where it is the same."""
    values = list(dict.fromkeys(round(one.usable_memory_gib, 3) for _, one in estimates))
    rows = [{"x": value, "text": f"{words.plain(value, 1.0)} usable"} for value in values]
    right = values[0] > 0.6 * most
    return [
        rule(rows, "limit", dashed=True, x=field("x", **x)),
        *label(
            rows[:1],
            "text",
            ink="limit",
            bold=True,
            align="right" if right else "left",
            dx=0 if right else 5,
            dy=-8,
            x=field("x", **x),
            y={"value": 0},
        ),
    ]
