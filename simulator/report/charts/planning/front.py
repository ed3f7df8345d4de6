"""What else the money could buy: the best plans of a study in two figures, the named ones and the baseline on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ... import words
from ...theme import colour
from ..marks import DOLLARS, PLAIN, field, label, layer, line, points, rule
from ..picture import Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, Spot, short, sides, thinned

__all__ = ["Figure", "Limit", "Named", "figure", "front_picture"]

_MOST_POINTS = 400
_LESS = 0.97  # of the baseline's, from which on a plan counts as cheaper
_BEYOND = 0.12  # of the axis that is drawn beyond a limit
_AVOIDED = 60  # places of the line that labels stay off
_CLOSE_PX = 12  # from one such place to the next
_LEFT_PX, _NARROW = 52, 450
_LIMIT_PX = 110  # how wide the limit's label is
_ROOM_PX = 3 * LINE_PX  # above and below the plans, for labels of two lines


@dataclass(frozen=True)
class Figure:
    """What one side of the picture measures, of which less is better."""

    name: str
    """Within a sentence: loss, cost."""
    title: str
    """On the axis, with its unit."""
    unit: words.Unit
    labels: str = PLAIN
    """The axis's labels, as Vega's expression."""

    def text(self, value: float) -> str:
        """A value with its unit; money in the unit that it needs."""
        return (words.money_unit(value) if self.labels == DOLLARS else self.unit).text(value)


_FIGURES = {
    "loss_nats": Figure("loss", "loss, nats per token", words.LOSS),
    "perplexity": Figure("perplexity", "perplexity per token", words.PERPLEXITY),
    "bits_per_byte": Figure("loss", "loss, bits per byte", words.BITS),
    "cost_usd": Figure("cost", "cost", words.Unit(), DOLLARS),
    "lifetime_cost_usd": Figure("lifetime cost", "cost over its lifetime", words.Unit(), DOLLARS),
    "wall_clock_days": Figure("time", "wall clock, days", words.Unit(after=" days")),
    "gpu_hours": Figure("compute", "accelerator-hours", words.Unit(after=" accelerator-hours")),
    "energy_mwh": Figure("energy", "energy, MWh", words.Unit(after=" MWh")),
}


def figure(measure: str) -> Figure:
    """How a measure of a study is named and written."""
    known = _FIGURES.get(measure.partition(".")[0])
    if known is None:
        return Figure("second goal", short(measure), words.Unit())
    domain = measure.partition(".")[2]
    return replace(known, title=f"{known.title}, on {short(domain, 16)}") if domain else known


class Named(NamedTuple):
    """A plan that has a name, and where it lies."""

    label: str
    x: float
    y: float
    detail: str = ""
    """A second line, such as its size and tokens."""


class Limit(NamedTuple):
    """The most of a figure that is allowed."""

    bound: float
    """What is allowed."""
    at: float
    """The median from which on it isn't kept with the chance that is asked for."""
    chance: float | None = None
    """The chance with which it is to be kept; None for a figure without doubt."""
    needed: float | None = None
    """What would have to be allowed instead, where no plan keeps it."""

    def sentence(self, x: Figure) -> str:
        """What the shading means; where a limit is to be kept with a chance, it begins below the limit itself."""
        if self.chance is None:
            return "Shaded: beyond the limit."
        median, bound = x.text(self.at), x.text(self.bound)
        return f"Shaded, from a median of {median} on: {bound} is kept with less than {_percent(self)}."


def _percent(limit: Limit) -> str:
    return f"{100 * (limit.chance or 0.0):.3g} %"


def front_picture(
    front: Sequence[tuple[float, float]],
    named: Sequence[Named],
    x: Figure,
    y: Figure,
    *,
    baseline: Named | None = None,
    limit: Limit | None = None,
    tried: int | None = None,
    caption: str = "",
) -> Picture:
    """The lowest `y` for each `x` among a study's plans, with the named plans, the baseline and the limit of `x`.

    Args:
        front: The best plans, none of which is better in both figures.
        named: Plans worth a name; the first is the study's best.
        x: What lies along the picture.
        y: What lies up.
        baseline: The run as it is.
        limit: The most of `x` that is allowed.
        tried: How many plans were tried.
        caption: What else should be known.
    """
    best = sorted({*front, *((one.x, one.y) for one in named)})
    line_of = [best[place] for place in thinned(len(best), _MOST_POINTS)] if front else []

    def draw(width: int) -> Spec:
        return _drawn(_falling(line_of), named, x, y, baseline, limit, width)

    every = [*named, *([] if baseline is None else [baseline])]
    rows = [(short(one.label), short(one.detail), x.text(one.x), y.text(one.y)) for one in every]
    among = "" if tried is None else f", among {tried:,} plans tried"
    what = f"The lowest {y.name} for each {x.name}{among}" if line_of else f"{y.name.capitalize()} over {x.name}"
    return Picture(
        name="front",
        title=_title(_falling(best), x, y, baseline, limit, not front),
        subtitle=f"{what}; medians",
        caption=" ".join([*([] if limit is None else [limit.sentence(x)]), *([caption] if caption else [])]),
        numbers=Numbers(("plan", "size × tokens", x.title, y.title), tuple(rows)),
        draw=draw,
    )


