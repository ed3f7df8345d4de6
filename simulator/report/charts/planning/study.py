"""The pictures of a study: its front with the named plans first, the mix, and last what the search found when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....search.alternatives import Alternative
from ....search.candidate import Candidate
from ....search.result import Optimization
from ....search.study import BoundLimit
from ... import words
from ..marks import COUNTS, field, label, layer, points
from ..picture import Numbers, Picture, Spec
from ..placing import Scale
from .front import Limit, Named, figure, front_picture
from .mix import mix_picture
from .tornado import knob_in_words

__all__ = ["front_of_study", "history_picture", "study_pictures"]

_NARROW = 450
_NAMES = {"same_money": "same money", "same_loss": "same loss", "relaxed": "smallest relaxation"}
_MOST_POINTS = 400
_MOST_SHARES, _LEAST_SHARE = 5, 0.02
_TALL = 0.9  # of the trials after the first feasible one set the scale; hopeless first ones would flatten the rest


def study_pictures(found: Optimization) -> list[Picture]:
    """All pictures of a study: its front first, the mix where one was sought, and last when what was found.

    Where no plan keeps every limit: the plan that the smallest relaxation admits beside the run as it is; none where
    there is no such plan either.
    """
    pictures = [front_of_study(found)]
    mix = found.best.evaluation.values.get("data.mix")
    if found.feasible and isinstance(mix, Mapping):
        own = found.baseline.evaluation.values.get("data.mix")
        pictures.append(mix_picture(mix, own if isinstance(own, Mapping) else None))
    pictures.append(history_picture(found))
    return [picture for picture in pictures if picture is not None]


def front_of_study(found: Optimization) -> Picture | None:
    """The best plans in loss and cost, or in the study's first two goals, with the named ones; None without any."""
    if len(found.study.goals) > 1:
        return _front_of_goals(found)
    named = [
        Named(_label(one), one.figures["cost_usd"].median, one.figures["loss_nats"].median, _size(one.candidate))
        for one in found.alternatives
        if "cost_usd" in one.figures
    ]
    if not named:
        return None
    own = found.alternatives[0].baseline
    baseline = None
    if "cost_usd" in own:
        baseline = Named("baseline", own["cost_usd"].median, own["loss_nats"].median, _size(found.baseline))
    best = found.alternatives[0]
    return front_picture(
        found.loss_for_cost,
        named,
        figure("cost_usd"),
        figure("loss_nats"),
        baseline=baseline,
        limit=_limit(found, "cost_usd", best.figures["cost_usd"].median, best.candidate.evaluation.measured),
        tried=found.trials["complete"] if found.feasible else None,
        caption="" if found.feasible else "No plan keeps every limit.",
    )


def _front_of_goals(found: Optimization) -> Picture | None:
    """The front over the first two goals, as the study judges them; None without a feasible plan."""
    of_y, of_x = found.study.goals[:2]
    if not found.front or any(way != "minimize" for way in found.study.directions[:2]):
        return None
    points = [(one.evaluation.goals[1], one.evaluation.goals[0]) for one in found.front]
    best = found.best.evaluation
    named = [Named("balanced", best.goals[1], best.goals[0], _size(found.best))]
    own = found.baseline.evaluation
    baseline = None
    if own.why is None:
        baseline = Named("baseline", own.goals[1], own.goals[0], _size(found.baseline))
    return front_picture(
        points,
        named,
        figure(of_x.name),
        figure(of_y.name),
        baseline=baseline,
        limit=_limit(found, of_x.name, best.goals[1], best.measured),
        tried=found.trials["complete"],
    )


def _limit(found: Optimization, name: str, median: float, measured: Mapping[str, float]) -> Limit | None:
    """The limit of a figure, placed among medians by how far the best plan's own limit value lies above its median."""
    for limit in found.study.limits:
        if limit.measure.name == name and limit.side == "at_most":
            needed = [bound for relaxed, bound in _smallest(found) if relaxed.name == limit.name]
            value = measured.get(limit.name)
            at = limit.bound if not value else limit.bound * median / value
            return Limit(limit.bound, at, limit.chance if limit.measure.uncertain else None, *needed)
    return None


def _smallest(found: Optimization) -> Sequence[tuple[BoundLimit, float]]:
    """The limits that the smallest relaxation changes, with the bounds that they need."""
    return () if found.smallest_relaxation is None else found.smallest_relaxation.limits


def _label(one: Alternative) -> str:
    """An alternative's names, without articles: there is little room."""
    return ", ".join(_NAMES.get(name, name) for name in one.names)


def _size(one: Candidate) -> str:
    """A plan's parameters × tokens; nothing for one that can't be read."""
    config = one.evaluation.config
    if config is None:
        return ""
    return f"{words.count(config.model.params_total)} × {words.count(config.data.tokens)}"


def history_picture(found: Optimization) -> Picture | None:
    """The best feasible value of the first goal after each trial; None where no trial kept every limit."""
    rows = _best_so_far(found)
    if not rows:
        return None
    goal = found.study.goals[0]
    of = figure(goal.name)
    last, trials = rows[-1], found.trials["complete"]

    def draw(width: int) -> Spec:
        return _drawn(rows, found.history[-1][0], of, width)

    table = [(f"{row['trial']:,}", of.text(row["best"])) for row in rows[-10:]]
    return Picture(
        name="history",
        title=f"Trial {last['trial']:,} of {trials:,} found the best: {of.text(last['best'])}",
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
    said = f"{counts['feasible']:,} of {counts['complete']:,} plans keep every limit "
    said += f"(sampler {found.sampler}, seed {found.study.options.seed})."
    for shares in list(found.importances.values())[:1]:
        ordered = sorted(shares.items(), key=lambda pair: -pair[1])[:_MOST_SHARES]
        parts = [
            f"{knob_in_words(key.removesuffix('.u'))} {words.percent(share)}"
            for key, share in ordered
            if share >= _LEAST_SHARE
        ]
        if parts:
            said += f" What tells good plans from others: {', '.join(parts)}."
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
    best = [rows[-1] | {"text": of.text(values[-1])}]
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
                dy=-14 if values[-1] <= values[0] else 14,
                x=x,
                y=at_y,
            ),
        ],
    }
