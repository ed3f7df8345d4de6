"""A report as a file: HTML, Markdown or PDF, by the extension."""

from __future__ import annotations

import os
from pathlib import Path

from ....core.errors import UsageError
from ....core.files import write_bytes
from .document import Document
from .html import html_page
from .markdown import markdown_text
from .pdf import pdf_bytes

__all__ = ["FORMATS", "check_report_format", "report_bytes", "save_report"]

FORMATS = (".html", ".md", ".pdf")


def check_report_format(path: str | os.PathLike[str], option: str = "--out") -> None:
    """Raise UsageError, which names the option, unless a report can be written in the format of the extension."""
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"{option} {path}: unknown format {Path(path).suffix!r}; expected {', '.join(FORMATS)}")


def report_bytes(document: Document, suffix: str) -> bytes:
    """The report in the format of an extension, `.html` say.

    Raises:
        MissingExtraError: Without `foretrain[charts]`, but for Markdown.
        UsageError: No browser prints the PDF.
    """
    if suffix == ".md":
        return markdown_text(document).encode("utf-8")
    page = html_page(document)
    return pdf_bytes(page) if suffix == ".pdf" else page.encode("utf-8")


def save_report(document: Document, path: str | os.PathLike[str]) -> None:
    """Write a report whole.

    Raises:
        UsageError: Another extension, or no browser prints the PDF.
        MissingExtraError: Without `foretrain[charts]`, but for Markdown.
    """
    check_report_format(path)
    write_bytes(path, report_bytes(document, Path(path).suffix.lower()))
