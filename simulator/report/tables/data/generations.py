"""Chains of generations, as tables for a terminal.

Results come as values whose attributes are read here; nothing of `proxies` is imported.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .....core.units import format_count, format_duration
from ... import generations
from ...generations import TEXTS, Generations
from ...selected import example_text
from ..cells import add_row, plain_table

__all__ = ["generations_status_view", "generations_view"]

_COLUMNS = 6
_LETTERS = 90
_SHOWN = 8


def generations_view(found: Generations, table_file: str, report: str | None = None) -> RenderableType:
    """What generations came to; `table_file` is their run table, `report` tells more, if one was written."""
    blocks: list[RenderableType] = [Text(generations.finding(found), style="bold")]
    blocks += [_table(*found.rise_rows(_COLUMNS)), Text(""), _table(*found.loss_rows(_COLUMNS))]
    headings, rows = found.difference_rows()
    if rows:
        blocks += [Text(""), _table(headings, rows)]
    blocks += [*_samples(found), *_texts(found)]
    blocks += [Text(f"! {note}", style="yellow") for note in generations.notes(found)]
    if report is None:
        blocks.append(Text("pictures, and more samples: --report", style="dim"))
    table = shlex.quote(table_file)
    return Group(*blocks, Text(f"wrote {table_file}; simulate fit {table} --out predictor"))


def generations_status_view(status: Any) -> RenderableType:
    """A `GenerationsStatus`: runs by generation, failures by name, and what goes on from there."""
    table = plain_table("generation", "done", "of", "tokens", "time left")
    failures = []
    for number, one in enumerate(status.generations):
        done = one.counts["done"] + one.counts["diverged"]
        left = "" if one.eta_s is None else format_duration(one.eta_s)
        add_row(table, f"{number}", f"{done}", f"{len(one.runs)}", format_count(one.tokens_done), left)
        failures += [Text(f"! {run.run_id}: {run.failure}", style="red") for run in one.runs if run.failure]
    return Group(*([table] if status.generations else []), *failures, Text(status.next_step))


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
