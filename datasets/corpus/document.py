"""A document, the two sides of a corpus, and when two texts count as the same."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Literal, NamedTuple

__all__ = ["Document", "Split", "digest_of", "normalised"]

Split = Literal["train", "valid"]
"""The two sides of a corpus: what models learn from, and what their loss is measured on."""


class Document(NamedTuple):
    """A document: its text as found, where it stands, and the SHA-256 (32 bytes) of its normalised text.

    `where` is `file:line` for JSON lines, `file:row` for Parquet, `file` for plain text, `<builtin>:name` for built-in
    text.
    """

    text: str
    where: str
    digest: bytes


def normalised(text: str) -> str:
    """Return the text as duplicates are judged: Unicode NFC, runs of white space as one blank, none at the ends.

    >>> normalised("  Cafe\\u0301 \\n au lait")
    'Café au lait'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def digest_of(text: str) -> bytes:
    """Return the SHA-256 of the normalised text, 32 bytes."""
    return hashlib.sha256(normalised(text).encode("utf-8")).digest()
