"""What a notebook shows of a result beside its table: set from above, as pictures are made on a higher floor."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["picture_makers"]

picture_makers: list[Callable[[object], str]] = []
"""Each takes a result and gives markup of its pictures, nothing for a result that has none."""
