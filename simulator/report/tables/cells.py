"""Plain tables of literal text, as all views use them, and shares as words."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from ....core.summary import percent

__all__ = ["add_row", "percent", "plain_table"]


def plain_table(*headings: str) -> Table:
    """A plain table: the first column to the left, the others to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if i else "left", no_wrap=bool(i), overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """A row of literal text: a name in square brackets is no markup."""
    table.add_row(*(Text(cell) for cell in cells))
