"""Where text is from, as cells of tables."""

from __future__ import annotations

from ...core.output.plain import visible
from ...datasets.provenance.provenance import Provenance

__all__ = ["SOURCES", "source_cells"]

SOURCES = ("written by", "source", "licence")
"""Headings of `source_cells`."""

_DIGEST = 8


def source_cells(provenance: Provenance) -> tuple[str, str, str]:
    """What wrote a text, where it was taken from, and its licence.

    >>> source_cells(Provenance(source="wiki dump", origin="human"))
    ('human', 'wiki dump', 'unknown')
    """
    made = provenance.generator
    by: str = provenance.origin
    if made is not None:
        by = f"{visible(made.kind)} {made.digest[:_DIGEST]}, generation {made.generation}, seed {made.seed}"
    return by, visible(provenance.source or "unknown"), visible(provenance.licence or "unknown")
