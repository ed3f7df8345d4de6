"""Marks in a corpus as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["marks_view"]


def marks_view(domains: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    """What `marks_by_domain` found: documents that are marked beside those that would be by chance."""
    table = Table(box=None, pad_edge=False)
    table.add_column("domain")
    for heading in ("documents", "marked", "by chance", "marked bytes", "too short", "p of all together"):
        table.add_column(heading, justify="right")
    for name, of in domains.items():
        table.add_row(
            name,
            f"{of['documents']:,}",
            f"{of['documents_marked']:,}",
            f"{of['expected_false_positives']:.2g}",
            f"{of['bytes_marked'] / max(of['bytes'], 1):.1%}",
            f"{of['documents_too_short']:,}",
            f"{of['p_of_all_together']:.2g}",
        )
    return Group(table, *_notes(domains))


def _notes(domains: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    """What the table can't say by itself."""
    if not domains:
        return []
    of = next(iter(domains.values()))
    keys = "the key" if len(of["keys"]) == 1 else f"{len(of['keys'])} keys"
    return [
        Text(
            f"marked: p at most {of['alpha']:g} for text written without {keys} ({', '.join(of['keys'])}); "
            f"no document of less than {of['tokens_needed']} tokens can be. All others are undecided."
        )
    ]
