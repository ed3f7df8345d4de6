"""Plain tables of literal text, as all views use them, and shares as words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rich.table import Table
from rich.text import Text

from ....core.output.plain import bounded
from ....core.quantity import Quantity
from ....core.summary import percent

__all__ = ["add_row", "percent", "plain_table", "quantity_cells", "whole_parts"]


def plain_table(*headings: str) -> Table:
    """A plain table: the first column to the left, the others to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if i else "left", no_wrap=bool(i), overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """A row of literal text: a name in square brackets is no markup, and of an overlong one the middle is left out."""
    table.add_row(*(Text(bounded(cell)) for cell in cells))


def quantity_cells(quantity: Quantity, form: Callable[[float], str]) -> list[str]:
    """Median, 50 % and 90 % interval of a quantity in the form of its unit."""
    ends = (quantity.intervals[0.5], quantity.intervals[0.9])
    return [form(quantity.median), *(f"{form(low)} to {form(high)}" for low, high in ends)]


def whole_parts(parts: Mapping[str, float], total: int) -> dict[str, int]:
    """Parts in whole units that sum to `total` exactly, largest first; without those that round to nothing.

    Rounded one by one, parts of 100 % add up to 98 or 102. Here each is rounded down or up, up where most is left.
    """
    whole = sum(parts.values())
    if whole == 0 or not math.isfinite(whole):
        return {}
    exact = {name: part * total / whole for name, part in parts.items()}
    rounded = {name: math.floor(value) for name, value in exact.items()}
    left = sorted(exact, key=lambda name: rounded[name] - exact[name])
    for name in left[: total - sum(rounded.values())]:
        rounded[name] += 1
    shown = sorted(rounded, key=lambda name: -abs(exact[name]))
    return {name: rounded[name] for name in shown if rounded[name]}
