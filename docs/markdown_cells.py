"""Prose as Markdown takes it literally."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Prose in which nothing outside `code` is taken for markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p[:1] == "`" else re.sub(r"([<*\[\]_|])", r"\\\1", p) for p in parts)


def cell(text: str) -> str:
    """Prose in a cell of a table."""
    return plain(" ".join(text.split()))


def code(text: str) -> str:
    """Code in a cell, where code hosts and MkDocs differ in what a bar between backticks is."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"
