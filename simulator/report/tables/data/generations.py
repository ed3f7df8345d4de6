"""Chains of generations, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ... import generations
from ...generations import TEXTS, Generations
from ...selected import example_text
from ..cells import add_row, plain_table

__all__ = ["generations_view"]

_COLUMNS = 6
_LETTERS = 90
_SHOWN = 8


def generations_view(found: Generations, report: str | None = None) -> RenderableType:
    """What generations came to; `report` is the file that tells more, if one was written."""
    blocks: list[RenderableType] = [Text(generations.finding(found), style="bold")]
    blocks += [_table(*found.rise_rows(_COLUMNS)), Text(""), _table(*found.loss_rows(_COLUMNS))]
    headings, rows = found.difference_rows()
    if rows:
        blocks += [Text(""), _table(headings, rows)]
    blocks += [*_samples(found), *_texts(found)]
    blocks += [Text(f"! {note}", style="yellow") for note in generations.notes(found)]
    if report is None:
        blocks.append(Text("pictures, all samples and all texts: --report", style="dim"))
    return Group(*blocks, Text(f"in {found.where}"))


def _samples(found: Generations) -> list[RenderableType]:
    """One sample of each generation."""
    table = plain_table("generation", "written by", "begins with")
    for column in table.columns[1:]:
        column.justify = "left"
    table.columns[2].no_wrap = False
    by_number = {sample.generation: sample for sample in reversed(found.samples())}
    for number, sample in sorted(by_number.items())[:_SHOWN]:
        add_row(table, f"{number}", sample.writer, example_text(sample.text, _LETTERS))
    return [Text(""), table] if table.rows else []


def _texts(found: Generations) -> list[RenderableType]:
    """Where the text is from, the first ones."""
    rows = found.text_rows()
    return [Text(""), _table(TEXTS, rows)] if rows else []


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = plain_table(*headings)
    for row in rows:
        add_row(table, *row)
    return table
