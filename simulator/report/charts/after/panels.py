"""Plots of equal width side by side where there is room for them, else below each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..marks import label
from ..picture import Spec

__all__ = ["AXIS", "NARROW", "heading", "panel_px", "panels"]

NARROW = 450
"""Width, px, below which plots stand below each other."""
_WIDE = 900
_LABELS_PX, _PADDING_PX, _GAP_PX, _DOWN_PX = 40, 14, 30, 38
_HEADING_Y = -35

AXIS: dict[str, Any] = {"minExtent": _LABELS_PX, "maxExtent": _LABELS_PX, "grid": True}
"""Options of the vertical axis of every plot, which takes the same room in all."""


def _across(count: int, width: int) -> int:
    return 1 if width < NARROW else min(count, 2 if width < _WIDE else 3)


def panel_px(count: int, width: int) -> float:
    """How wide each of several plots is, px, without its axis."""
    across = _across(count, width)
    return (width - _PADDING_PX - across * _LABELS_PX - (across - 1) * _GAP_PX) / across


def panels(plots: Sequence[Callable[[float], Sequence[dict[str, Any]]]], width: int, height: float) -> Spec:
    """Plots in rows; each is given its width, px, and gives its layers."""
    across, plot = _across(len(plots), width), panel_px(len(plots), width)
    parts = [{"width": plot, "height": height, "layer": list(one(plot))} for one in plots]
    rows: list[dict[str, Any]] = []
    for place in range(0, len(parts), across):
        row = parts[place : place + across]
        rows.append(row[0] if across == 1 else {"hconcat": row, "spacing": _GAP_PX})
    return {"vconcat": rows, "spacing": _DOWN_PX}


def heading(text: str) -> list[dict[str, Any]]:
    """What a plot is of, above the title of its axis."""
    return label([{"text": text}], "text", bold=True, x={"value": 0}, y={"value": _HEADING_Y})
