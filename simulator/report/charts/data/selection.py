"""What a selection keeps after each step, and how the sizes of documents shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .....datasets.selection.derived.result import Derived
from ... import words
from ..marks import bars, label, rule, ticks
from ..picture import Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, short
from ..plain import at_px, plain_view

__all__ = ["kept_picture", "lengths_picture"]

_ROW_PX, _HEAD_PX, _GAP_PX = 24, 24, 12
_TOP_PX = 26
_BAR_PX = 12
_SAID_PX = 160  # room for what stands beside each bar
_MOST_DOMAINS = 12
_NAME = 28

_Groups = Sequence[tuple[str, Sequence[tuple[str, float]]]]


def kept_picture(found: Derived) -> Picture:
    """The share of each domain's training text that is left after each step; the largest domains at most."""
    groups = []
    for name, domain in _largest(found):
        total = float(domain.selection.sizes_bytes.sum())
        after = [
            (outcome.step.name, float(outcome.sizes_bytes[outcome.chosen.kept].sum()) / total)
            for outcome in domain.selection.outcomes
        ]
        groups.append((name, after or [("no steps", 1.0)]))
    least = min(groups, key=lambda group: group[1][-1][1])
    title = f"{words.share(found.keep)} of the text is kept"
    if words.share(found.keep) != (of_least := words.share(least[1][-1][1])):
        title += f", {of_least} of {short(least[0])}"
    rows = [(f"{name}, {step}", words.share(share)) for name, steps in groups for step, share in steps]
    return Picture(
        name="kept",
        title=title,
        subtitle="Share of the bytes of a domain's training text that is left after each step",
        caption=_left_out(found) + "Steps run from top to bottom, each on what the one before it kept.",
        numbers=Numbers(("after", "left"), tuple(rows)),
        draw=lambda width: _kept(groups, width),
    )


def lengths_picture(found: Derived) -> Picture:
    """The quartiles of the sizes of training documents before and after, of the largest domains."""
    domains = [(name, domain.lengths_before, domain.lengths_after) for name, domain in _largest(found)]
    name, before, after = max(domains, key=lambda one: abs(_times(one[1], one[2])))
    far = after[1] / max(before[1], 1.0)
    title = "Documents keep their sizes"
    if not 0.9 < far < 1.1:
        longer = "longer" if far > 1 else "shorter"
        title = f"{short(name)}: the median document gets {longer}, {words.size(before[1])} to {words.size(after[1])}"
    rows = [
        (one, *(f"{words.size(ends[1])} ({words.size(ends[0])} to {words.size(ends[2])})" for ends in both))
        for one, *both in domains
    ]
    return Picture(
        name="lengths",
        title=title,
        subtitle="Sizes of training documents, bytes: median, and the middle half",
        caption=_left_out(found).strip(),
        numbers=Numbers(("domain", "as it was", "kept"), tuple(rows)),
        draw=lambda width: _lengths(domains, width),
    )


def _times(before: Sequence[float], after: Sequence[float]) -> float:
    """How far the median moved, as a logarithm."""
    return math.log(max(after[1], 1.0) / max(before[1], 1.0))


def _largest(found: Derived):
    """The domains that are drawn, in the corpus's order."""
    sizes = {name: int(domain.selection.sizes_bytes.sum()) for name, domain in found.domains.items()}
    drawn = sorted(sizes, key=lambda name: -sizes[name])[:_MOST_DOMAINS]
    return [(name, domain) for name, domain in found.domains.items() if name in drawn]


def _left_out(found: Derived) -> str:
    more = len(found.domains) - _MOST_DOMAINS
    return f"The {_MOST_DOMAINS} largest domains; {more} more stand in the tables. " if more > 0 else ""


def _kept(groups: _Groups, width: int) -> Spec:
    rows = sum(len(steps) for _, steps in groups)
    height = _TOP_PX + rows * _ROW_PX + len(groups) * (_HEAD_PX + _GAP_PX)
    place = at_px(width, height)
    length = width - _SAID_PX - 4
    layers: list[dict[str, Any]] = []
    for text, share, align in (("0", 0.0, "left"), ("100 %", 1.0, "right")):
        at = 2 + share * length
        edge = [{"x": at, "y": _TOP_PX - 6, "to": height}]
        layers.append(rule(edge, "muted", width=1, y2={"field": "to"}, **place))
        layers += label([{"x": at, "y": LINE_PX / 2, "text": text}], "text", ink="muted", align=align, **place)
    y = float(_TOP_PX)
    for name, steps in groups:
        layers += label([{"x": 2, "y": y + _HEAD_PX / 2, "text": short(name, _NAME)}], "text", bold=True, **place)
        y += _HEAD_PX
        for number, (step, share) in enumerate(steps):
            middle, last = y + _ROW_PX / 2, number == len(steps) - 1
            bar = [{"x": 2, "to": 2 + max(share * length, 1.0), "y": middle}]
            layers.append(bars(bar, "plan" if last else "plan-50", _BAR_PX, x2={"field": "to"}, **place))
            said = f"{words.share(share)} {short(step, 14)}"
            layers += label([{"x": length + 12, "y": middle, "text": said}], "text", ink="plan", bold=last, **place)
            y += _ROW_PX
        y += _GAP_PX
    return plain_view(width, height, layers)


def _lengths(domains: Sequence[tuple[str, Sequence[float], Sequence[float]]], width: int) -> Spec:
    height = _TOP_PX + len(domains) * (2 * _ROW_PX + _HEAD_PX + _GAP_PX)
    place = at_px(width, height)
    ends = [max(end, 1.0) for _, *both in domains for three in both for end in three]
    scale = Scale.around(ends, 0.04, log=True)
    length = width - _SAID_PX - 4
    layers: list[dict[str, Any]] = []
    y = float(_TOP_PX)
    head = [{"x": 2, "y": LINE_PX / 2, "text": "log scale"}]
    layers += label(head, "text", ink="muted", **place)
    for name, *both in domains:
        layers += label([{"x": 2, "y": y + _HEAD_PX / 2, "text": short(name, _NAME)}], "text", bold=True, **place)
        y += _HEAD_PX
        for what, ink, three in zip(("as it was", "kept"), ("baseline", "plan"), both, strict=True):
            low, middle, high = (2 + scale.place(max(end, 1.0), length) for end in three)
            at = y + _ROW_PX / 2
            box = [{"x": low, "to": max(high, low + 1.0), "y": at}]
            layers.append(bars(box, f"{ink}-50", _BAR_PX, x2={"field": "to"}, **place))
            layers.append(ticks([{"x": middle, "y": at}], ink, _BAR_PX + 4, **place))
            said = f"{words.size(three[1])} {what}"
            layers += label([{"x": length + 12, "y": at, "text": said}], "text", ink=ink, **place)
            y += _ROW_PX
        y += _GAP_PX
    return plain_view(width, height, layers)
