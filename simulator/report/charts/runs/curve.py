"""How the loss of a planned run will fall: its curve with bands, above the learning rate that shapes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....curve.forecasting import CurveForecast
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


def curve_picture(result: CurveForecast) -> Picture:
    """Loss over steps with its 50 % and 90 % bands, above the learning rate's share of its peak."""
    rows, rates = _rows(result), _rates(result)

    def draw(width: int) -> Spec:
        return _drawn(result, rows, rates, width)

    final = result.final
    table = []
    for one in result.rows(result.steps[np.linspace(0, len(result.steps) - 1, _ROWS).astype(int)]):
        interval = f"{one['low90_nats']:.3f} to {one['high90_nats']:.3f}"
        table.append((f"{one['step']:,}", f"{one['loss_nats']:.3f}", interval, f"{one['lr_share']:.2g}"))
    notes = [words.sentence(note) for note in result.notes]
    return Picture(
        name="curve",
        title=(
            f"The run will end at {words.plain(final.median, words.width_of(final))} nats "
            f"(90 %: {words.interval(final, words.LOSS)})"
        ),
        subtitle=f"Loss of {words.count(result.run.size)} parameters with 50 % and 90 %, above the learning rate",
        caption=" ".join([f"Rests on the curves of {short(result.run.family)} ({result.rests_on}).", *notes]),
        numbers=Numbers(("step", "loss, nats", "90 %", "rate / peak"), tuple(table)),
        draw=draw,
    )


def _rows(result: CurveForecast) -> list[dict[str, float]]:
    band = result.belief.band(result.steps)
    (low50, high50), (low90, high90) = band.interval(0.5), band.interval(0.9)
    series = {"step": band.step, "loss": band.loss, "low50": low50, "high50": high50, "low90": low90, "high90": high90}
    return [{name: float(values[place]) for name, values in series.items()} for place in range(len(band.step))]


def _rates(result: CurveForecast) -> list[dict[str, float]]:
    """The rate at some steps, and on both sides of each jump."""
    rate = result.run.path.rate
    jumps = np.flatnonzero(np.abs(np.diff(rate)) > _JUMP)[: _MOST_RATES // 2]
    at = np.unique(np.concatenate([np.linspace(0, len(rate) - 1, _MOST_RATES // 2).astype(int), jumps, jumps + 1]))
    return [{"step": int(step), "rate": float(rate[step])} for step in at]


def _drawn(
    result: CurveForecast, rows: Sequence[dict[str, float]], rates: Sequence[dict[str, float]], width: int
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
    (side,) = sides([Spot(*px(end, "loss"), [str(end["text"])])], plot, height, avoid)
    layers = [
        area(rows, "plan-90", "low90", "high90", x=above, **y),
        area(rows, "plan-50", "low50", "high50", x=above, **y),
        line(rows, "plan", "loss", x=above, **y),
        points([end], "plan", x=above, y=field("loss", **y)),
        *label([end], "text", ink="plan", bold=True, x=above, y=field("loss", **y), **side),
    ]
    rate = {"scale": {"domain": [0, 1], "nice": False}, "title": "learning rate, of its peak"}
    rate["axis"] = {"values": [0, 0.5, 1], "grid": True, **extent}
    steps = field("step", **across.options("optimizer step", COUNTS, most, labelFlush=True))
    parts: list[dict[str, Any]] = [
        {"width": plot, "height": height, "layer": layers},
        {"width": plot, "height": _RATE_PX, "layer": [line(rates, "muted", "rate", x=steps, **rate)]},
    ]
    return {"vconcat": parts, "spacing": 34}
