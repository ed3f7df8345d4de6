"""Will a running job end as planned: what was logged, what was planned, and what is expected from now on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .....core.output.plain import bounded_words, visible
from .....core.quantity import Quantity
from ....curve.prefix import CurvePosterior, condition
from ....curve.rates.planned_rates import path_of
from ....tracking.result import Tracking
from ... import words
from ..marks import COUNTS, area, field, label, line, points, rule
from ..picture import WHOLE, Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, Spot, sides, text_px, thinned

__all__ = ["planned_rows", "track_picture"]

_STEPS = 200  # places of a band
_MOST_POINTS = 800
_SURE = 2e-3  # log sd of a target's band at its end: it is stated without doubt, and a band needs some width
_LEFT_PX, _NARROW = 52, 450
_AVOIDED = 60
_RIGHT = 0.6  # share of the steps from which on a label goes to the left of its rule
_MOST_NOTICES = 2
_GLANCE = 3.0


def track_picture(result: Tracking) -> Picture:
    """Loss over steps: the logged points, the planned curve, and the expected one from now on with its bands."""
    planned = planned_rows(result)
    ahead = [] if result.loss_nats is None else _rows(result.belief, first=result.log.now)
    logged = _points(result)

    def draw(width: int) -> Spec:
        return _drawn(result, logged, planned, ahead, width)

    drawn = "logged (dots), planned (dashed grey)" + (", expected from now on with 50 % and 90 %" if ahead else "")
    told = ""
    if result.p_target is not None:
        told = f"; chance of the target {words.chance_in_words(result.p_target)}"
    return Picture(
        name="track",
        title=_title(result),
        subtitle=f"Loss: {drawn}{told}",
        caption=_caption(result),
        numbers=_numbers(result),
        draw=draw,
        widths=WHOLE,
    )


def _step(step: float) -> str:
    """A step: 560, or 26k where there are many."""
    return f"{step:,.0f}" if step < 10_000 else f"{step / 1000:,.0f}k"


def _title(result: Tracking) -> str:
    """The verdict; a run that has diverged or jumped is nothing else before."""
    if result.verdict == "diverged":
        return f"Diverged: no finite loss since step {_step(result.log.diverged_at or result.log.now)}"
    end, planned = _end_and_plan(result)
    if result.shift is not None:
        jumped = f"Jumped by {_rise(result)} at step {_step(result.shift.since)}"
        if result.verdict == "too early" or end is None:
            return f"{jumped}; too early to tell its end"
        return f"{jumped}: will end near {end}"
    if result.verdict == "too early" or end is None:
        return f"Too early to tell: step {_step(result.log.now)} of {_step(result.steps)}"
    if result.verdict == "on track":
        as_planned = "as planned" if end == planned else f"{planned} was planned"
        return f"On track: will end near {end}, {as_planned}"
    if result.verdict == "ahead":
        return f"Ahead: will end near {end}, below the planned {planned}"
    return f"Behind: will end near {end}, above the planned {planned}"


def _nats(value: float, loss: Quantity) -> str:
    """A loss in the digits that a glance takes in: a few steps of the last one fill its interval."""
    return words.plain(value, _GLANCE * words.width_of(loss))


def _end_and_plan(result: Tracking) -> tuple[str | None, str]:
    """The expected and the planned loss in as many digits as tell them apart."""
    loss, plan = result.loss_nats, result.plan.loss_nats
    if loss is None:
        return None, words.plain(plan)
    end, planned = _nats(loss.median, loss), _nats(plan, loss)
    if end == planned and result.verdict != "on track":
        return f"{loss.median:.3f}", f"{plan:.3f}"
    return end, planned


def _rise(result: Tracking) -> str:
    assert result.shift is not None
    return f"{100 * result.shift.size:.2g} %"


def _caption(result: Tracking) -> str:
    count = len(result.log.step)
    source = "the plan’s target" if result.plan.source == "target" else "a predictor’s forecast"
    said = [f"Rests on {count:,} logged point{'' if count == 1 else 's'}; planned: {source}."]
    notices = sorted(result.notices, key=lambda notice: not notice.serious)
    said += [words.sentence(visible(bounded_words(notice.text))) for notice in notices[:_MOST_NOTICES]]
    return " ".join(said)


def _numbers(result: Tracking) -> Numbers:
    rows = [("step", f"{result.log.now:,.0f} of {result.steps:,}"), ("planned", f"{result.plan.loss_nats:.3f}")]
    if result.loss_nats is not None:
        rows.append(("expected at the end", f"{result.loss_nats.median:.3f}"))
        for level in (0.5, 0.9):
            ends = " to ".join(f"{end:.3f}" for end in result.loss_nats.intervals[level])
            rows.append((f"{100 * level:.0f} %", ends))
    if result.p_target is not None:
        rows.append(("chance of the target", words.percent(result.p_target)))
    jump = "none" if result.shift is None else f"+{_rise(result)} since step {result.shift.since:,.0f}"
    return Numbers(("", "loss, nats per token"), (*rows, ("jump", jump)))


def planned_rows(result: Tracking) -> list[dict[str, float]]:
    """What was to be expected before the first step: steps with the median and its 50 % and 90 %."""
    plan = result.plan
    anchor = (plan.loss_nats, max(plan.log_sd, _SURE))
    return _rows(condition(path_of(result.config), result.plan_prior, anchor=anchor))


def _rows(belief: CurvePosterior, first: float = 0.0) -> list[dict[str, float]]:
    """A band from step `first` on, or from where the law holds."""
    steps = np.linspace(min(max(first, belief.settled), belief.path.steps), belief.path.steps, _STEPS)
    band = belief.band(steps)
    (low50, high50), (low90, high90) = band.interval(0.5), band.interval(0.9)
    columns = {"step": steps, "median": band.loss, "low50": low50, "high50": high50, "low90": low90, "high90": high90}
    return [{name: float(values[place]) for name, values in columns.items()} for place in range(_STEPS)]


def _points(result: Tracking) -> list[dict[str, float]]:
    step, loss = result.log.step, result.log.loss
    return [{"step": float(step[at]), "median": float(loss[at])} for at in thinned(len(step), _MOST_POINTS)]


def _up(
    planned: Sequence[dict[str, float]], ahead: Sequence[dict[str, float]], logged: Sequence[dict[str, float]]
) -> Scale:
    """The losses that are shown: from where the law holds on, without spikes, which would flatten the rest."""
    settled = [row["median"] for row in logged if row["step"] >= planned[0]["step"]] or [logged[-1]["median"]]
    low = min([*settled, *(row["low90"] for row in ahead), *(row["median"] for row in planned)])
    high = max([float(np.quantile(settled, 0.98)), planned[0]["median"], *(row["high90"] for row in ahead)])
    return Scale.around([low, high], 0.05, log=False)


def _drawn(
    result: Tracking,
    logged: Sequence[dict[str, float]],
    planned: Sequence[dict[str, float]],
    ahead: Sequence[dict[str, float]],
    width: int,
) -> Spec:
    narrow = width < _NARROW
    height = 280 if narrow else 360
    plot = width - _LEFT_PX, height - 60
    across = Scale(0.0, float(result.steps), False)
    target = result.config.targets.loss_nats_wanted
    up = _up(planned, ahead, logged)
    if target is not None and not up.low <= target <= up.high:
        up = Scale.around([up.low, up.high, target], 0.03, log=False)
    up = up.wider(below=1.5 * LINE_PX / plot[1])
    x = field("step", **across.options("optimizer step", COUNTS, 4 if narrow else 7, labelFlush=True))
    y = up.options("loss, nats per token", grid=True)
    at_y = field("median", **y)
    layers: list[dict[str, Any]] = []
    if ahead:
        layers += [
            area(ahead, "plan-90", "low90", "high90", x=x, **y),
            area(ahead, "plan-50", "low50", "high50", x=x, **y),
        ]
    layers.append(line(planned, "muted", "median", x=x, dashed=True, **y))
    dots = points(logged, "ink", size=7, x=x, y=at_y)
    dots["mark"] |= {"clip": True, "strokeWidth": 0}
    layers.append(dots)
    if ahead:
        layers.append(line(ahead, "plan", "median", x=x, **y))

    def px(row: dict[str, Any]) -> tuple[float, float]:
        return across.place(row["step"], plot[0]), plot[1] - up.place(row["median"], plot[1])

    taken = []
    now = result.log.now
    if result.log.diverged_at is None:
        text = f"now, {words.percent(now / result.steps)}"
        left = _left_of(now, result)
        layers += _upright(now, text, "muted", left, x, line=0)
        taken.append(_upright_box(now, text_px(text), 0, result, plot, left))
    for step, text, ink in _events(result):
        beside = _left_of(step, result) or _reaches(step, now, text_px(text), result.steps / plot[0])
        layers += _upright(step, text, ink, beside, x, line=1)
        taken.append(_upright_box(step, text_px(text), 1, result, plot, beside))
    if target is not None:
        row = {"median": target, "text": f"target {words.plain(target, 0.5)}"}
        layers.append(rule([row], "limit", dashed=True, y=at_y))
        at = px({"step": 0, "median": target})[1]
        below = planned[0]["median"] < target or at < plot[1] - 2 * LINE_PX
        by = 11 if below else -11
        layers += label([row], "text", ink="limit", bold=True, dx=4, dy=by, x={"value": 0}, y=at_y)
        taken.append((0, text_px(row["text"]), at + by - LINE_PX / 2, at + by + LINE_PX / 2))
        taken.append((0, plot[0], at - 1, at + 1))
    avoid = [px(rows[at]) for rows in (planned, logged, ahead) for at in thinned(len(rows), _AVOIDED)]
    spots: list[tuple[dict[str, Any], str, bool]] = []
    if ahead and result.loss_nats is not None:
        low, high = result.loss_nats.intervals[0.9]
        number = _nats(result.loss_nats.median, result.loss_nats)
        end = {"step": float(result.steps), "median": ahead[-1]["median"]}
        layers.append(points([end], "plan", x=x, y=at_y))
        ends = " to ".join(_nats(one, result.loss_nats) for one in (low, high))
        text = f"{number} ({ends})" if narrow else f"{number} at the end ({ends})"
        spots.append((end | {"text": text}, "plan", True))
        avoid += [px({"step": row["step"], "median": row[name]}) for row in ahead[::8] for name in ("low90", "high90")]
    spots.append((planned[len(planned) // 3] | {"text": "as planned"}, "muted", False))
    visible_points = [row for row in logged if up.low < row["median"] < up.high] or list(logged)
    spots.append((visible_points[len(visible_points) // 3] | {"text": "logged"}, "ink", True))
    placed = sides([Spot(*px(row), [str(row["text"])], below) for row, _, below in spots], *plot, avoid, taken)
    for (row, ink, _), side in zip(spots, placed, strict=True):
        layers += label([row], "text", ink=ink, bold=ink == "plan", x=x, y=at_y, **side)
    return {"height": height, "layer": layers}


def _events(result: Tracking) -> list[tuple[float, str, str]]:
    """Where a loss jumped, with its size, and where it was last finite."""
    found = []
    if result.shift is not None:
        since = result.shift.since
        found.append((since, f"+{_rise(result)} since {_step(since)}", "limit"))
    elif result.log.diverged_at is not None:
        at = result.log.diverged_at
        found.append((at, "no finite loss since", "limit"))
    return found


def _left_of(step: float, result: Tracking) -> bool:
    return step > _RIGHT * result.steps


def _reaches(step: float, now: float, long: float, per_px: float) -> bool:
    """Whether a label right of `step` would cross the line at `now`, where there is room on the left."""
    return step < now < step + (long + 5) * per_px and step > (long + 5) * per_px


def _upright(step: float, text: str, ink: str, left: bool, x: Any, line: int) -> list[dict[str, Any]]:
    """An upright line at a step with its label at the top, one line of text lower for each `line`."""
    row = [{"step": step, "text": text}]
    align, dx = ("right", -5) if left else ("left", 5)
    strong = ink == "limit"
    return [
        rule(row, ink, width=1.5 if strong else 1, x=x),
        *label(row, "text", ink=ink, bold=strong, align=align, dx=dx, x=x, y={"value": 8 + LINE_PX * line}),
    ]


def _upright_box(
    step: float, long: float, line: int, result: Tracking, plot: tuple[float, float], beside: bool
) -> tuple[float, float, float, float]:
    at = step / result.steps * plot[0]
    left = at - long - 5 if beside else at
    return left, left + long + 5, LINE_PX * line, LINE_PX * (line + 1)
