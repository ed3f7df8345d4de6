"""Kinds of selections: the names under which runs and plans know them, steps joined by `+`."""

from __future__ import annotations

from ...core.units import shown

__all__ = ["NOT_SELECTED", "kind_problem", "steps_of_kind"]

NOT_SELECTED = "none"
"""The kind of text that is taken as it is."""


def steps_of_kind(kind: str) -> tuple[str, ...]:
    """The names of its steps, in order.

    >>> steps_of_kind("dedup+judge")
    ('dedup', 'judge')
    """
    return tuple(part.strip() for part in kind.split("+"))


def kind_problem(kind: str) -> str | None:
    """What is wrong with a kind, as a message without its place; None where nothing is.

    >>> kind_problem("dedup++judge")
    "got 'dedup++judge'; expected names of steps joined by +, such as dedup+judge"
    """
    steps = steps_of_kind(kind)
    if not all(steps):
        return f"got {shown(kind)}; expected names of steps joined by +, such as dedup+judge"
    if kind != NOT_SELECTED and NOT_SELECTED in map(str.casefold, steps):
        return f"got {shown(kind)}; expected none by itself for text as it is, or steps only"
    return None
