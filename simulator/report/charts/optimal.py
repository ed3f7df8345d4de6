"""Charts of curves of equal compute, of equal loss and of equal limits, and of what each number of a plan moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.errors import UsageError
from ....core.units import format_count, format_flops
from ...allocation.compute_optimal.curves import IsoFlop, IsoLoss
from ...allocation.sensitivity.sensitivity import Sensitivity
from ...allocation.under_limits.money import MoneyOptimal
from .altair_old import count_axis

if TYPE_CHECKING:
    import altair as alt

__all__ = ["curves_chart", "money_chart", "sensitivity_chart"]

_WIDTH, _HEIGHT = 640, 380
_PAD = 0.12  # of the losses shown, above and below the curves
_WIDEST_BAND = 0.5  # of the losses shown; wider bands would cover all and are said in words
_MOST_TOKENS = 30.0  # times those of the least compute, up to which a curve of equal loss is drawn
_BARS, _BAR_HEIGHT, _LEAST_BAR = 25, 18, 0.01


def curves_chart(flops: Sequence[IsoFlop], losses: Sequence[IsoLoss]) -> alt.TopLevelMixin:
    """Loss over size at equal compute, above tokens over size at equal loss; either alone where that is all there is.

    UsageError without any curve.
    """
    import altair as alt

    panels = ([_equal_compute(flops)] if flops else []) + ([_equal_loss(losses, flops)] if losses else [])
    if not panels:
        raise UsageError("chart: there is no curve to draw; expected a compute or a loss")
    return panels[0] if len(panels) == 1 else alt.vconcat(*panels, spacing=24).resolve_scale(color="independent")


def _sizes() -> Any:
    import altair as alt

    return alt.X("params:Q", scale=alt.Scale(type="log", nice=False, padding=12), title="parameters", axis=count_axis())


def _equal_compute(curves: Sequence[IsoFlop]) -> Any:
    import altair as alt

    rows = [row for curve in curves for row in _curve_rows(curve)]
    values = [row["loss"] for row in rows]
    room = _PAD * (max(values) - min(values))
    domain = [min(values) - room, max(values) + room]
    data = alt.Data(values=rows)  # type: ignore[call-arg]
    order = [format_flops(curve.flops) for curve in curves]
    legend = alt.Legend(symbolType="stroke", symbolOpacity=1.0, symbolStrokeWidth=2)
    color = alt.Color("compute:N", sort=order, scale=alt.Scale(scheme="viridis"), title="compute", legend=legend)
    y_scale = alt.Scale(domain=domain, zero=False, nice=False)
    y = alt.Y("loss:Q", title="loss, nats per token", scale=y_scale)
    base = alt.Chart(data)
    band = base.mark_area(opacity=0.1, clip=True).encode(
        x=_sizes(), y=alt.Y("low:Q", scale=y_scale, title="loss, nats per token"), y2="high:Q", color=color
    )
    line = base.mark_line(clip=True).encode(x=_sizes(), y=y, color=color)
    best = alt.Chart(alt.Data(values=[_best_row(curve) for curve in curves]))  # type: ignore[call-arg]
    rule = best.mark_rule(color="#d62728", strokeWidth=2, clip=True).encode(x="least:Q", x2="most:Q", y="loss:Q")
    dot = best.mark_point(color="#d62728", filled=True, size=70).encode(x="params:Q", y="loss:Q")
    label = best.mark_text(color="#d62728", dy=13, fontSize=10).encode(x="params:Q", y="loss:Q", text="label:N")
    first = curves[0].optimum
    wide = float(np.median([row["high"] - row["low"] for row in rows])) > _WIDEST_BAND * (domain[1] - domain[0])
    bands = f"90 % of the loss: {_relative_band(curves[-1])}" if wide else "bands: 90 % of the loss"
    subtitle = f"law {first.law} of {first.predictor}; red: the optimum and its 90 % interval; {bands}"
    title = alt.TitleParams("loss over size at equal compute", subtitle=subtitle, anchor="start")
    return alt.layer(*([] if wide else [band]), line, rule, dot, label).properties(
        width=_WIDTH, height=_HEIGHT, title=title
    )


def _curve_rows(curve: IsoFlop) -> list[dict[str, Any]]:
    series = {"params": curve.params, "loss": curve.loss_nats, "low": curve.low_90, "high": curve.high_90}
    named = {"compute": format_flops(curve.flops)}
    return [named | {k: float(v[i]) for k, v in series.items()} for i in range(len(curve.params))]


def _relative_band(curve: IsoFlop) -> str:
    loss = curve.optimum.loss_nats
    low, high = (end / loss.median - 1.0 for end in loss.intervals[0.9])
    return f"{low:+.0%} to {high:+.0%}"


def _best_row(curve: IsoFlop) -> dict[str, Any]:
    best = curve.optimum
    least, most = (float(np.clip(end, curve.params[0], curve.params[-1])) for end in best.params.intervals[0.9])
    label = f"{format_count(best.params.median)} on {format_count(best.tokens.median)}"
    place = {"params": best.params.median, "tokens": best.tokens.median, "loss": best.loss_nats.median}
    return {**place, "least": least, "most": most, "label": label}


def _equal_loss(losses: Sequence[IsoLoss], flops: Sequence[IsoFlop]) -> Any:
    import altair as alt

    rows = [row for curve in losses for row in _loss_rows(curve)]
    order = [f"{curve.loss_nats:g} nats" for curve in losses]
    color = alt.Color("reached:N", sort=order, scale=alt.Scale(scheme="plasma"), title="loss")
    tokens = alt.Y("tokens:Q", scale=alt.Scale(type="log", nice=False), title="training tokens", axis=count_axis())
    line = alt.Chart(alt.Data(values=rows)).mark_line(clip=True).encode(x=_sizes(), y=tokens, color=color)  # type: ignore[call-arg]
    cheapest = [
        {
            "params": curve.cheapest_params,
            "tokens": curve.cheapest_tokens,
            "label": f"{curve.loss_nats:g} nats: {format_flops(curve.cheapest_flops.median)}",
        }
        for curve in losses
    ]
    best = alt.Chart(alt.Data(values=cheapest))  # type: ignore[call-arg]
    layers: list[Any] = [line]
    if len(flops) > 1:
        path = alt.Chart(alt.Data(values=[_best_row(curve) for curve in flops]))  # type: ignore[call-arg]
        layers.append(path.mark_line(color="#888888", strokeDash=[5, 4], point=True).encode(x=_sizes(), y=tokens))
    layers.append(best.mark_point(color="#d62728", filled=True, size=70).encode(x="params:Q", y="tokens:Q"))
    for around in ({"stroke": "white", "strokeWidth": 4.0}, {}):  # a halo keeps the label apart from what it crosses
        text = best.mark_text(color="#d62728", align="left", dx=9, dy=-9, fontSize=10, **around)
        layers.append(text.encode(x="params:Q", y="tokens:Q", text="label:N"))
    subtitle = "red: the least compute for the loss" + ("; dashed: optima of the computes above" if flops else "")
    title = alt.TitleParams("tokens over size at equal loss", subtitle=subtitle, anchor="start")
    return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, title=title)


def _loss_rows(curve: IsoLoss) -> list[dict[str, Any]]:
    reached = {"reached": f"{curve.loss_nats:g} nats"}
    return [
        reached | {"params": float(n), "tokens": float(d)}
        for n, d in zip(curve.params, curve.tokens, strict=True)
        if d <= _MOST_TOKENS * curve.cheapest_tokens
    ]


def money_chart(result: MoneyOptimal) -> alt.TopLevelMixin:
    """Loss over the sizes of a plan's family within the same limits, the best one and the plan's own marked."""
    import altair as alt

    rows = [{"params": row.params_total, "loss": row.loss_nats} for row in result.sizes]
    values = [row["loss"] for row in rows]
    room = _PAD * max(max(values) - min(values), 1e-3)
    domain = alt.Scale(domain=[min(values) - room, max(values) + room], zero=False, nice=False)
    y = alt.Y("loss:Q", title="loss, nats per token", scale=domain)
    line = alt.Chart(alt.Data(values=rows)).mark_line(color="#1f3b5c", point=True).encode(x=_sizes(), y=y)  # type: ignore[call-arg]
    marks = [_mark("best", result.config.model.params_total, result.config.data.tokens, result.loss_nats.median)]
    if result.plan is not None and result.plan.params_total != marks[0]["params"]:
        marks.append(_mark("the plan's size", result.plan.params_total, result.plan.tokens, result.plan.loss_nats))
    low, high = result.params.intervals[0.9]
    sizes = [row["params"] for row in rows]
    ends = {"least": max(low, min(sizes)), "most": min(high, max(sizes)), "loss": marks[0]["loss"]}
    rule = alt.Chart(alt.Data(values=[ends])).mark_rule(color="#d62728", strokeWidth=2)  # type: ignore[call-arg]
    data = alt.Chart(alt.Data(values=marks))  # type: ignore[call-arg]
    dots = data.mark_point(color="#d62728", filled=True, size=80).encode(x="params:Q", y=y)
    labels = [
        alt.Chart(alt.Data(values=[mark]))  # type: ignore[call-arg]
        .mark_text(color="#d62728", dy=dy, align="left" if dy < 0 else "center", fontSize=11, **around)
        .encode(x="params:Q", y=y, text="label:N")
        for mark, dy in zip(marks, (16, -12), strict=False)  # the best lies in the valley: its label goes below
        for around in ({"stroke": "white", "strokeWidth": 4.0}, {})
    ]
    limits = [] if result.limits.cost_usd is None else [f"{format_count(result.limits.cost_usd)} USD"]
    limits += [] if result.limits.wall_clock_days is None else [f"{result.limits.wall_clock_days:.3g} days"]
    machines = f"{result.cluster.devices} × {result.cluster.accelerator}"
    subtitle = f"each size with the tokens that the limits allow on {machines}; red: the best, its 90 % interval"
    title = alt.TitleParams(f"loss over size within {' and '.join(limits)}", subtitle=subtitle, anchor="start")
    layers: list[Any] = [line, rule.encode(x="least:Q", x2="most:Q", y=y), dots, *labels]
    return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, title=title)


def _mark(what: str, params: float, tokens: float, loss: float) -> dict[str, Any]:
    label = f"{what}: {format_count(params)} on {format_count(tokens)}"
    return {"params": params, "loss": loss, "label": label}


def sensitivity_chart(result: Sensitivity) -> alt.TopLevelMixin:
    """What turning each number down and up does to the loss, largest first. UsageError where nothing moves it."""
    import altair as alt

    most = max((row.effect[0] for row in result.rows), default=0.0)
    moved = [row for row in result.rows if row.effect[0] >= _LEAST_BAR * most][:_BARS]
    if not most > 0:
        raise UsageError("chart: no number of the plan moves the loss, so there is nothing to draw")
    rows = [
        {"key": row.key, "turned": turned, "change": change}
        for row in moved
        for turned, change in (("down", row.down["loss_nats"]), ("up", row.up["loss_nats"]))
        if change is not None
    ]
    y = alt.Y("key:N", sort=[row.key for row in moved], title=None, axis=alt.Axis(labelLimit=320))
    color = alt.Color("turned:N", scale=alt.Scale(domain=["down", "up"], range=["#d98c3f", "#4c78a8"]), title="turned")
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(opacity=0.85)
        .encode(  # type: ignore[call-arg]
            x=alt.X("change:Q", title="change of the loss, nats per token"), y=y, yOffset="turned:N", color=color
        )
    )
    zero = alt.Chart(alt.Data(values=[{"zero": 0.0}])).mark_rule(color="#444444").encode(x="zero:Q")  # type: ignore[call-arg]
    subtitle = f"each number ± {result.step:.0%}, shares of the mix ± 1 point, all else held; by {result.predictor}"
    title = alt.TitleParams(f"{result.name or 'plan'}: what moves the loss", subtitle=subtitle, anchor="start")
    return alt.layer(bars, zero).properties(width=_WIDTH, height=2 * _BAR_HEIGHT * len(moved), title=title)
