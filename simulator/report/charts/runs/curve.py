"""How the loss of a planned run will fall: its curve with bands, above the learning rate that shapes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .....core.output.plain import visible
from ....curve.forecasting import CurveForecast
from ....curve.rates.path import RatePath
from ... import words
from ..marks import COUNTS, area, field, label, line, points
from ..picture import Numbers, Picture, Spec
from ..placing import Scale, Spot, short, sides

__all__ = ["curve_picture"]

_NARROW = 450
_LABELS_PX, _PADDING_PX = 40, 14  # beside the plots, which stand below each other
_RATE_PX = 70
_MOST_RATES = 400
_JUMP = 0.01  # of the peak, between one step and the next
_AVOIDED = 60
_ROWS = 8  # of the table behind the picture
_BRANCH_POINTS = 40


def curve_picture(result: CurveForecast) -> Picture:
    """Loss over steps with its 50 % and 90 % bands, above the learning rate's share of its peak."""
    rows, rates, branches = _rows(result), _rates(result.run.path), _branches(result)

    def draw(width: int) -> Spec:
        return _drawn(result, rows, rates, branches, width)

    final = result.final
    table = []
    for one in result.rows(result.steps[np.linspace(0, len(result.steps) - 1, _ROWS).astype(int)]):
        interval = f"{one['low90_nats']:.3f} to {one['high90_nats']:.3f}"
        table.append((f"{one['step']:,}", f"{one['loss_nats']:.3f}", interval, f"{one['lr_share']:.2g}"))
    for name, (step, loss) in result.branch_ends.items():
        low, high = loss.intervals[0.9]
        rate = dict(result.run.branches)[name].rate[-1]
        table.append((f"{short(name)}, {step:,}", f"{loss.median:.3f}", f"{low:.3f} to {high:.3f}", f"{rate:.2g}"))
    notes = [words.sentence(note) for note in (*result.planned_steps, *result.notes)]
    size, aside = words.count(result.run.size), "; dashed: runs that leave it" if result.run.branches else ""
    return Picture(
        name="curve",
        title=(
            f"The run will end at {words.plain(final.median, words.width_of(final))} nats "
            f"(90 %: {words.interval(final, words.LOSS)})"
        ),
        subtitle=f"Loss of {size} parameters with 50 % and 90 %, above the learning rate{aside}",
        caption=" ".join([f"Rests on {visible(result.sources)}.", *notes]),
        numbers=Numbers(("step", "loss, nats", "90 %", "rate / peak"), tuple(table)),
        draw=draw,
    )


def _rows(result: CurveForecast) -> list[dict[str, float]]:
    band = result.belief.band(result.steps)
    (low50, high50), (low90, high90) = band.interval(0.5), band.interval(0.9)
    series = {"step": band.step, "loss": band.loss, "low50": low50, "high50": high50, "low90": low90, "high90": high90}
    return [{name: float(values[place]) for name, values in series.items()} for place in range(len(band.step))]


def _rates(path: RatePath, first: int = 0) -> list[dict[str, float]]:
    """The rate at some steps from `first` on, and on both sides of each jump."""
    rate = path.rate
    jumps = first + np.flatnonzero(np.abs(np.diff(rate[first:])) > _JUMP)[: _MOST_RATES // 2]
    even = np.linspace(first, len(rate) - 1, _MOST_RATES // 2).astype(int)
    return [{"step": int(step), "rate": float(rate[step])} for step in np.unique([*even, *jumps, *(jumps + 1)])]


def _branches(result: CurveForecast) -> list[tuple[str, list[dict[str, float]], list[dict[str, float]]]]:
    """Name, loss and rate of each branch, from where it leaves the run."""
    found = []
    for name, path in result.run.branches:
        both = min(len(path.rate), len(result.run.path.rate))
        left = int(np.argmax(path.rate[:both] != result.run.path.rate[:both]))
        steps = np.linspace(max(left, result.belief.settled), path.steps, _BRANCH_POINTS)
        loss = result.belief.along(path, steps).loss
        losses = [{"step": float(step), "loss": float(one)} for step, one in zip(steps, loss, strict=True)]
        found.append((short(name), losses, _rates(path, left)))
    return found


def _drawn(
    result: CurveForecast,
    rows: Sequence[dict[str, float]],
    rates: Sequence[dict[str, float]],
    branches: Sequence[tuple[str, list[dict[str, float]], list[dict[str, float]]]],
    width: int,
) -> Spec:
    narrow = width < _NARROW
    across = Scale(0.0, float(result.run.path.steps), False)
    low = min(row["low90"] for row in rows)
    high = max([rows[0]["loss"], *(row["high90"] for row in rows[len(rows) // 10 :])])
    up = Scale.around([low, high], 0.05, log=False).wider(below=0.08)
    extent: dict[str, Any] = {"minExtent": _LABELS_PX, "maxExtent": _LABELS_PX}
    most = 4 if narrow else 7
    above = field(
        "step", **across.options("", COUNTS, most) | {"title": None, "axis": {"labels": False, "ticks": False}}
    )
    y = up.options("loss, nats per token", grid=True, **extent)
    final = result.final
    low90, high90 = final.intervals[0.9]
    text = f"{words.plain(final.median, high90 - low90)} ({words.interval(final, words.LOSS)})"
    end = {"step": float(result.run.path.steps), "loss": final.median, "text": text}
    plot = width - _LABELS_PX - _PADDING_PX
    height = 220 if narrow else 260

    def px(row: Mapping[str, Any], name: str) -> tuple[float, float]:
        return across.place(row["step"], plot), height - up.place(row[name], height)

    avoid = [px(row, name) for row in rows[:: max(1, len(rows) // _AVOIDED)] for name in ("low90", "loss", "high90")]
    ends = [losses[-1] | {"text": f"{name} {losses[-1]['loss']:.2f}"} for name, losses, _ in branches]
    spots = [Spot(*px(one, "loss"), [str(one["text"])]) for one in (end, *ends)]
    side, *asides = sides(spots, plot, height, avoid)
    layers = [
        area(rows, "plan-90", "low90", "high90", x=above, **y),
        area(rows, "plan-50", "low50", "high50", x=above, **y),
        line(rows, "plan", "loss", x=above, **y),
        points([end], "plan", x=above, y=field("loss", **y)),
        *label([end], "text", ink="plan", bold=True, x=above, y=field("loss", **y), **side),
    ]
    for one, (_, losses, _), its in zip(ends, branches, asides, strict=True):
        layers.append(line(losses, "plan", "loss", x=above, dashed=True, **y))
        layers.append(points([one], "plan", size=50, hollow=True, x=above, y=field("loss", **y)))
        layers += label([one], "text", ink="plan", x=above, y=field("loss", **y), **its)
    rate = {"scale": {"domain": [0, 1], "nice": False}, "title": "learning rate, of its peak"}
    rate["axis"] = {"values": [0, 0.5, 1], "grid": True, **extent}
    steps = field("step", **across.options("optimizer step", COUNTS, most, labelFlush=True))
    parts: list[dict[str, Any]] = [
        {"width": plot, "height": height, "layer": layers},
        {
            "width": plot,
            "height": _RATE_PX,
            "layer": [
                line(rates, "muted", "rate", x=steps, **rate),
                *(line(its, "muted", "rate", x=steps, dashed=True, **rate) for _, _, its in branches),
            ],
        },
    ]
    return {"vconcat": parts, "spacing": 34}
