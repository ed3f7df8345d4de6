"""What a loss takes: tokens over size at equal loss, and the least compute on each curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .....core.errors import UsageError
from ....allocation.compute_optimal.curves import IsoFlop, IsoLoss
from ... import words
from ..marks import COUNTS, field, label, line, points
from ..picture import Numbers, Picture, Spec
from ..placing import Scale, Spot, sides, text_px, thinned

__all__ = ["isoloss_picture"]

_LEFT_PX, _NARROW = 52, 450
_MOST_TOKENS = 30.0  # times those of the least compute, up to which a curve is drawn
_AVOIDED = 40
_MOST_SAID = 3
_GAP_PX = 8


def isoloss_picture(losses: Sequence[IsoLoss], best: Sequence[IsoFlop] = ()) -> Picture:
    """Tokens over size at equal loss, the loss written at the end of each curve.

    Args:
        losses: One curve for each loss.
        best: Curves of equal compute, whose lowest points are joined.

    Raises:
        UsageError: There is no curve.
    """
    if not losses:
        raise UsageError("chart: there is no curve to draw; expected a loss")
    ordered = sorted(losses, key=lambda curve: -curve.loss_nats)

    def draw(width: int) -> Spec:
        return _drawn(ordered, best, width)

    rows = []
    for curve in ordered:
        low, high = curve.cheapest_flops.intervals[0.9]
        row = (
            f"{curve.loss_nats:g}",
            words.flops(curve.cheapest_flops.median),
            f"{words.flops(low)} to {words.flops(high)}",
            words.count(curve.cheapest_params),
            words.count(curve.cheapest_tokens),
        )
        rows.append(row)
    joined = "; dashed: the best split of each compute" if len(best) > 1 else ""
    return Picture(
        name="isoloss",
        title=_title(ordered),
        subtitle=f"Training tokens over size, each curve of one loss; the dot takes the least compute{joined}",
        caption=_caption(ordered),
        numbers=Numbers(("loss, nats", "least compute", "90 %", "size", "tokens"), tuple(rows)),
        draw=draw,
    )


def _title(curves: Sequence[IsoLoss]) -> str:
    first, last = curves[0], curves[-1]
    if len(curves) == 1:
        split = f"{words.count(first.cheapest_params)} × {words.count(first.cheapest_tokens)}"
        return f"{first.loss_nats:g} nats take at least {words.flops(first.cheapest_flops.median)}: {split}"
    times = words.plain(last.cheapest_flops.median / first.cheapest_flops.median)
    return f"From {first.loss_nats:g} to {last.loss_nats:g} nats takes {times} times the compute"


def _caption(curves: Sequence[IsoLoss]) -> str:
    said = []
    for curve in curves[:_MOST_SAID]:
        low, high = (words.flops(end) for end in curve.cheapest_flops.intervals[0.9])
        said.append(f"{curve.loss_nats:g} nats {low.removesuffix(' FLOPs')} to {high}")
    return f"90 % of the least compute: {', '.join(said)}. The shape of the curves is known far better."


def _drawn(losses: Sequence[IsoLoss], best: Sequence[IsoFlop], width: int) -> Spec:
    narrow = width < _NARROW
    height = 300 if narrow else 360
    plot = width - _LEFT_PX, height - 60
    curves = [_rows(curve) for curve in losses]
    path = [
        {"params": curve.optimum.params.median, "tokens": curve.optimum.tokens.median}
        for curve in sorted(best, key=lambda curve: curve.flops)
    ]
    every = [row for rows in curves for row in rows] + (path if len(path) > 1 else [])
    across = Scale.around([row["params"] for row in every], 0.03, log=True)
    room = max(text_px(rows[-1]["text"]) for rows in curves) + _GAP_PX
    across = across.wider(above=room / (plot[0] - room))
    up = Scale.around([row["tokens"] for row in every], 0.06, log=True)
    x = field("params", **across.options("parameters", COUNTS, 4 if narrow else 7))
    y = up.options("training tokens", COUNTS, grid=True)
    at_y = field("tokens", **y)

    def px(row: dict[str, Any]) -> tuple[float, float]:
        return across.place(row["params"], plot[0]), plot[1] - up.place(row["tokens"], plot[1])

    layers: list[dict[str, Any]] = []
    if len(path) > 1:
        layers.append(line(path, "muted", "tokens", x=x, dashed=True, **y))
    avoid, taken, spots, marks = [], [], [], []
    for (from_x, from_y), (to_x, to_y) in zip(map(px, path), map(px, path[1:]), strict=False):
        parts = [number / _AVOIDED for number in range(_AVOIDED)]
        avoid += [(from_x + part * (to_x - from_x), from_y + part * (to_y - from_y)) for part in parts]
    for curve, rows in zip(losses, curves, strict=True):
        layers.append(line(rows, "plan", "tokens", x=x, **y))
        layers += label(rows[-1:], "text", ink="plan", dx=5, x=x, y=at_y)
        at = px(rows[-1])
        taken.append((at[0], at[0] + room, at[1] - _GAP_PX, at[1] + _GAP_PX))
        avoid += [px(rows[place]) for place in thinned(len(rows), _AVOIDED)]
        text = words.flops(curve.cheapest_flops.median)
        cheapest = {"params": curve.cheapest_params, "tokens": curve.cheapest_tokens, "text": text}
        marks.append(cheapest)
        spots.append(Spot(*px(cheapest), [text]))
    for row, side in zip(marks, sides(spots, *plot, avoid, taken), strict=True):
        layers.append(points([row], "plan", x=x, y=at_y))
        layers += label([row], "text", ink="plan", bold=True, x=x, y=at_y, **side)
    return {"height": height, "layer": layers}


def _rows(curve: IsoLoss) -> list[dict[str, Any]]:
    """The part of a curve that anybody would train."""
    text = f"{curve.loss_nats:g} nats"
    return [
        {"params": float(size), "tokens": float(tokens), "text": text}
        for size, tokens in zip(curve.params, curve.tokens, strict=True)
        if tokens <= _MOST_TOKENS * curve.cheapest_tokens
    ]
