"""What else the money could buy: the best plans of a study in two figures, the named ones and the baseline on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ... import words
from ...theme import colour
from ..marks import DOLLARS, PLAIN, field, label, layer, line, points, rule
from ..picture import Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, Spot, short, sides, thinned

__all__ = ["Figure", "Named", "figure", "front_picture"]

_MOST_POINTS = 400
_LESS = 0.97  # of the baseline's, from which on a plan counts as cheaper
_BEYOND = 0.12  # of the axis that is drawn beyond a limit
_AVOIDED = 60  # places of the line that labels stay off
_LEFT_PX, _NARROW = 52, 450


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


def figure(measure: str, values: Sequence[float] = ()) -> Figure:
    """How a measure of a study is named and written; money in the unit that its values need."""
    known = _FIGURES.get(measure.partition(".")[0])
    if known is None:
        return Figure("second goal", short(measure), words.Unit())
    if known.labels == DOLLARS:
        unit = words.money_unit(max(values, default=1.0))
        return Figure(known.name, known.title, unit, DOLLARS)
    domain = short(measure.partition(".")[2], 16) if "." in measure else ""
    return Figure(known.name, known.title + (f", on {domain}" if domain else ""), known.unit)


class Named(NamedTuple):
    """A plan that has a name, and where it lies."""

    label: str
    x: float
    y: float
    detail: str = ""
    """A second line, such as its size and tokens."""


def front_picture(
    front: Sequence[tuple[float, float]],
    named: Sequence[Named],
    x: Figure,
    y: Figure,
    *,
    baseline: Named | None = None,
    limit: float | None = None,
    kept_with: float | None = None,
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
        kept_with: The chance with which it is kept.
        tried: How many plans were tried.
        caption: What else should be known.
    """
    best = sorted({*front, *((one.x, one.y) for one in named)})
    line_of = [best[place] for place in thinned(len(best), _MOST_POINTS)] if front else []

    def draw(width: int) -> Spec:
        return _drawn(_falling(line_of), named, x, y, baseline, (limit, kept_with), width)

    every = [*named, *([] if baseline is None else [baseline])]
    rows = [(short(one.label), short(one.detail), x.unit.text(one.x), y.unit.text(one.y)) for one in every]
    among = "" if tried is None else f", among {tried:,} plans tried"
    what = f"The lowest {y.name} for each {x.name}{among}" if line_of else f"{y.name.capitalize()} over {x.name}"
    return Picture(
        name="front",
        title=_title(_falling(best), x, y, baseline, limit if not front else None),
        subtitle=f"{what}; medians",
        caption=" ".join([*([] if limit is None else ["Shaded: beyond the limit."]), *([caption] if caption else [])]),
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
    plans: Sequence[tuple[float, float]], x: Figure, y: Figure, baseline: Named | None, missed: float | None
) -> str:
    if missed is not None:
        return f"No plan keeps {x.unit.text(missed)}; the nearest takes {x.unit.text(plans[0][0])}"
    if baseline is not None:
        as_good = [at for at, value in plans if value <= baseline.y and at <= _LESS * baseline.x]
        if as_good:
            return f"The baseline’s {y.name} comes at {x.unit.text(min(as_good))}, not {x.unit.text(baseline.x)}"
        least = min((value for at, value in plans if at <= baseline.x), default=baseline.y)
        if least < baseline.y:
            return f"The baseline’s {x.name} buys {y.unit.text(least)} instead of {y.unit.number(baseline.y)}"
        if not plans or plans[-1][1] >= baseline.y:
            return f"No plan found has less {y.name} than the baseline’s {y.unit.text(baseline.y)}"
    (first, worst), (last, lowest) = plans[0], plans[-1]
    if first == last:
        return f"{x.unit.text(first)} buys {y.unit.text(lowest)}"
    return f"{x.unit.text(first)} buys {y.unit.text(worst)}, {x.unit.text(last)} buys {y.unit.number(lowest)}"


def _drawn(
    front: Sequence[tuple[float, float]],
    named: Sequence[Named],
    x: Figure,
    y: Figure,
    baseline: Named | None,
    limit: tuple[float | None, float | None],
    width: int,
) -> Spec:
    narrow = width < _NARROW
    height = 280 if narrow else 320
    bound, kept_with = limit
    every = [*front, *((one.x, one.y) for one in (*named, *([] if baseline is None else [baseline])))]
    across = Scale.around([at for at, _ in every] + ([] if bound is None else [bound]))
    up = Scale.around([value for _, value in every], 0.1, log=False)
    if bound is not None and across.place(bound, 1.0) > 1.0 - _BEYOND:
        across = across.wider(above=_BEYOND)
    at_x = field("x", **across.options(x.title, x.labels, 4 if narrow else 7))
    at_y = field("y", **up.options(y.title, y.labels, 6, grid=True))
    layers: list[dict[str, Any]] = []
    if bound is not None:
        layers += _limit(bound, kept_with, across, x, at_x)
    layers.append(line([{"x": at, "y": value} for at, value in front], "plan", "y", x=at_x, **_rest(at_y)))
    marks = [(one, "plan") for one in named] + ([] if baseline is None else [(baseline, "baseline")])
    plot = width - _LEFT_PX, height - 60

    def px(at: float, value: float) -> tuple[float, float]:
        return across.place(at, plot[0]), plot[1] - up.place(value, plot[1])

    spots = [Spot(*px(one.x, one.y), _lines(one)) for one, _ in marks]
    avoid = [px(*front[place]) for place in thinned(len(front), _AVOIDED)]
    taken = []
    if bound is not None:
        at = across.place(bound, plot[0])
        taken = [(at - 1, at + 1, 0, plot[1]), (at - 110, at, 0, 2.5 * LINE_PX)]
    for number, ((one, ink), side) in enumerate(zip(marks, sides(spots, *plot, avoid, taken), strict=True)):
        row = [{"x": one.x, "y": one.y, "text": _lines(one)}]
        shape = {"value": "diamond" if ink == "baseline" else "circle"}
        layers.append(points(row, ink, hollow=ink == "plan" and number > 0, x=at_x, y=at_y, shape=shape))
        strong = number == 0 or ink == "baseline"
        layers += label(row, "text", ink=ink if strong else "ink", bold=strong, x=at_x, y=at_y, **side)
    return {"height": height, "layer": layers}


def _rest(encoding: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in encoding.items() if key not in ("field", "type")}


def _lines(one: Named) -> list[str]:
    return [short(one.label, 32), *([short(one.detail, 32)] if one.detail else [])]


def _limit(bound: float, kept_with: float | None, across: Scale, x: Figure, at_x: dict[str, Any]) -> list[Any]:
    """What lies beyond the limit, shaded, and the limit's label on its left."""
    shade = layer(
        [{"x": bound, "to": across.high}], {"type": "rect", "color": colour("fitted")}, x=at_x, x2={"field": "to"}
    )
    text = [f"{x.unit.text(bound)} limit"]
    if kept_with is not None and kept_with > 0.5:
        text.append(f"kept with {words.percent(kept_with)}")
    right = across.place(bound, 1.0) < 0.4
    row = [{"x": bound, "text": text}]
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
