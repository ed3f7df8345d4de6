"""What laws that are kept as equally likely draws share: how they are written, and how far from their runs one is."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.files import write_text

__all__ = ["decades_outside", "rounded", "write_law_file"]

_ROUNDING = 1e-9  # decades


def rounded(values: np.ndarray) -> list[Any]:
    """Draws as lists of numbers of seven digits: what is drawn isn't known any better.

    >>> rounded(np.array([[1 / 3, 2.0]]))
    [[0.3333333, 2.0]]
    """
    return [rounded(row) for row in values] if values.ndim > 1 else [float(f"{one:.7g}") for one in values]


def decades_outside(measured: Mapping[str, tuple[float, float]], at: Mapping[str, float | None]) -> dict[str, float]:
    """How far numbers lie outside what was measured of them, in decades; only those that do.

    >>> decades_outside({"tokens": (1e6, 1e9), "params": (1e8, 1e8)}, {"tokens": 1e10, "params": 1e8})
    {'tokens': 1.0}
    """
    found = {}
    for name, value in at.items():
        if value is None or name not in measured:
            continue
        least, most = measured[name]
        outside = max(math.log10(value / most), math.log10(least / value))
        if outside > _ROUNDING:
            found[name] = outside
    return found


def write_law_file(path: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
    """Write a file of laws, whole or not at all; in one line, since a line a number would be tens of thousands."""
    write_text(path, json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")
