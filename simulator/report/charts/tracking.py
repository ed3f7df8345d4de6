"""The chart of a running job: its points, the band that was planned, and the band that is expected from now on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...curve.prefix import CurvePosterior, condition
from ...curve.rates.planned_rates import path_of
from ...tracking.result import Tracking

if TYPE_CHECKING:
    import altair as alt

__all__ = ["tracking_chart"]

_STEPS = 200  # places of a band
_MOST_POINTS = 800
_SURE = 2e-3  # log sd of a target's band at its end: it is stated without doubt, and a band needs some width
_ROOM = 0.05  # of the height, above and below
_GREY, _BLUE, _DARK, _RED, _GREEN = "#9aa5b1", "#4c78a8", "#1f3b5c", "#d62728", "#2ca02c"


def tracking_chart(result: Tracking) -> alt.TopLevelMixin:
    """Loss against steps: what was logged, the planned 90 % band from the start, the expected one from now on."""
    import altair as alt

    planned = _rows(_planned(result))
    ahead = [] if result.loss_nats is None else _rows(result.belief, first=result.log.now)
    points = _points(result)
    scale = alt.Scale(domain=_domain(planned, ahead, points), nice=False, zero=False)
    x = alt.X("step:Q", title="optimizer step", scale=alt.Scale(domain=[0, result.steps], nice=False))
    # one y axis for all layers; what is above it, the start of the run, is cut off
    title = "loss, nats per token"

    def drawn(rows: list[dict[str, Any]]) -> alt.Chart:
        return alt.Chart(alt.Data(values=rows))  # type: ignore[call-arg]

    def y(name: str) -> alt.Y:
        return alt.Y(f"{name}:Q", title=title, scale=scale)

    def band(rows: list[dict[str, Any]], level: str, colour: str, opacity: float) -> alt.Chart:
        area = drawn(rows).mark_area(color=colour, opacity=opacity, clip=True)
        return area.encode(x=x, y=y(f"low{level}"), y2=f"high{level}:Q")

    def line(rows: list[dict[str, Any]], colour: str, **more: Any) -> alt.Chart:
        return drawn(rows).mark_line(color=colour, clip=True, **more).encode(x=x, y=y("median"))

    layers: list[Any] = [
        band(planned, "90", _GREY, 0.25),
        line(planned, _GREY, strokeDash=[5, 4]),
        band(ahead, "90", _BLUE, 0.25),
        band(ahead, "50", _BLUE, 0.4),
        line(ahead, _DARK),
        drawn(points).mark_circle(color="#222222", size=10, opacity=0.7, clip=True).encode(x=x, y=y("median")),
    ]
    plan = [{"median": result.plan.loss_nats, "label": f"{result.plan.source} {result.plan.loss_nats:.4g}"}]
    layers.append(drawn(plan).mark_rule(color=_GREEN, strokeDash=[6, 4]).encode(y=y("median")))
    text = drawn(plan).mark_text(align="left", dy=8, x=5, color=_GREEN)
    layers.append(text.encode(y=y("median"), text="label:N"))
    if result.shift is not None:
        since = [{"step": result.shift.since, "label": f"+{result.shift.size:.1%} since here"}]
        layers.append(drawn(since).mark_rule(color=_RED).encode(x=x))
        text = drawn(since).mark_text(align="left", dx=4, y=10, color=_RED)
        layers.append(text.encode(x=x, text="label:N"))
    head = alt.TitleParams(
        f"{result.config.name or 'run'}: {result.headline}",
        subtitle=[*result.sentence.split("; "), _LEGEND],
        anchor="start",
    )
    return alt.layer(*layers).properties(width=640, height=380, title=head)


_LEGEND = "dots: logged; grey: planned, 90 %; blue: expected from now on, 50 % and 90 %"


def _planned(result: Tracking) -> CurvePosterior:
    """What was to be expected before the first step."""
    plan = result.plan
    prior = result.plan_prior
    return condition(path_of(result.config), prior, anchor=(plan.loss_nats, max(plan.log_sd, _SURE)))


def _rows(belief: CurvePosterior, first: float = 0.0) -> list[dict[str, float]]:
    """A band from step `first` on, or from where the law holds."""
    steps = np.linspace(min(max(first, belief.settled), belief.path.steps), belief.path.steps, _STEPS)
    band = belief.band(steps)
    (low50, high50), (low90, high90) = band.interval(0.5), band.interval(0.9)
    columns = {"step": steps, "median": band.loss, "low50": low50, "high50": high50, "low90": low90, "high90": high90}
    return [{name: float(values[i]) for name, values in columns.items()} for i in range(_STEPS)]


def _points(result: Tracking) -> list[dict[str, float]]:
    """The logged points, thinned evenly."""
    step, loss = result.log.step, result.log.loss
    some = np.unique(np.linspace(0, len(step) - 1, min(len(step), _MOST_POINTS)).astype(int))
    return [{"step": float(step[i]), "median": float(loss[i])} for i in some]


def _domain(planned: list[dict[str, float]], ahead: list[dict[str, float]], points: list[dict[str, float]]) -> list:
    """The losses that are shown: both bands, and the points from where the law holds."""
    settled = [row["median"] for row in points if row["step"] >= planned[0]["step"]] or [points[-1]["median"]]
    low = min(settled + [row["low90"] for row in planned + ahead])
    # spikes and the planned band's wide beginning must not flatten the rest
    high = max([float(np.quantile(settled, 0.98)), planned[0]["median"]] + [row["high90"] for row in ahead])
    return [low - _ROOM * (high - low), high + _ROOM * (high - low)]
