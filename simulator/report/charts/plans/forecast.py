"""What perplexity to expect: the planned model at more and fewer tokens, with its bands, where fitted runs end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .....core.units import format_count, format_flops
from ....forecast.for_plan import for_plan
from ....forecast.forecast import Forecast
from ....forecast.law_inputs import planned_loss, run_columns
from ....predictor.predictor import Predictor
from ... import words
from ...theme import colour
from ..marks import COUNTS, PLAIN, area, field, label, layer, line, log_ticks, points, rule
from ..picture import WHOLE, Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, Spot, short, sides, text_px

__all__ = ["curve_rows", "forecast_picture"]

_SPAN = 30.0  # the curve runs from this many times fewer to this many times more tokens than planned
_POINTS = 17  # of a curve, between which it is drawn smoothly
_FLOPS_PER_PARAM_TOKEN = 6.0
_OUTSIDE_DECADES = 0.05  # from which on a plan counts as outside of the fitted runs
_ROOM = 1.06  # around the lowest and the highest number, as a factor
_SURE, _UNSURE = 0.95, 0.05
_MOST_NATS = 300.0  # whose perplexity a picture can still hold
_LEFT_PX, _FOOT_PX = 46, 60  # what the axes take


def forecast_picture(result: Forecast, predictor: Predictor, baseline: Forecast | None = None) -> Picture:
    """Perplexity of the planned model against training tokens, with 50 % and 90 % bands, plan, target and baseline."""
    tokens = _tokens(result, baseline)
    rows = curve_rows(result, predictor, tokens)
    other = [] if baseline is None else curve_rows(baseline, predictor, tokens)
    ends = _fitted_tokens(result)

    def draw(width: int) -> Spec:
        return _drawn(result, rows, other, baseline, ends, width)

    size = f"a {words.count(result.config.model.params_total)} model"
    named = size if result.config.name is None else f"{short(result.config.name)}, {size},"
    beside = "" if baseline is None else ", the baseline in grey-brown"
    return Picture(
        name="forecast",
        title=_title(result, baseline),
        subtitle=f"Perplexity{_on(result)} of {named} against training tokens, its 50 % and 90 % bands{beside}",
        caption=_caption(result),
        numbers=_numbers(result, baseline),
        draw=draw,
        widths=WHOLE,
    )


def _on(result: Forecast) -> str:
    """The text that the perplexity is of, where the predictor has several."""
    said = result.predictor["main_in_words"]
    return f" {said}" if said else " per token"


def _title(result: Forecast, baseline: Forecast | None) -> str:
    perplexity = result.headline.perplexity
    median = words.PERPLEXITY.text(perplexity.median, words.width_of(perplexity))
    target = result.config.targets.perplexity_wanted
    if target is not None and result.p_target is not None:
        wanted = words.plain(target)
        if result.p_target >= _SURE:
            return f"Perplexity {median}: almost surely under the {wanted} that is wanted"
        if result.p_target <= _UNSURE:
            return f"Perplexity {median}: almost surely not the {wanted} that is wanted"
        return f"Perplexity {median}; {words.a_chance(result.p_target)} of the {wanted} that is wanted"
    if baseline is not None:
        other = baseline.headline.perplexity
        their = words.PERPLEXITY.text(other.median, words.width_of(other))
        if their != median:
            side = "below" if perplexity.median < other.median else "above"
            return f"Perplexity {median}, {side} the baseline’s {their}"
        return f"Perplexity {median}, as the baseline’s"
    ends = words.interval(perplexity, words.PERPLEXITY).replace(" to ", " and ")
    return f"Perplexity {median}; nine in ten outcomes lie between {ends}"


def _caption(result: Forecast) -> str:
    about = result.predictor
    runs = "1 run" if about["rows"] == 1 else f"{about['rows']:,} runs"
    said = f"Predictor {about['name']}: {runs} up to {format_flops(about['fitted_flops'][1])}."
    gap = result.extrapolation_gap_decades
    if gap >= _OUTSIDE_DECADES:
        said += f" The plan lies outside them by a factor of {words.plain(10**gap)}; the bands are widened for it."
    return said


def _numbers(result: Forecast, baseline: Forecast | None) -> Numbers:
    plans = [result, *([] if baseline is None else [baseline])]
    of_each = [plan.headline for plan in plans]
    names = ("plan", "baseline")[: len(plans)]
    rows = [
        ("perplexity", *(words.PERPLEXITY.text(q.perplexity.median, words.width_of(q.perplexity)) for q in of_each))
    ]
    for level in (0.5, 0.9):
        rows.append(
            (
                f"{level:.0%}".replace("%", " %"),
                *(words.interval(q.perplexity, words.PERPLEXITY, level) for q in of_each),
            )
        )
    rows.append(("loss, nats per token", *(f"{q.loss_nats.median:.3f}" for q in of_each)))
    rows.append(("tokens", *(format_count(plan.config.data.tokens) for plan in plans)))
    return Numbers(("", *names), tuple(rows))


def _tokens(result: Forecast, baseline: Forecast | None) -> np.ndarray:
    """Token counts that are drawn: around the plan, the baseline among them."""
    planned = result.config.data.tokens
    least, most = planned / _SPAN, planned * _SPAN
    if baseline is not None:
        theirs = baseline.config.data.tokens
        least, most = min(least, theirs / 3.0), max(most / 3.0, theirs * 3.0)
    return np.geomspace(least, most, _POINTS)


def curve_rows(result: Forecast, predictor: Predictor, tokens: np.ndarray | None = None) -> list[dict[str, float]]:
    """Perplexity of the planned model at other token counts; a stated stock of unique tokens stays as it is.

    Args:
        result: The forecast of the plan.
        predictor: What predicted it.
        tokens: The token counts; by default around the plan's.

    Returns:
        For each count its median and the ends of its 50 % and 90 %: `tokens`, `median`, `low50`, `high50`, `low90`,
        `high90`.
    """
    config = result.config
    tokens = _tokens(result, None) if tokens is None else tokens
    predictor = for_plan(config, predictor)
    laws = [model.fit.law for model in predictor.parts(result.main).values()]
    # a law without tokens knows only the token count of its runs
    reads_tokens = any("tokens" in law.member.uses for law in laws)
    columns = {name: np.repeat(value, len(tokens)) for name, value in run_columns(config, predictor, []).items()}
    if reads_tokens:
        columns["tokens"] = tokens
    if any("unique_tokens" in law.columns for law in laws) and config.data.distinct_tokens() is not None:
        columns["unique_tokens"] = np.array([config.data.distinct_tokens(n) for n in tokens], dtype=float)
    prediction = planned_loss(config, predictor, result.main, columns)
    (low50, high50), (low90, high90) = prediction.interval(0.5), prediction.interval(0.9)
    losses = {"median": prediction.loss_nats, "low50": low50, "high50": high50, "low90": low90, "high90": high90}
    perplexities = {name: np.exp(np.minimum(nats, _MOST_NATS)) for name, nats in losses.items()}
    return [
        {"tokens": float(tokens[place]), **{name: float(values[place]) for name, values in perplexities.items()}}
        for place in range(len(tokens))
    ]


def _fitted_tokens(result: Forecast) -> float:
    """Tokens of this model at which its compute is that of the largest fitted run; 0 where it is outside otherwise."""
    planned = result.config.data.tokens
    end = result.predictor["fitted_flops"][1] / (_FLOPS_PER_PARAM_TOKEN * result.config.model.params_active)
    return 0.0 if result.extrapolation_gap_decades >= _OUTSIDE_DECADES and planned < end else end


def _drawn(
    result: Forecast,
    rows: Sequence[dict[str, float]],
    other: Sequence[dict[str, float]],
    baseline: Forecast | None,
    fitted_tokens: float,
    width: int,
) -> Spec:
    narrow = width < 450
    planned = _point(result)
    target = result.config.targets.perplexity_wanted
    most = _most_drawn(rows, planned, target)
    theirs = [] if baseline is None else [baseline.headline.perplexity.median]
    most = max(most, *(one * _ROOM for one in theirs)) if theirs else most
    low = min([row["low90"] for row in rows] + ([] if target is None else [target]) + theirs) / _ROOM
    first, last = rows[0]["tokens"], rows[-1]["tokens"]
    x_scale = {"type": "log", "domain": [first, last], "nice": False}
    x = field(
        "tokens",
        scale=x_scale,
        title="training tokens, log scale",
        axis={"values": log_ticks(first, last, 4 if narrow else 8), "labelExpr": COUNTS},
    )
    y = {
        "scale": {"type": "log", "domain": [low, most], "nice": False},
        "title": "perplexity per token, log scale",
        "axis": {"values": log_ticks(low, most, 7), "labelExpr": PLAIN, "grid": True},
    }
    layers: list[dict[str, Any]] = []
    if fitted_tokens > first:
        layers += _fitted(first, min(fitted_tokens, last), last, most, x, y, narrow)
    layers += [area(rows, "plan-90", "low90", "high90", x=x, **y), area(rows, "plan-50", "low50", "high50", x=x, **y)]
    if target is not None:
        layers += [
            rule([{"y": target}], "limit", dashed=True, y=field("y", **y)),
            *label(
                [{"y": target, "text": f"target {words.plain(target)}"}],
                "text",
                ink="limit",
                bold=True,
                align="right",
                dx=-4,
                dy=-9,
                x={"value": "width"},
                y=field("y", **y),
            ),
        ]
    height = 300 if narrow else 360
    plot = width - _LEFT_PX, height - _FOOT_PX
    across, up = Scale(first, last, True), Scale(low, most, True)

    def px(at: float, perplexity: float) -> tuple[float, float]:
        return across.place(at, plot[0]), plot[1] - up.place(perplexity, plot[1])

    if other and baseline is not None:
        its = _point(baseline)
        its["text"] = its["text"].replace("plan", "baseline")
        spot = Spot(*px(its["tokens"], its["median"]), [its["text"]])
        lines = [px(row["tokens"], row["median"]) for row in (*other, *rows)]
        (side,) = sides([spot], *plot, lines, _plan_boxes(planned, px))
        layers += _baseline(other, its, x, y, side)
    inside = [row for row in rows if row["tokens"] <= fitted_tokens]
    beyond = [row for row in rows if row["tokens"] >= fitted_tokens]
    if inside and beyond:
        beyond = [inside[-1], *beyond]
    layers += [
        line(part, "plan", "median", x=x, dashed=dashed, **y)
        for part, dashed in ((inside, False), (beyond, True))
        if part
    ]
    layers += _plan(planned, x, y, narrow)
    for one in layers:
        if one["mark"]["type"] in ("area", "line"):
            one["mark"]["interpolate"] = "monotone"
    return {"height": height, "layer": layers}


def _most_drawn(rows: Sequence[dict[str, float]], planned: dict[str, Any], target: float | None) -> float:
    """The upper end of what is drawn: the band at few tokens would else flatten all that is asked about."""
    tall = [row["high90"] for row in rows if row["tokens"] >= planned["tokens"] / 10.0]
    wanted = [] if target is None else [target]
    return max(*tall, float(planned["high90"]), *wanted) * _ROOM


def _fitted(first: float, end: float, last: float, most: float, x: Any, y: Any, narrow: bool) -> list[dict[str, Any]]:
    """The tokens up to which runs of this compute were fitted, shaded and labelled."""
    inside = layer(
        [{"from": first, "to": end}],
        {"type": "rect", "color": colour("fitted")},
        x=field("from", scale=x["scale"]),
        x2={"field": "to"},
    )
    if end >= last:
        return [inside]
    text = "fitted runs end" if narrow else "fitted runs end here; to the right is extrapolation"
    to_the_left = math.log(end / first) > 0.6 * math.log(last / first)
    return [
        inside,
        rule([{"tokens": end}], "muted", dashed=True, width=1, x=x),
        *label(
            [{"tokens": end, "text": text, "most": most}],
            "text",
            ink="muted",
            align="right" if to_the_left else "left",
            dx=-5 if to_the_left else 5,
            x=x,
            y={"value": 9},
        ),
    ]


def _point(result: Forecast) -> dict[str, Any]:
    perplexity = result.headline.perplexity
    (low50, high50), (low90, high90) = perplexity.intervals[0.5], perplexity.intervals[0.9]
    width = high90 - low90
    number = words.PERPLEXITY.text
    return {
        "tokens": result.config.data.tokens,
        "median": perplexity.median,
        "low50": low50,
        "high50": high50,
        "low90": low90,
        "high90": high90,
        "text": f"plan {number(perplexity.median, width)}",
        "low_text": number(low90, width),
        "high_text": number(high90, width),
    }


def _plan(planned: dict[str, Any], x: Any, y: Any, narrow: bool) -> list[dict[str, Any]]:
    """The plan itself: its median, and the ends of its 90 % numbered."""
    one = [planned]
    return [
        rule(one, "plan", width=2, x=x, y=field("low90", **y), y2={"field": "high90"}),
        points(one, "plan", x=x, y=field("median", **y)),
        *label(one, "text", ink="plan", bold=True, align="right", dx=-9, dy=11, x=x, y=field("median", **y)),
        *label(one, "high_text", ink="plan", dx=6, dy=4, x=x, y=field("high90", **y)),
        *label(one, "low_text", ink="plan", dx=6, dy=-4, x=x, y=field("low90", **y)),
    ]


def _plan_boxes(
    planned: dict[str, Any], px: Callable[[float, float], tuple[float, float]]
) -> list[tuple[float, float, float, float]]:
    """Where the plan's own labels lie, px: left, right, top, bottom."""
    at = planned["tokens"]
    found = []
    labels = (("median", "text", True, 11), ("high90", "high_text", False, 4), ("low90", "low_text", False, -4))
    for of, text, left, down in labels:
        (x, y), long = px(at, planned[of]), text_px(planned[text]) + 9
        found.append((x - long if left else x, x if left else x + long, y + down - LINE_PX / 2, y + down + LINE_PX / 2))
    return found


def _baseline(
    other: Sequence[dict[str, float]], its: dict[str, Any], x: Any, y: Any, side: dict[str, Any]
) -> list[dict[str, Any]]:
    """The baseline's median, and the baseline on it, with its label on a side that is free."""
    return [
        line(other, "baseline", "median", x=x, **y),
        points([its], "baseline", x=x, y=field("median", **y), shape={"value": "diamond"}),
        *label([its], "text", ink="baseline", bold=True, x=x, y=field("median", **y), **side),
    ]
