"""Judges: what scores a document by its text alone. One file each, found by their registry.

A package of one's own names a module under the entry point `foretrain.judges`; the step `judge` then knows its judges
by `plugin`.
"""

from ._distilled import distil
from ._judge import Judge, Judged, judges, register_judge

__all__ = ["Judge", "Judged", "distil", "judges", "register_judge"]
