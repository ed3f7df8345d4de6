"""How far the intervals hold: what back-tested runs ended at over what had been predicted, with the intervals given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .....core.errors import UsageError
from ... import words
from ..marks import PLAIN, field, label, points, rule
from ..picture import Numbers, Picture, Spec
from ..placing import Scale, Spot, short, sides, thinned

__all__ = ["backtest_pictures", "calibration_picture"]

_LEFT_PX, _NARROW = 52, 450
_MOST_POINTS = 400
_MOST_NAMED, _MOST_ROWS, _MOST_PICTURES = 3, 10, 12
_FEW = 10  # runs, below which nothing is said of their share
_SURE_SD = 2.0  # standard deviations from the promised share within which it is kept
_SLACK = 0.03  # runs of one cut share their luck, so a share varies by more than that
_PADDING = {"left": 7, "right": 4, "top": 4, "bottom": 2}  # signs and % are far wider in some fonts
_SIGNED = "(datum.value > 0 ? '+' : '') + replace(format(datum.value, '~g'), '-', '−') + ' %'"


def backtest_pictures(results: Mapping[str, Mapping[str, Any]], table: str) -> list[Picture]:
    """A picture for each target of `backtest_table` of which a run could be predicted; at most a dozen.

    Args:
        results: By target, as `backtest_table` gives them.
        table: What the runs' table is called.
    """
    found = []
    for number, (target, result) in enumerate(results.items()):
        points = result["points"]
        if not points or len(found) == _MOST_PICTURES:
            continue
        predicted, observed = ([point[key] for point in points] for key in ("predicted_nats", "observed_nats"))
        (low50, high50), (low90, high90) = (
            tuple([point["intervals"][level][end] for point in points] for end in (0, 1)) for level in ("0.5", "0.9")
        )
        names = [f"{words.count(point['params'])} × {words.count(point['tokens'])}" for point in points]
        domain = target.removeprefix("loss").removeprefix(".")
        of = f"loss on {short(domain)}" if domain else "loss"
        source = f"Runs of {short(Path(table).name, 60)}; law {result['chosen']}."
        picture = calibration_picture(predicted, low50, high50, low90, high90, observed, names, of=of, source=source)
        found.append(picture if number == 0 else replace(picture, name=f"calibration-{number + 1}"))
    return found


def calibration_picture(
    predicted: Sequence[float] | np.ndarray,
    low50: Sequence[float] | np.ndarray,
    high50: Sequence[float] | np.ndarray,
    low90: Sequence[float] | np.ndarray,
    high90: Sequence[float] | np.ndarray,
    observed: Sequence[float] | np.ndarray,
    names: Sequence[str],
    *,
    of: str = "loss",
    source: str = "",
) -> Picture:
    """Observed over predicted losses of back-tests, each with the interval that had been given before; arrays `(n,)`.

    Args:
        predicted: Predicted losses, nats.
        low50: Lower ends of the 50 % intervals.
        high50: Upper ends.
        low90: Lower ends of the 90 % intervals.
        high90: Upper ends.
        observed: Observed losses, nats.
        names: What each run is called.
        of: The target that was back-tested.
        source: Where the runs are from, and by what they were predicted.

    Raises:
        UsageError: There is no prediction.
    """
    if not len(observed):
        raise UsageError("chart: no run could be back-tested, so there is nothing to draw; expected more runs")
    columns = [np.asarray(column, float) for column in (predicted, observed, low50, high50, low90, high90)]
    seen, given = columns[1], columns[0]
    inside50 = (columns[2] <= seen) & (seen <= columns[3])
    inside90 = (columns[4] <= seen) & (seen <= columns[5])
    rows: list[dict[str, Any]] = []
    for place in range(len(seen)):
        values = [float(100.0 * (column[place] / given[place] - 1.0)) for column in columns[1:]]
        one: dict[str, Any] = dict(zip(("off", "low50", "high50", "low90", "high90"), values, strict=True))
        one |= {"predicted": float(given[place]), "inside": bool(inside90[place]), "text": short(str(names[place]))}
        rows.append(one)
    worst = sorted((row for row in rows if not row["inside"]), key=lambda row: -abs(row["off"]))
    kept = [rows[place] for place in thinned(len(rows), _MOST_POINTS)]
    shown = sorted([*kept, *(row for row in worst[:_MOST_NAMED] if row not in kept)], key=lambda row: row["predicted"])

    def draw(width: int) -> Spec:
        return _drawn(shown, worst[:_MOST_NAMED], width)

    count, half, most = len(rows), int(inside50.sum()), int(inside90.sum())
    table = [
        ("inside 50 %", f"{half} of {count}", f"{0.5 * count:.0f} promised"),
        ("inside 90 %", f"{most} of {count}", f"{0.9 * count:.0f} promised"),
        ("median error", f"{np.median(np.abs([row['off'] for row in rows])):.2g} %", ""),
        *((row["text"], f"{row['off']:+.2g} %".replace("-", "−"), "outside 90 %") for row in worst[:_MOST_ROWS]),
    ]
    return Picture(
        name="calibration",
        title=f"{most} of {count} inside the 90 % interval{_verdict(most, count, 0.9)}",
        subtitle=(
            f"Observed over predicted {short(of)}, each run with the 50 % and 90 % given before; "
            f"{half} of {count} inside the 50 %{_verdict(half, count, 0.5)}"
        ),
        caption=" ".join([*([source] if source else []), "Each run was predicted from smaller ones only."]),
        numbers=Numbers(("", "observed", ""), tuple(table)),
        draw=draw,
    )


def _verdict(inside: int, count: int, promised: float) -> str:
    """Whether the share inside is what was promised."""
    if count < _FEW:
        return ": too few to judge"
    off = inside / count - promised
    if abs(off) <= _SLACK + _SURE_SD * math.sqrt(promised * (1.0 - promised) / count):
        return ", as promised"
    return ": wider than needed" if off > 0 else ": too narrow"


def _drawn(rows: Sequence[dict[str, Any]], named: Sequence[dict[str, Any]], width: int) -> Spec:
    narrow = width < _NARROW
    height = 280 if narrow else 320
    plot = width - _LEFT_PX, height - 60
    across = Scale.around([row["predicted"] for row in rows], 0.05)
    up = Scale.around([row[name] for row in rows for name in ("off", "low90", "high90")], 0.06, log=False)
    x = field("predicted", **across.options("predicted loss, nats per token", PLAIN, 5 if narrow else 8))
    y = up.options("observed over predicted", _SIGNED, 6, grid=True)
    thick = min(7.0, max(1.0, 0.8 * plot[0] / len(rows)))
    layers = [
        rule(rows, f"plan-{level}", width=thick, x=x, y=field(f"low{level}", **y), y2={"field": f"high{level}"})
        for level in (90, 50)
    ]
    layers.append(rule([{"y": 0.0}], "muted", width=1, y=field("y", **y)))
    size = 50 if len(rows) < 100 else 22
    at = field("off", **y)
    layers.append(points([row for row in rows if row["inside"]], "plan", size=size, x=x, y=at))
    outside = [row for row in rows if not row["inside"]]
    layers.append(points(outside, "limit", size=size, hollow=True, x=x, y=at, shape={"value": "diamond"}))

    def px(row: dict[str, Any]) -> tuple[float, float]:
        return across.place(row["predicted"], plot[0]), plot[1] - up.place(row["off"], plot[1])

    spots = [Spot(*px(row), [row["text"]]) for row in named]
    for row, side in zip(named, sides(spots, *plot, [px(row) for row in rows]), strict=True):
        layers += label([row], "text", ink="limit", x=x, y=at, **side)
    return {"height": height, "layer": layers, "padding": _PADDING}
