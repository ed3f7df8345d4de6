"""Charts as files: `.html` (self-contained, works offline), `.svg` or `.png`, drawn by Altair and vl-convert."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.errors import UsageError
from ....core.files import write_bytes
from ....core.units import format_count
from ...forecast.for_plan import for_plan
from ...forecast.forecast import Forecast
from ...forecast.law_inputs import planned_loss, run_columns
from ...predictor.predictor import Predictor

if TYPE_CHECKING:
    import altair as alt

FORMATS = (".html", ".svg", ".png")
_SPAN = 30.0  # the curve runs from this many times fewer to this many times more tokens than planned
_POINTS = 61
_DIGIT = "round(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)))"  # the first of the number's
# 1, 2 and 5 of a decade get a label: where all do, Vega drops those that overlap, decades among them
_COUNTS = f"indexof([1, 2, 5], {_DIGIT}) + 1 ? replace(format(datum.value, '~s'), 'G', 'B') : ''"


def count_axis() -> alt.Axis:
    """A logarithmic axis of counts, labelled as 100M, 2B, 5T."""
    import altair as alt

    return alt.Axis(labelExpr=_COUNTS, labelOverlap="greedy", labelSeparation=12)


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise UsageError unless a chart can be written in the format of the extension."""
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"--chart {path}: unknown format {Path(path).suffix!r}; expected {', '.join(FORMATS)}")


def save_chart(chart: alt.TopLevelMixin, path: str | os.PathLike[str]) -> None:
    """Write a chart whole, in the format of the extension. UsageError for another extension."""
    import vl_convert as vlc

    check_format(path)
    path = Path(path)
    spec = chart.to_json().replace(
        "<", "‹"
    )  # vl-convert writes text into the page as it is, and a name must not end its script
    kind = path.suffix.lower()
    if kind == ".html":
        data = vlc.vegalite_to_html(spec, bundle=True).encode("utf-8")
    elif kind == ".svg":
        data = vlc.vegalite_to_svg(spec).encode("utf-8")
    else:
        data = vlc.vegalite_to_png(spec, scale=2)
    write_bytes(path, data)


def forecast_chart(result: Forecast, predictor: Predictor) -> alt.TopLevelMixin:
    """Perplexity of the planned model against training tokens, with its bands, the plan and the target."""
    import altair as alt

    rows = _curve(result, predictor)
    data = alt.Data(values=rows)  # type: ignore[call-arg]
    x = alt.X("tokens:Q", scale=alt.Scale(type="log", nice=False), title="training tokens", axis=count_axis())
    y_title = "perplexity per token"

    def band(low: str, high: str, opacity: float, label: str) -> alt.Chart:
        shade = alt.Chart(data).transform_calculate(band=f"'{label}'")
        return shade.mark_area(opacity=opacity, color="#4c78a8").encode(
            x=x, y=alt.Y(f"{low}:Q", title=y_title, scale=alt.Scale(zero=False)), y2=f"{high}:Q"
        )

    line = alt.Chart(data).mark_line(color="#1f3b5c").encode(x=x, y=alt.Y("median:Q", title=y_title))
    plan = alt.Chart(alt.Data(values=[_plan(result)]))  # type: ignore[call-arg]
    bar = plan.mark_rule(color="#d62728", strokeWidth=2).encode(x="tokens:Q", y="low:Q", y2="high:Q")
    dot = plan.mark_point(color="#d62728", filled=True, size=90).encode(x="tokens:Q", y="median:Q")
    label = plan.mark_text(align="left", dx=8, dy=-10, color="#d62728").encode(
        x="tokens:Q", y="median:Q", text="label:N"
    )
    layers: list[Any] = [
        band("low90", "high90", 0.2, "90 %"),
        band("low50", "high50", 0.35, "50 %"),
        line,
        bar,
        dot,
        label,
    ]
    target = result.config.targets.perplexity_wanted
    if target is not None:
        rule = alt.Chart(alt.Data(values=[{"y": target, "label": f"target {target:.4g}"}]))  # type: ignore[call-arg]
        layers.append(rule.mark_rule(strokeDash=[6, 4], color="#2ca02c").encode(y="y:Q"))
        layers.append(rule.mark_text(align="left", dy=-7, x=5, color="#2ca02c").encode(y="y:Q", text="label:N"))
    name = result.config.name or "run"
    of_what = result.predictor["main_in_words"]
    size = format_count(result.config.model.params_total)
    subtitle = f"{size} parameters; bands: 50 % and 90 %; rests on {result.predictor['name']}"
    heading = f"{name}: predicted perplexity" + (f", {of_what}" if of_what else "")
    title = alt.TitleParams(heading, subtitle=subtitle, anchor="start")
    return alt.layer(*layers).properties(width=640, height=380, title=title)


def _curve(result: Forecast, predictor: Predictor) -> list[dict[str, float]]:
    """The planned model at other token counts; a stated stock of unique tokens stays as it is."""
    config = result.config
    predictor = for_plan(config, predictor)
    laws = [model.fit.law for model in predictor.parts(result.main).values()]
    # a law without tokens knows only the token count of its runs
    reads_tokens = any("tokens" in law.member.uses for law in laws)
    tokens = config.data.tokens * np.geomspace(1 / _SPAN, _SPAN, _POINTS) ** reads_tokens
    columns = {k: np.repeat(v, _POINTS) for k, v in run_columns(config, predictor, []).items()}
    columns["tokens"] = tokens
    if any("unique_tokens" in law.columns for law in laws) and config.data.distinct_tokens() is not None:
        columns["unique_tokens"] = np.array([config.data.distinct_tokens(n) for n in tokens], dtype=float)
    prediction = planned_loss(config, predictor, result.main, columns)
    (low50, high50), (low90, high90) = prediction.interval(0.5), prediction.interval(0.9)
    series = {"tokens": tokens, "median": prediction.loss_nats}
    series |= {"low50": low50, "high50": high50, "low90": low90, "high90": high90}
    return [{k: float(v[i] if k == "tokens" else np.exp(v[i])) for k, v in series.items()} for i in range(_POINTS)]


def _plan(result: Forecast) -> dict[str, Any]:
    perplexity = result.headline.perplexity
    low, high = perplexity.intervals[0.9]
    label = f"plan: {perplexity.median:.2f} ({low:.2f} to {high:.2f})"
    return {"tokens": result.config.data.tokens, "median": perplexity.median, "low": low, "high": high, "label": label}


__all__ = ["FORMATS", "check_format", "forecast_chart", "save_chart"]