def _falling(plans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of plans by rising `x`, those with a lower `y` than all before."""
    found: list[tuple[float, float]] = []
    for plan in plans:
        if not found or plan[1] < found[-1][1]:
            found.append(plan)
    return found


def _title(
    plans: Sequence[tuple[float, float]],
    x: Figure,
    y: Figure,
    baseline: Named | None,
    limit: Limit | None,
    missed: bool,
) -> str:
    if missed:
        if limit is not None and limit.needed is not None:
            return f"No plan keeps {x.text(limit.bound)}; {x.text(limit.needed)} would do"
        return f"No plan keeps every limit; the nearest takes {x.text(plans[0][0])}"
    if baseline is not None:
        as_good = [at for at, value in plans if value <= baseline.y and at <= _LESS * baseline.x]
        if as_good:
            return f"The baseline’s {y.name} comes at {x.text(min(as_good))}, not {x.text(baseline.x)}"
        least = min((value for at, value in plans if at <= baseline.x), default=baseline.y)
        if least < baseline.y:
            return f"The baseline’s {x.name} buys {y.text(least)} instead of {y.unit.number(baseline.y)}"
        if not plans or plans[-1][1] >= baseline.y:
            return f"No plan found has less {y.name} than the baseline’s {y.text(baseline.y)}"
    (first, worst), (last, lowest) = plans[0], plans[-1]
    if first == last:
        return f"{x.text(first)} buys {y.text(lowest)}"
    return f"{x.text(first)} buys {y.text(worst)}, {x.text(last)} buys {y.unit.number(lowest)}"


def _drawn(
    front: Sequence[tuple[float, float]],
    named: Sequence[Named],
    x: Figure,
    y: Figure,
    baseline: Named | None,
    limit: Limit | None,
    width: int,
) -> Spec:
    narrow = width < _NARROW
    height = 280 if narrow else 320
    every = [*front, *((one.x, one.y) for one in (*named, *([] if baseline is None else [baseline])))]
    across = Scale.around([at for at, _ in every] + ([] if limit is None else [limit.at]))
    up = Scale.around([value for _, value in every], 0.05, log=False).wider(below=_ROOM_PX / height)
    if limit is not None and across.place(limit.at, 1.0) > 1.0 - _BEYOND:
        across = across.wider(above=_BEYOND)
    if limit is not None:
        up = up.wider(above=_ROOM_PX / height)
    at_x = field("x", **across.options(x.title, x.labels, 4 if narrow else 7))
    at_y = field("y", **up.options(y.title, y.labels, 6, grid=True))
    layers: list[dict[str, Any]] = []
    if limit is not None:
        layers += _limit(limit, across, x, at_x)
    layers.append(line([{"x": at, "y": value} for at, value in front], "plan", "y", x=at_x, **_rest(at_y)))
    marks = [(one, "plan") for one in named] + ([] if baseline is None else [(baseline, "baseline")])
    plot = width - _LEFT_PX, height - 60

    def px(at: float, value: float) -> tuple[float, float]:
        return across.place(at, plot[0]), plot[1] - up.place(value, plot[1])

    spots = [Spot(*px(one.x, one.y), _lines(one, narrow)) for one, _ in marks]
    avoid = _along([px(*front[place]) for place in thinned(len(front), _AVOIDED)])
    taken = []
    if limit is not None:
        at = across.place(limit.at, plot[0])
        left = at if _to_the_right(limit, across) else at - _LIMIT_PX
        taken = [(at - 1, at + 1, 0, plot[1]), (left, left + _LIMIT_PX, 0, 2.5 * LINE_PX)]
    for number, ((one, ink), side) in enumerate(zip(marks, sides(spots, *plot, avoid, taken), strict=True)):
        row = [{"x": one.x, "y": one.y, "text": _lines(one, narrow)}]
        shape = {"value": "diamond" if ink == "baseline" else "circle"}
        layers.append(points(row, ink, hollow=ink == "plan" and number > 0, x=at_x, y=at_y, shape=shape))
        strong = number == 0 or ink == "baseline"
        layers += label(row, "text", ink=ink if strong else "ink", bold=strong, x=at_x, y=at_y, **side)
    return {"height": height, "layer": layers}


def _along(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places along a line, px, so close that no label fits between them."""
    found = list(corners)
    for (x, y), (to_x, to_y) in itertools.pairwise(corners):
        between = int(math.hypot(to_x - x, to_y - y) / _CLOSE_PX)
        found += [
            (x + (to_x - x) * part / (between + 1), y + (to_y - y) * part / (between + 1))
            for part in range(1, between + 1)
        ]
    return found


def _rest(encoding: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in encoding.items() if key not in ("field", "type")}


def _lines(one: Named, narrow: bool) -> list[str]:
    return [short(one.label, 32), *([short(one.detail, 32)] if one.detail and not narrow else [])]


def _to_the_right(limit: Limit, across: Scale) -> bool:
    """Whether the limit's label stands to the right of it."""
    return across.place(limit.at, 1.0) < 0.4


def _limit(limit: Limit, across: Scale, x: Figure, at_x: dict[str, Any]) -> list[Any]:
    """What lies beyond the limit, shaded, and the limit's label on its left."""
    shade = layer(
        [{"x": limit.at, "to": across.high}], {"type": "rect", "color": colour("fitted")}, x=at_x, x2={"field": "to"}
    )
    text = [f"{x.text(limit.bound)} limit", *([] if limit.chance is None else [f"kept with {_percent(limit)}"])]
    right = _to_the_right(limit, across)
    row = [{"x": limit.at, "text": text}]
    return [
        shade,
        rule(row, "limit", dashed=True, x=at_x),
        *label(
            row,
            "text",
            ink="limit",
            bold=True,
            align="left" if right else "right",
            dx=6 if right else -6,
            x=at_x,
            y={"value": 8},
        ),
    ]
