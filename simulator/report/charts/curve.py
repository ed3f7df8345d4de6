"""The chart of a planned run's loss curve: loss with its bands, and the learning rate under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ....core.units import format_count
from ...curve.forecasting import CurveForecast

if TYPE_CHECKING:
    import altair as alt

__all__ = ["curve_chart"]

_WIDTH, _LOSS_HEIGHT, _RATE_HEIGHT = 640, 340, 90
_PLAIN_ZERO = "datum.value == 0 ? '0' : datum.label"  # ticks of one axis share a prefix, so that 0 were 0k


def curve_chart(result: CurveForecast) -> alt.TopLevelMixin:
    """Loss against steps with its 50 % and 90 % bands, above the learning rate's share of its peak."""
    import altair as alt

    data = alt.Data(values=_rows(result))  # type: ignore[call-arg]
    steps = result.run.path.steps
    scale = alt.Scale(domain=[0, steps], nice=False)
    x = alt.X("step:Q", scale=scale, title=None, axis=alt.Axis(labels=False, format="~s"))
    loss = alt.Scale(zero=False)

    def band(level: str, opacity: float) -> alt.Chart:
        return (
            alt.Chart(data)
            .mark_area(opacity=opacity, color="#4c78a8")
            .encode(x=x, y=alt.Y(f"low{level}:Q", title="loss, nats per token", scale=loss), y2=f"high{level}:Q")
        )

    line = alt.Chart(data).mark_line(color="#1f3b5c").encode(x=x, y=alt.Y("loss:Q", scale=loss))
    end = alt.Chart(alt.Data(values=[_end(result)]))  # type: ignore[call-arg]
    dot = end.mark_point(color="#d62728", filled=True, size=80).encode(x="step:Q", y="loss:Q")
    label = end.mark_text(align="right", color="#d62728").encode(
        x=alt.value(_WIDTH - 8), y=alt.value(14), text="label:N"
    )
    top = alt.layer(band("90", 0.2), band("50", 0.35), line, dot, label).properties(width=_WIDTH, height=_LOSS_HEIGHT)
    rates = alt.Chart(alt.Data(values=_rates(result)))  # type: ignore[call-arg]
    under = rates.mark_line(color="#888888").encode(
        x=alt.X("step:Q", scale=scale, title="step", axis=alt.Axis(format="~s", labelExpr=_PLAIN_ZERO)),
        y=alt.Y("rate:Q", title="rate / peak", scale=alt.Scale(domain=[0, 1])),
    )
    subtitle = (
        f"{format_count(result.run.size)} parameters; bands: 50 % and 90 %; rests on the curves of {result.run.family} "
        f"({result.rests_on})"
    )
    title = alt.TitleParams(f"{result.run.name}: predicted loss curve", subtitle=subtitle, anchor="start")
    return alt.vconcat(top, under.properties(width=_WIDTH, height=_RATE_HEIGHT), spacing=8).properties(title=title)


def _rows(result: CurveForecast) -> list[dict[str, float]]:
    band = result.belief.band(result.steps)
    (low50, high50), (low90, high90) = band.interval(0.5), band.interval(0.9)
    series = {"step": band.step, "loss": band.loss, "low50": low50, "high50": high50, "low90": low90, "high90": high90}
    return [{name: float(values[i]) for name, values in series.items()} for i in range(len(band.step))]


def _rates(result: CurveForecast, most: int = 400) -> list[dict[str, float]]:
    """The rate at some steps, and on both sides of each jump."""
    rate = result.run.path.rate
    jumps = np.flatnonzero(np.abs(np.diff(rate)) > 0.01)[:most]
    at = np.unique(np.concatenate([np.linspace(0, len(rate) - 1, most).astype(int), jumps, jumps + 1]))
    return [{"step": int(step), "rate": float(rate[step])} for step in at]


def _end(result: CurveForecast) -> dict[str, float | str]:
    final = result.final
    low, high = final.intervals[0.9]
    label = f"ends at {final.median:.3f} ({low:.3f} to {high:.3f})"
    return {"step": result.run.path.steps, "loss": final.median, "label": label}
