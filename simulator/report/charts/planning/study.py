"""The pictures of a study: its front with the named plans first, the mix, and last what the search found when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....search.result import Optimization
from ..marks import COUNTS, field, label, layer, points
from ..picture import Numbers, Picture, Spec
from ..placing import Scale, short
from .front import figure

__all__ = ["history_picture"]

_NARROW = 450
_MOST_POINTS = 400
_MOST_SHARES, _LEAST_SHARE = 5, 0.02
_TALL = 0.9  # of the trials after the first feasible one set the scale; hopeless first ones would flatten the rest


def history_picture(found: Optimization) -> Picture | None:
    """The best feasible value of the first goal after each trial; None where no trial kept every limit."""
    rows = _best_so_far(found)
    if not rows:
        return None
    goal = found.study.goals[0]
    of = figure(goal.name, [row["best"] for row in rows])
    last, trials = rows[-1], found.trials["complete"]

    def draw(width: int) -> Spec:
        return _drawn(rows, found.history[-1][0], of, width)

    table = [(f"{row['trial']:,}", of.unit.text(row["best"])) for row in rows[-10:]]
    return Picture(
        name="history",
        title=f"Trial {last['trial']:,} of {trials:,} found the best: {of.unit.text(last['best'])}",
        subtitle=f"Best {of.name} found after each trial, among those that keep every limit",
        caption=_caption(found),
        numbers=Numbers(("trial", of.title), tuple(table)),
        draw=draw,
    )


def _best_so_far(found: Optimization) -> list[dict[str, Any]]:
    """The trials that were better than all before."""
    sign = 1.0 if found.study.directions[0] == "minimize" else -1.0
    rows: list[dict[str, Any]] = []
    for number, goals, feasible, _ in found.history:
        if feasible and (not rows or sign * goals[0] < sign * rows[-1]["best"]):
            rows.append({"trial": number, "best": goals[0]})
    return rows


def _caption(found: Optimization) -> str:
    counts = found.trials
    said = f"{counts['feasible']:,} of {counts['complete']:,} plans keep every limit; "
    said += f"{found.sampler}, seed {found.study.options.seed}."
    for name, shares in list(found.importances.items())[:1]:
        ordered = sorted(shares.items(), key=lambda pair: -pair[1])[:_MOST_SHARES]
        parts = [f"{short(key.removesuffix('.u'))} {share:.0%}" for key, share in ordered if share >= _LEAST_SHARE]
        if parts:
            said += f" What sets good trials apart in {short(name)} (PED-ANOVA): {', '.join(parts)}."
    return said


def _drawn(rows: Sequence[dict[str, Any]], last: int, of: Any, width: int) -> Spec:
    narrow = width < _NARROW
    values = [row["best"] for row in rows]
    kept = values[int((1.0 - _TALL) * len(values)) :]
    across = Scale(0.0, float(max(last, 1)), False)
    up = Scale.around(kept, 0.08, log=False)
    x = field("trial", **across.options("trial", COUNTS, 4 if narrow else 7, labelFlush=True))
    y = up.options(of.title, of.labels, 5, grid=True)
    at_y = field("best", **y)
    drawn = [*rows, {"trial": last, "best": values[-1]}]
    mark = {"type": "line", "interpolate": "step-after", "color": "var(--plan)", "clip": True}
    best = [rows[-1] | {"text": of.unit.text(values[-1])}]
    right = rows[-1]["trial"] < 0.6 * last
    return {
        "height": 200 if narrow else 240,
        "layer": [
            layer(drawn[-_MOST_POINTS:], mark, x=x, y=at_y),
            points(best, "plan", x=x, y=at_y),
            *label(
                best,
                "text",
                ink="plan",
                bold=True,
                align="left" if right else "right",
                dx=8 if right else -8,
                dy=-14 if found_falls(values) else 14,
                x=x,
                y=at_y,
            ),
        ],
    }


def found_falls(values: Sequence[float]) -> bool:
    """Whether the best value falls, so that there is room above its end."""
    return values[-1] <= values[0]
