"""Pictures that are drawn in pixels, without axes: rows of bars or dots with their labels beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .picture import Spec

__all__ = ["at_px", "plain_view"]


def at_px(width: float, height: float) -> dict[str, Any]:
    """The places of rows with `x` and `y` in pixels from the upper left corner."""
    scale = {"nice": False, "zero": False}
    return {
        "x": {"field": "x", "type": "quantitative", "axis": None, "scale": {**scale, "domain": [0, width]}},
        "y": {"field": "y", "type": "quantitative", "axis": None, "scale": {**scale, "domain": [height, 0]}},
    }


def plain_view(width: float, height: float, layers: Iterable[dict[str, Any]]) -> Spec:
    """A picture whose rows are placed by `at_px` of the same size."""
    return {"height": height, "layer": list(layers), "padding": 0}
