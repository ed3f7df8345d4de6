"""Token mixers at equal compute: how their losses differ from the first one's, and where that is undecided."""

from __future__ import annotations

from typing import Any

import numpy as np

from .....core.errors import UsageError
from ....allocation.compute_optimal.mixers import DifferenceCurve, MixerOptimum, OptimalMixers
from ... import words
from ..marks import area, field, label, line, points, rule
from ..picture import WHOLE, Numbers, Picture, Spec
from ..placing import Scale, short

__all__ = ["mixers_picture"]

_LABELS_PX, _PADDING_PX, _NARROW = 56, 24, 450
_PANEL_PX, _LOW_PANEL_PX = 150, 110
_MANY = 3  # panels, from which on they are lower
_TITLE_ENDS = 2  # names that a title has room for
_FLOPS = "replace(format(datum.value, '~e'), '+', '')"


def mixers_picture(result: OptimalMixers) -> Picture:
    """The loss of each mixer minus the first one's over compute, each at its own best size: median and 90 % band.

    Args:
        result: Mixers at one compute.

    Raises:
        UsageError: There is no difference to draw.
    """
    if not result.curves:
        raise UsageError("chart: there is no difference to draw; expected two mixers")
    first = result.rows[0]
    rows = [(row.mixer, *_cells(row)) for row in result.rows]
    return Picture(
        name="mixers",
        title=_title(result),
        subtitle=f"Loss minus that of {first.mixer}, nats per token, over training FLOPs, each at its best size; 90 %",
        caption=f"Predictor {first.optimum.predictor}, law {first.optimum.law}. Grey: the 90 % interval of the "
        "difference contains 0, undecided.",
        numbers=Numbers(("mixer", "best size", "tokens", "loss, nats", f"minus {first.mixer} (90 %)", ""), tuple(rows)),
        draw=lambda width: _drawn(result, width),
        widths=WHOLE,
    )


def _cells(row: MixerOptimum) -> tuple[str, str, str, str, str]:
    best, difference = row.optimum, row.difference
    apart, verdict = "", ""
    if difference is not None:
        low, high = difference.intervals[0.9]
        apart, verdict = f"{_signed(difference.median)} ({_signed(low)} to {_signed(high)})", difference.verdict
    sizes = words.count(best.params.median), words.count(best.tokens.median)
    return (*sizes, f"{best.loss_nats.median:.3f}", apart, verdict)


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _title(result: OptimalMixers) -> str:
    first, *others = result.rows
    verdicts = {row.mixer: row.difference.verdict for row in others if row.difference is not None}
    at = words.flops(result.flops)
    decided = [row for row in others if verdicts[row.mixer] != "undecided"]
    if not decided:
        which = others[0].mixer if len(others) == 1 else f"any of {len(others)} mixers"
        return f"At {at} it is undecided whether {short(which)} beats {short(first.mixer)}"
    for verdict in ("better", "worse"):
        names = [short(row.mixer) for row in decided if verdicts[row.mixer] == verdict]
        if names:
            which = words.listed(names) if len(names) <= _TITLE_ENDS else f"{len(names)} mixers"
            are = "is" if len(names) == 1 else "are"
            return f"At {at} {which} {are} {verdict} than {short(first.mixer)}"
    raise AssertionError(verdicts)


def _drawn(result: OptimalMixers, width: int) -> Spec:
    narrow, curves = width < _NARROW, result.curves
    every = np.concatenate([curve.flops for curve in curves])
    across = Scale.around([float(every.min()), float(every.max()), result.flops], 0.01, log=True)
    plot = width - _LABELS_PX - _PADDING_PX
    height = _PANEL_PX if len(curves) <= _MANY else _LOW_PANEL_PX
    parts = [_panel(result, curve, across, plot, height, narrow, last=curve is curves[-1]) for curve in result.curves]
    return {"vconcat": parts, "spacing": 14}


def _panel(
    result: OptimalMixers, curve: DifferenceCurve, across: Scale, plot: float, height: int, narrow: bool, last: bool
) -> Spec:
    """One mixer: band and median, blue where it is decided; a line at no difference, and the asked compute."""
    row = next(row for row in result.rows if row.mixer == curve.mixer)
    here = row.difference
    assert here is not None
    up = Scale.around([*curve.low_90.tolist(), *curve.high_90.tolist(), 0.0], 0.08, log=False).wider(above=0.2)
    axis: dict[str, Any] = {"minExtent": _LABELS_PX, "maxExtent": _LABELS_PX}
    y = up.options("nats" if curve is result.curves[0] else "", most=4, grid=True, **axis)
    bare = {"title": None, "axis": {"labels": False, "ticks": False}}
    options = across.options("training FLOPs", _FLOPS, 4 if narrow else 7, labelFlush=True)
    x = field("flops", **(options if last else options | bare))
    ends = [{"flops": across.low, "at": 0.0, "to": across.high}]
    at_compute = [{"flops": result.flops, "low": up.low, "high": up.high}]
    named = [{"flops": across.low, "at": up.high, "text": _said(row, result, narrow)}]
    rows = [
        {"flops": float(f), "median": float(m), "low": float(lo), "high": float(hi)}
        for f, m, lo, hi in zip(curve.flops, curve.median, curve.low_90, curve.high_90, strict=True)
    ]
    layers: list[dict[str, Any]] = []
    for decided, part in _stretches(rows):
        ink = "plan" if decided else "baseline"
        layers.append(area(part, f"{ink}-90", "low", "high", x=x, **y))
        layers.append(line(part, ink, "median", x=x, **y))
    layers.append(rule(ends, "muted", x=x, x2={"field": "to"}, y=field("at", **y)))
    layers.append(rule(at_compute, "muted", dashed=True, x=x, y=field("low", **y), y2={"field": "high"}))
    ink = "baseline" if here.verdict == "undecided" else "plan"
    layers.append(points([{"flops": result.flops, "median": here.median}], ink, x=x, y=field("median", **y)))
    layers += label(named, "text", ink=ink, bold=True, dx=6, dy=9, x=x, y=field("at", **y))
    return {"width": plot, "height": height, "layer": layers}


def _said(row: MixerOptimum, result: OptimalMixers, narrow: bool) -> str:
    """What a panel says: which mixer, and whether it is better at the asked compute."""
    assert row.difference is not None
    said = f"{short(row.mixer)}: {row.difference.verdict}"
    return said if narrow else f"{said} at {words.flops(result.flops)}, {_signed(row.difference.median)} nats"


def _stretches(rows: list[dict[str, float]]) -> list[tuple[bool, list[dict[str, float]]]]:
    """Neighbouring rows that are decided, or undecided, alike; a stretch ends where the next one begins."""
    found: list[tuple[bool, list[dict[str, float]]]] = []
    for row in rows:
        decided = row["low"] > 0.0 or row["high"] < 0.0
        if found and found[-1][0] == decided:
            found[-1][1].append(row)
            continue
        if found:
            found[-1][1].append(row)
        found.append((decided, [row]))
    return found
