"""A search as a picture: the trials in order, the front where there are several goals, what mattered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...search.result import Optimization

if TYPE_CHECKING:
    import altair as alt

__all__ = ["study_chart"]

_GREY, _BLUE, _DARK, _RED = "#b8c1cc", "#4c78a8", "#1f3b5c", "#d62728"
_MOST_BARS = 12
_WIDTH, _HEIGHT = 560, 240
_TITLES = {
    "loss_nats": "loss, nats per token",
    "perplexity": "perplexity per token",
    "cost_usd": "cost, USD",
    "wall_clock_days": "wall clock, days",
    "gpu_hours": "GPU-hours",
}
_ROOM = 0.05


def study_chart(found: Optimization) -> alt.TopLevelMixin:
    """All panels below each other."""
    import altair as alt

    panels: list[Any] = [_history(found)]
    if len(found.study.goals) > 1 and found.front:
        panels.append(_front(found))
    mix = found.best.evaluation.values.get("data.mix")
    if isinstance(mix, dict):
        panels.append(_mix(found, mix))
    if found.importances:
        panels.append(_importances(found))
    trials = found.trials
    title = alt.TitleParams(
        f"{found.study.name}: {trials['complete']} plans tried",
        subtitle=f"{trials['feasible']} keep every limit; {found.sampler}, seed {found.study.options.seed}",
        anchor="start",
    )
    return alt.vconcat(*panels, title=title).resolve_scale(color="independent")


def _rows(found: Optimization) -> list[dict[str, Any]]:
    """One row a trial; the best feasible value so far beside it."""
    sign = 1.0 if found.study.directions[0] == "minimize" else -1.0
    rows, best = [], None
    for number, goals, feasible, origin in found.history:
        if feasible and (best is None or sign * goals[0] < sign * best):
            best = goals[0]
        kind = "misses a limit" if not feasible else ("sampler" if origin == "sampler" else "polish or recipe")
        rows.append({"trial": number, "goal": goals[0], "kind": kind, "best": best})
    return rows


def _history(found: Optimization) -> Any:
    import altair as alt

    rows, name = _rows(found), found.study.goals[0].label
    values = sorted(row["goal"] for row in rows if row["kind"] != "misses a limit") or sorted(r["goal"] for r in rows)
    # a few hopeless trials must not flatten the rest
    cut = min(len(values) - 1, round(0.95 * len(values)))
    small = found.study.directions[0] == "minimize"
    low, high = (values[0], values[cut]) if small else (values[len(values) - 1 - cut], values[-1])
    room = _ROOM * (high - low) or abs(low) * _ROOM or 1.0
    y = alt.Y("goal:Q", title=_title(found, 0), scale=alt.Scale(domain=[low - room, high + room], nice=False))
    x = alt.X("trial:Q", title="trial", scale=alt.Scale(domain=[-1, rows[-1]["trial"] + 1], nice=False))
    kinds = ["sampler", "polish or recipe", "misses a limit"]
    colour = alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=[_BLUE, _RED, _GREY]))
    data = alt.Data(values=rows)  # type: ignore[call-arg]
    dots = alt.Chart(data).mark_circle(size=28, opacity=0.8, clip=True).encode(x=x, y=y, color=colour)
    known = alt.Data(values=[row for row in rows if row["best"] is not None])  # type: ignore[call-arg]
    line = alt.Chart(known).mark_line(interpolate="step-after", color=_DARK, clip=True)
    line = line.encode(x=x, y=alt.Y("best:Q", title=_title(found, 0)))
    return (dots + line).properties(
        width=_WIDTH, height=_HEIGHT, title=f"{name}: dots the trials, line the best so far"
    )


def _front(found: Optimization) -> Any:
    import altair as alt

    def axis(number: int) -> dict[str, Any]:
        return {"title": _title(found, number), "scale": alt.Scale(zero=False), "axis": alt.Axis(format="~s")}

    rows = [{"a": goals[0], "b": goals[1], "kind": "feasible"} for _, goals, feasible, _ in found.history if feasible]
    front = [{"a": one.evaluation.goals[0], "b": one.evaluation.goals[1]} for one in found.front]
    best = [{"a": found.best.evaluation.goals[0], "b": found.best.evaluation.goals[1], "text": "balanced"}]
    own = found.baseline.evaluation
    here = [{"a": own.goals[0], "b": own.goals[1], "text": "as it is"}] if own.why is None else []

    def drawn(values: list[dict[str, Any]]) -> alt.Chart:
        return alt.Chart(alt.Data(values=values))  # type: ignore[call-arg]

    def at(chart: alt.Chart) -> alt.Chart:
        return chart.encode(x=alt.X("b:Q", **axis(1)), y=alt.Y("a:Q", **axis(0)))

    layers = [
        at(drawn(rows).mark_circle(color=_GREY, size=24, opacity=0.7)),
        at(drawn(front).mark_line(color=_DARK)).encode(order="b:Q"),
        at(drawn(front).mark_circle(color=_DARK, size=36, opacity=1)),
    ]
    for point, colour in ((best, _RED), (here, "#2ca02c")):
        if point:
            layers.append(at(drawn(point).mark_point(color=colour, filled=True, size=90)))
            layers.append(at(drawn(point).mark_text(color=colour, align="left", dx=8, dy=-8)).encode(text="text:N"))
    return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, title="the front among the feasible plans")


def _mix(found: Optimization, mix: dict[str, float]) -> Any:
    import altair as alt

    own = found.baseline.evaluation.values.get("data.mix") or {}
    rows = [{"domain": d, "share": s, "plan": "best"} for d, s in mix.items()]
    rows += [{"domain": d, "share": own.get(d, 0.0), "plan": "as it is"} for d in mix if own]
    order = sorted(mix, key=lambda domain: -mix[domain])
    colour = alt.Color("plan:N", title=None, scale=alt.Scale(domain=["as it is", "best"], range=[_GREY, _BLUE]))
    chart = alt.Chart(alt.Data(values=rows)).mark_bar()  # type: ignore[call-arg]
    return chart.encode(
        y=alt.Y("domain:N", sort=order, title=None),
        x=alt.X("share:Q", title="share of training tokens", axis=alt.Axis(format="%")),
        yOffset=alt.YOffset("plan:N", sort=["as it is", "best"]),
        color=colour,
    ).properties(width=_WIDTH, title="data mix")


def _importances(found: Optimization) -> Any:
    import altair as alt

    name, shares = next(iter(found.importances.items()))
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])[:_MOST_BARS]
    rows = [{"what": key.removesuffix(".u"), "share": share} for key, share in ordered]
    chart = alt.Chart(alt.Data(values=rows)).mark_bar(color=_BLUE)  # type: ignore[call-arg]
    return chart.encode(
        y=alt.Y("what:N", sort=[row["what"] for row in rows], title=None),
        x=alt.X("share:Q", title="share of importance", axis=alt.Axis(format="%")),
    ).properties(width=_WIDTH, title=f"what sets good trials apart in {name} (PED-ANOVA)")


def _title(found: Optimization, number: int) -> str:
    goal = found.study.goals[number]
    quantile = "" if goal.goal.quantile == 0.5 else f", {goal.goal.quantile:.0%} quantile"
    return _TITLES.get(goal.label, goal.label) + quantile
