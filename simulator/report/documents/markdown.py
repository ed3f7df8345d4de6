"""A report as Markdown: the same sentences and numbers, and each picture's finding with the numbers behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ....core.output.plain import visible
from ....core.version import __version__
from ..charts.picture import Numbers
from .document import Document, Note, Section

__all__ = ["markdown_text"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_TICKS = re.compile("`+")


def markdown_text(document: Document) -> str:
    """The report as Markdown, without its drawings."""
    blocks = [_text(document.kicker), f"# {_text(document.title)}", _text(document.lede)]
    if document.doubt:
        blocks.append(f"**{_text(document.doubt)}**")
    if document.headlines:
        rows = [
            (
                one.label,
                f"{one.value} {one.unit}".strip(),
                one.interval,
                "; ".join(part for part in (one.difference, one.note) if part),
            )
            for one in document.headlines
        ]
        blocks.append(_table(Numbers(("", "expected", "interval", ""), tuple(rows))))
    for section in document.sections:
        blocks += _section(section)
    if document.warnings or document.assumptions:
        blocks.append("## Warnings and assumptions")
        blocks.append("\n".join(_notes([*document.warnings, *document.assumptions])))
    if document.commands:
        blocks += ["## To make this again", _block("\n".join(document.commands), "sh")]
    if document.facts:
        blocks.append(_table(Numbers(("", "value"), tuple(document.facts))))
    for name, text in document.plans:
        blocks += [f"The exact plan: {_text(name)}", _block(text, "yaml")]
    blocks.append(f"foretrain {__version__}")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _section(section: Section) -> list[str]:
    found = [f"## {_text(section.title)}", _text(section.text)]
    found.append("\n".join(f"- {_text(point)}" for point in section.points))
    for picture in section.pictures:
        found += [
            f"### {_text(picture.title)}",
            _text(picture.subtitle),
            _table(picture.numbers),
            _text(picture.caption),
        ]
    for heading, table in section.tables:
        found += [f"### {_text(heading)}" if heading else "", _table(table)]
    found.append(
        "\n".join(
            f"{place}. **{_text(one.what)}** {_text(one.brings)} {_text(one.costs)}".rstrip()
            for place, one in enumerate(section.worth, start=1)
        )
    )
    return found


def _notes(notes: Iterable[Note]) -> list[str]:
    return [f"- **{_text(note.cause)}** {_text(note.then)}".rstrip() for note in notes]


def _table(numbers: Numbers) -> str:
    columns = [_text(column) or " " for column in numbers.columns]
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *([_text(cell) for cell in row] for row in numbers.rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _block(text: str, language: str) -> str:
    """Text as it is, between fences longer than any within it."""
    fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _text(text: str) -> str:
    """Text on one line in which nothing is Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(visible(text, lines=True).split()))
