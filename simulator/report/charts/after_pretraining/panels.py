"""Plots of equal width side by side where there is room for them, else below each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..marks import label, rule
from ..picture import Spec

__all__ = ["AXIS", "NARROW", "heading", "panel_px", "panels"]

NARROW = 450
"""Width, px, below which plots stand below each other."""
_WIDE = 900
_LABELS_PX, _RIGHT_PX, _PADDING_PX = 40, 6, 6  # to the left of a plot, to its right, around all
_GAP_PX, _DOWN_PX = 26, 38
_HEADING_Y = -35

AXIS: dict[str, Any] = {"minExtent": _LABELS_PX, "maxExtent": _LABELS_PX, "grid": True}
"""Options of the vertical axis of every plot, which takes the same room in all."""


def _across(count: int, width: int) -> int:
    return 1 if width < NARROW else min(count, 2 if width < _WIDE else 3)


def panel_px(count: int, width: int) -> float:
    """How wide each of several plots is, px, without its axis."""
    across = _across(count, width)
    return (width - _PADDING_PX - (across - 1) * _GAP_PX) / across - _LABELS_PX - _RIGHT_PX


def panels(
    plots: Sequence[Callable[[float], Sequence[dict[str, Any]]]], width: int, height: float, *, stacked: bool = False
) -> Spec:
    """Plots in rows, or all below each other; each is given its width, px, and gives its layers."""
    count = 1 if stacked else len(plots)
    across, plot = _across(count, width), panel_px(count, width)
    parts = [{"width": plot, "height": height, "layer": [*one(plot), _edge(plot)]} for one in plots]
    rows: list[dict[str, Any]] = []
    for place in range(0, len(parts), across):
        row = parts[place : place + across]
        rows.append(row[0] if across == 1 else {"hconcat": row, "spacing": _GAP_PX})
    return {"vconcat": rows, "spacing": _DOWN_PX}


def _edge(plot: float) -> dict[str, Any]:
    """Nothing that is seen, beside the plot: whatever is drawn up to there, plots take the same room."""
    return rule([{}], "ground", width=0, x={"value": plot + _RIGHT_PX}, y={"value": 0}, y2={"value": 1})


def heading(text: str) -> list[dict[str, Any]]:
    """What a plot is of, above the title of its axis."""
    return label([{"text": text}], "text", bold=True, x={"value": 0}, y={"value": _HEADING_Y})
