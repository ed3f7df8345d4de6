"""Reduction of a design to a time budget: the order in which runs are dropped, and the report of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ...core.units import format_count
from .design_parts import Part, PartName

__all__ = ["dropped", "smaller"]

_LINE = 2
"""Token counts and sizes that the ladder gives up only at the end: fewer don't show a slope."""

_PAIRS = 3
"""Seeds that selections are compared with: an interval of fewer differences says nothing."""


def smaller(part: Part) -> Part | None:
    """Return the part with the next thing dropped, or None if nothing is left to drop.

    The ladder gives its largest token counts down to two, then seeds, then its largest sizes down to two, then the
    rest of the token counts and sizes. With several selections it keeps three seeds, to tell them apart in pairs, and
    gives the last selections, all but the first, after its largest sizes. Other parts give their larger sizes, then
    seeds, then variants: learning rates down to three, sampled mixes and Sobol points down to none; at last, all of
    the included mixes.
    """
    if part.name == "ladder":
        pairs = _PAIRS if len(part.variants) > part.kept else 1
        steps = (_fewer_tokens(_LINE), _fewer_seeds(pairs), _fewer_shapes(_LINE), _fewer_variants)
        steps += (_fewer_tokens(1), _fewer_shapes(1))
    else:
        steps = (_fewer_shapes(1), _fewer_seeds(1), _fewer_variants)
    return next((less for step in steps if (less := step(part)) is not None), None)


def dropped(asked: Mapping[PartName, Part], kept: Mapping[PartName, Part]) -> list[str]:
    """Return what a smaller design lacks, one line per part and kind of thing, for people."""
    lines: list[str] = []
    for name, before in asked.items():
        after = kept.get(name)
        if after is None or not after.variants:
            lines.append(f"{name}: all {len(before.variants)} {_WORDS[name]}")
            continue
        if gone := before.tokens[len(after.tokens) :]:
            lines.append(f"{name}: token counts {', '.join(map(format_count, gone))}")
        if gone := before.shapes[len(after.shapes) :]:
            lines.append(f"{name}: sizes {', '.join(format_count(shape.params_total) for shape in gone)} parameters")
        if gone := before.seeds - after.seeds:
            lines.append(f"{name}: {gone} of {before.seeds} seeds")
        if gone := len(before.variants) - len(after.variants):
            lines.append(f"{name}: {gone} of {len(before.variants)} {_WORDS[name]}")
    return lines


_WORDS: dict[PartName, str] = {
    "lr": "learning rates",
    "ladder": "selections or shares",
    "mixes": "mixes",
    "sobol": "points",
}

_Step = Callable[[Part], Part | None]


def _fewer_tokens(least: int) -> _Step:
    return lambda part: replace(part, tokens=part.tokens[:-1]) if len(part.tokens) > least else None


def _fewer_shapes(least: int) -> _Step:
    return lambda part: replace(part, shapes=part.shapes[:-1]) if len(part.shapes) > least else None


def _fewer_seeds(least: int) -> _Step:
    def step(part: Part) -> Part | None:
        less = max(least, part.seeds - max(1, part.seeds // 4))
        return replace(part, seeds=less) if part.seeds > least else None

    return step


def _fewer_variants(part: Part) -> Part | None:
    """Drop a quarter of the variants, the last ones, but none of those kept; then, of mixes, all at once."""
    count = len(part.variants)
    if count > part.kept:
        return replace(part, variants=part.variants[: max(part.kept, count - max(1, count // 4))])
    return replace(part, variants=()) if part.name == "mixes" and count else None
