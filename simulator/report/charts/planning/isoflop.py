"""How a compute is best split: loss over size at equal compute, the lowest point of each curve, the plan on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .....core.errors import UsageError
from ....allocation.compute_optimal.curves import IsoFlop
from ... import words
from ..marks import COUNTS, area, bars, field, label, line, points
from ..picture import Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, Spot, sides, text_px, thinned

__all__ = ["isoflop_picture"]

_LEFT_PX, _NARROW = 52, 450
_WIDEST_BAND = 0.5  # of the losses shown; a wider band would cover all and is said in words
_TALLEST = 0.12  # above the lowest loss of its curve, as a share, a point is drawn
_OFF = 1.15  # from which factor on a size counts as another one than the best
_AVOIDED = 40
_GAP_PX = 8
_BELOW_PX = 18  # a label below the lowest point
_BAR_PX = 9
_COUNTED = {"non_embedding": "parameters without embeddings"}


def isoflop_picture(
    curves: Sequence[IsoFlop],
    plan: tuple[float, float] | None = None,
    baseline: tuple[float, float] | None = None,
) -> Picture:
    """Loss over size at equal compute, the compute written at the end of each curve.

    Args:
        curves: One for each compute.
        plan: Size as the predictor counts it, and loss in nats: a dot on the curve that it lies on.
        baseline: The same of the baseline.

    Raises:
        UsageError: There is no curve.
    """
    if not curves:
        raise UsageError("chart: there is no curve to draw; expected a compute")
    ordered = sorted(curves, key=lambda curve: curve.flops)
    own = None if plan is None else _own(ordered, *plan)

    def draw(width: int) -> Spec:
        return _drawn(ordered, own, plan, baseline, width)

    rows = []
    for curve in ordered:
        best = curve.optimum
        size, tokens = best.params, best.tokens
        row = (
            words.flops(curve.flops),
            f"{words.count(size.median)} ({_ends(size.intervals[0.9])})",
            f"{words.count(tokens.median)} ({_ends(tokens.intervals[0.9])})",
            f"{best.loss_nats.median:.3f} ({words.interval(best.loss_nats, words.LOSS)})",
        )
        rows.append(row)
    first = ordered[0].optimum
    caption = f"Predictor {first.predictor}, law {first.law}."
    if _band_is_wide(ordered):
        low, high = (end / first.loss_nats.median - 1.0 for end in first.loss_nats.intervals[0.9])
        curves_are, their = ("all curves is", "their shape") if len(ordered) > 1 else ("the curve is", "its shape")
        caption += f" The level of {curves_are} known to {_share(low)} to {_share(high)} (90 %), {their} far better."
    return Picture(
        name="isoflop",
        title=_title(ordered, own, plan),
        subtitle=_subtitle(ordered, plan),
        caption=caption,
        numbers=Numbers(("compute", "best size (90 %)", "tokens (90 %)", "loss, nats (90 %)"), tuple(rows)),
        draw=draw,
    )


def _subtitle(curves: Sequence[IsoFlop], plan: tuple[float, float] | None) -> str:
    if len(curves) == 1:
        of = "the plan’s compute" if plan is not None else words.flops(curves[0].flops)
        return f"Loss by model size at {of}; strip: 50 % and 90 % of the best size"
    return "Loss by model size, a curve for each compute; strips: 50 % and 90 % of the best size"


def _ends(interval: tuple[float, float]) -> str:
    return " to ".join(words.count(end) for end in interval)


def _share(change: float) -> str:
    return f"{'+' if change > 0 else '−'}{abs(change):.0%}".replace("%", " %")


def _own(curves: Sequence[IsoFlop], params: float, loss: float) -> IsoFlop:
    """The curve that a plan lies on."""
    return min(
        curves, key=lambda curve: abs(float(np.interp(np.log(params), np.log(curve.params), curve.loss_nats)) - loss)
    )


def _title(curves: Sequence[IsoFlop], own: IsoFlop | None, plan: tuple[float, float] | None) -> str:
    if own is not None and plan is not None:
        best = own.optimum.params.median
        factor = plan[0] / best
        low, high = own.optimum.indifferent_params
        if low <= plan[0] <= high or 1 / _OFF < factor < _OFF:
            return "The plan’s size is as good as any"
        certain_low, certain_high = own.optimum.params.intervals[0.9]
        extra = words.plain(plan[1] - own.optimum.loss_nats.median)
        if certain_low <= plan[0] <= certain_high:
            return f"No telling whether another size beats the plan’s: {extra} nats at stake"
        side = "larger" if factor > 1 else "smaller"
        times = words.plain(max(factor, 1 / factor))
        return f"The plan is {times} times {side} than the best: {extra} nats more"
    last = curves[-1].optimum
    if len(curves) == 1:
        size, tokens = words.count(last.params.median), words.count(last.tokens.median)
        return f"{words.flops(last.flops)} are best spent on {size} × {tokens}"
    more = curves[-1].flops / curves[0].flops
    size = last.params.median / curves[0].optimum.params.median
    return f"{words.plain(more)} times the compute asks for {words.plain(size)} times the size"


def _shown(curve: IsoFlop) -> np.ndarray:
    """Places of a curve that are drawn: where nobody would train, it would flatten the rest."""
    return np.flatnonzero(curve.loss_nats <= (1.0 + _TALLEST) * curve.loss_nats.min())


def _band_is_wide(curves: Sequence[IsoFlop]) -> bool:
    values = np.concatenate([curve.loss_nats[_shown(curve)] for curve in curves])
    width = float(np.median([np.median(curve.high_90 - curve.low_90) for curve in curves]))
    return width > _WIDEST_BAND * float(values.max() - values.min())


def _drawn(
    curves: Sequence[IsoFlop],
    own: IsoFlop | None,
    plan: tuple[float, float] | None,
    baseline: tuple[float, float] | None,
    width: int,
) -> Spec:
    narrow = width < _NARROW
    height = 300 if narrow else 360
    plot = width - _LEFT_PX, height - 60
    parts = {curve.flops: _shown(curve) for curve in curves}
    others = [one for one in (plan, baseline) if one is not None]
    across = Scale.around(
        [float(n) for curve in curves for n in curve.params[parts[curve.flops]][[0, -1]]] + [one[0] for one in others],
        0.03,
        log=True,
    )
    room = max(text_px(words.flops(curve.flops)) for curve in curves) + _GAP_PX
    across = across.wider(above=room / (plot[0] - room))
    losses = [float(value) for curve in curves for value in curve.loss_nats[parts[curve.flops]]]
    up = Scale.around(losses + [one[1] for one in others], 0.05, log=False).wider(below=_BELOW_PX / plot[1])
    x = field(
        "params",
        **across.options(_COUNTED.get(curves[0].optimum.params_kind, "parameters"), COUNTS, 4 if narrow else 7),
    )
    y = up.options("loss, nats per token", grid=True)
    bands: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    taken, avoid, marks, spots = [], [], [], []
    wide = _band_is_wide(curves)

    def px(row: dict[str, Any]) -> tuple[float, float]:
        return across.place(row["params"], plot[0]), plot[1] - up.place(row["loss"], plot[1])

    for one, what, shape in ((plan, "plan", "circle"), (baseline, "baseline", "diamond")):
        if one is not None:
            row = {"params": one[0], "loss": one[1], "text": f"{what} {words.count(one[0])}"}
            marks.append((row, what, shape, True))
            spots.append(Spot(*px(row), [row["text"]]))
    for curve in curves:
        rows = [_row(curve, place) for place in parts[curve.flops]]
        context = own is not None and curve is not own
        ink = "muted" if context else "plan"
        if not (wide or context):
            bands.append(area(rows, "plan-90", "low", "high", x=x, **y))
        layers.append(line(rows, ink, "loss", x=x, **y))
        end = rows[-1] | {"text": words.flops(curve.flops)}
        layers += label([end], "text", ink=ink, dx=5, x=x, y=field("loss", **y))
        at = px(end)
        taken.append((at[0], at[0] + text_px(end["text"]), at[1] - LINE_PX / 2, at[1] + LINE_PX / 2))
        avoid += [px(rows[place]) for place in thinned(len(rows), _AVOIDED)]
        best = _best(curve)
        marks.append((best, ink, "circle", False))
        spots.append(Spot(*px(best), [best["text"]], below=True))
        if not context:
            bands += _interval(best, x, y)
    for (row, ink, shape, filled), side in zip(marks, sides(spots, *plot, avoid, taken), strict=True):
        at_y = field("loss", **y)
        layers.append(points([row], ink, hollow=not filled, x=x, y=at_y, shape={"value": shape}))
        layers += label([row], "text", ink=ink, bold=filled, x=x, y=at_y, **side)
    return {"height": height, "layer": [*bands, *layers]}


def _row(curve: IsoFlop, place: int) -> dict[str, Any]:
    columns = {"params": curve.params, "loss": curve.loss_nats, "low": curve.low_90, "high": curve.high_90}
    return {name: float(values[place]) for name, values in columns.items()}


def _best(curve: IsoFlop) -> dict[str, Any]:
    """The lowest point of a curve and the ends of its intervals, within the curve."""
    best = curve.optimum
    row: dict[str, Any] = {"params": best.params.median, "loss": best.loss_nats.median}
    for level in (50, 90):
        low, high = best.params.intervals[level / 100]
        row |= {
            f"least{level}": float(np.clip(low, curve.params[0], curve.params[-1])),
            f"most{level}": float(np.clip(high, curve.params[0], curve.params[-1])),
        }
    row["text"] = f"{words.count(best.params.median)} × {words.count(best.tokens.median)}"
    return row


def _interval(row: dict[str, Any], x: Any, y: Any) -> list[dict[str, Any]]:
    """The best size's 50 % and 90 %, as graded bars across its curve's lowest point."""
    drawn = []
    for level in (90, 50):
        ends = {**x, "field": f"least{level}"}
        drawn.append(bars([row], f"plan-{level}", _BAR_PX, x=ends, x2={"field": f"most{level}"}, y=field("loss", **y)))
    return drawn
