"""Pictures as files: `.html`, `.svg`, `.png` or `.pdf`, each with title, subtitle, and source and warnings below."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ....core.errors import UsageError
from ....core.extras import require
from ....core.files import write_bytes
from ..theme import resolved
from .picture import Picture

__all__ = ["FORMATS", "check_format", "save_pictures", "sheet"]

FORMATS = (".html", ".svg", ".png", ".pdf")
_WIDTH = 760
_MARGIN = 24
_PX_PER_LETTER = 0.53  # of the size of the text, on average
_SIZE = re.compile(r'\bwidth="([\d.]+)" height="([\d.]+)"')


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise UsageError for an extension that isn't of FORMATS, MissingExtraError without `foretrain[charts]`."""
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"--chart {path}: unknown format {Path(path).suffix!r}; expected {', '.join(FORMATS)}")
    require("a chart", "jinja2", "vl_convert")


def save_pictures(pictures: Sequence[Picture], path: str | os.PathLike[str]) -> None:
    """Write pictures whole, one below the other, in the format of the extension.

    Args:
        pictures: At least one.
        path: `.html` is a page that needs no network and follows the width of its window; the others are drawn at one
            width, 760 px.

    Raises:
        UsageError: Another extension, or no picture.
        MissingExtraError: Without `foretrain[charts]`.
    """
    check_format(path)
    if not pictures:
        raise UsageError(f"--chart {path}: there is nothing to draw")
    kind = Path(path).suffix.lower()
    if kind == ".html":
        from ..documents.html import pictures_page

        write_bytes(path, pictures_page(pictures).encode("utf-8"))
        return
    import vl_convert as vlc

    drawn = sheet(pictures)
    if kind == ".svg":
        write_bytes(path, drawn.encode("utf-8"))
    else:
        write_bytes(path, vlc.svg_to_png(drawn, scale=2) if kind == ".png" else vlc.svg_to_pdf(drawn))


def sheet(pictures: Sequence[Picture], width: int = _WIDTH) -> str:
    """Pictures below each other as one SVG on white ground, with what is to be read above and below each."""
    pieces, at = [], float(_MARGIN)
    for picture in pictures:
        for text, size, weight, ink in (
            (picture.title, 17, "bold", "ink"),
            (picture.subtitle, 13, "normal", "muted"),
        ):
            lines, at = _lines(text, size, weight, ink, width, at)
            pieces += lines
        at += 10
        drawing = picture.svg(width - 2 * _MARGIN)
        size = _SIZE.search(drawing)
        height = float(size[2]) if size else 0.0
        pieces.append(drawing.replace("<svg ", f'<svg x="{_MARGIN}" y="{at:.1f}" ', 1))
        at += height + 12
        lines, at = _lines(picture.caption, 13, "normal", "muted", width, at)
        pieces += lines
        at += 28
    body = "\n".join(pieces)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{at:.0f}" viewBox="0 0 {width} {at:.0f}">'
    ground = '<rect width="100%" height="100%" fill="var(--ground)"/>'
    return resolved(f"{head}{ground}\n{body}\n</svg>\n")


def _lines(text: str, size: int, weight: str, ink: str, width: int, at: float) -> tuple[list[str], float]:
    """Text broken into lines, from a height on, and the height below it."""
    found = []
    for line in textwrap.wrap(text, int((width - 2 * _MARGIN) / (_PX_PER_LETTER * size))):
        at += 1.35 * size
        found.append(
            f'<text x="{_MARGIN}" y="{at:.1f}" font-family="Liberation Sans, Arial, sans-serif" font-size="{size}" '
            f'font-weight="{weight}" fill="var(--{ink})">{escape(line)}</text>'
        )
    return found, at
