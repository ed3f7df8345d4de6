"""What a selection did, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .....datasets.selection.derived.result import Derived
from ... import selected, words
from ..cells import add_row, plain_table

__all__ = ["selection_view"]

_EXAMPLES, _LETTERS = 2, 90
_LEAKS = ("in validation text", "whole", "of these kept", "by half", "of these kept")


def selection_view(found: Derived, report: str | None = None) -> RenderableType:
    """What `simulate data select` did; `report` is the file that tells more, if one was written."""
    amount = f"{words.size(found.bytes_kept)} of {words.size(found.bytes)}"
    title = Text(f"{selected.kept_in_words(found)}: {amount}", style="bold")
    blocks: list[RenderableType] = [title, _table(selected.STEPS, selected.step_rows(found))]
    blocks += [Text(""), _table(selected.LENGTHS, selected.length_rows(found))]
    if len(found.domains) > 1:
        blocks += [Text(""), _table(selected.SHARES, selected.share_rows(found))]
    leaks = list(selected.leak_rows(found))
    blocks += [Text(""), _table(_LEAKS, leaks) if leaks else Text("no training document repeats validation text")]
    blocks += [Text(""), _table(selected.FILES, selected.file_rows(found))]
    blocks += [*_facts(found), *_examples(found)]
    blocks += [Text(f"! {note}", style="yellow") for note in selected.notes(found)]
    if report is None:
        blocks.append(Text("ten examples of what each step left out: --report or --json", style="dim"))
    return Group(*blocks, Text(selected.plan_line(found)), Text(f"in {found.folder}"))


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = plain_table(*headings)
    for row in rows:
        add_row(table, *row)
    return table


def _facts(found: Derived) -> list[RenderableType]:
    """What the steps say of themselves, a line each."""
    said = [
        Text(f"{name}, {outcome.step.name}: " + "; ".join(f"{key} {value}" for key, value in facts), style="dim")
        for name, domain in found.domains.items()
        for outcome in domain.selection.outcomes
        if (facts := list(selected.fact_rows(outcome)))
    ]
    return [Text(""), *said] if said else []


def _examples(found: Derived) -> list[RenderableType]:
    """Two documents that each step left out."""
    table = plain_table("left out by", "score", "begins with")
    table.columns[2].justify, table.columns[2].no_wrap = "left", False
    for name, domain in found.domains.items():
        for outcome, examples in zip(domain.selection.outcomes, domain.examples, strict=True):
            for example in examples[:_EXAMPLES]:
                text = selected.example_text(example.text, _LETTERS)
                add_row(table, f"{name}, {outcome.step.name}", selected.score_text(example.score), text)
    return [Text(""), table] if table.rows else []
