"""Suggestions where no layout fits: fewer stated settings, offloading, or more devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

from ...config.hardware import LayoutConfig
from .candidates import RECOMPUTE, LayoutSpace
from .layout import ParallelLayout

__all__ = ["Fastest", "Found", "changes_that_fit", "keeping_less"]

# Keys of a layout in the order in which they are kept, those that cost least to change last.
_KEYS = (
    "flash_attention", "dp", "tp", "pp", "cp", "ep", "vpp", "micro_batch", "recompute", "zero_stage",
    "sequence_parallel",
)  # fmt: skip
_LOSSES = ("chunked", "fused")
_OFFLOADS = (("optimizer",), ("optimizer", "activations"))
_GROWTH = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)


class Found(Protocol):
    """A layout and its step time."""

    @property
    def layout(self) -> ParallelLayout:
        """The layout."""
        ...

    @property
    def step_time_s(self) -> float:
        """Seconds of a step."""
        ...


Fastest = Callable[[LayoutSpace], Found | None]
"""The fastest layout of a space that surely fits, None where there is none."""


def changes_that_fit(space: LayoutSpace, fastest: Fastest, *, domain: int, host_link: bool) -> Iterator[str]:
    """Changes of the plan each of which alone makes a layout fit, as `--set` takes them; the smallest comes first.

    `domain`: devices that fast links join where there are enough of them. `host_link`: whether offloading is known to
    be possible.
    """
    restated = _restated(space, fastest)
    if restated is not None:
        yield restated
    offloaded = _offloaded(space, fastest) if restated is None and host_link else None
    if offloaded is not None:
        yield offloaded
    larger = [_larger(space, factor, domain) for factor in _GROWTH]
    enough = next((other for other in larger if fastest(other) is not None), None)
    if enough is not None:
        yield f"hardware.count={enough.count}"
    elif restated is None and offloaded is None:
        both = ((other.count, _restated(other, fastest)) for other in larger)
        yield from islice((f"hardware.count={count}, {change}" for count, change in both if change is not None), 1)


def keeping_less(space: LayoutSpace, fastest: Fastest) -> Iterator[str]:
    """Changes of how much is kept of a micro-batch, each of which alone makes a layout fit, as `--set` takes them.

    Where the loss alone doesn't do, together with what is computed anew. What is left open has been searched already.
    """
    losses = [{"loss": loss} for loss in (_LOSSES if space.stated.loss_chunks == 1 else _LOSSES[1:])]
    policies = [{"recompute": policy} for policy in _policies_beyond(space)]
    stated = space.stated.micro_batch
    sizes = [{"micro_batch": size} for size in range((stated or 0) - 1, 0, -1) if (stated or 0) % size == 0]
    together = [{**policy, **loss} for policy in policies for loss in losses]
    singly = [next((c for c in of_kind if _with(space, c, fastest)), None) for of_kind in (losses, policies, sizes)]
    found = [change for change in singly if change is not None]
    if singly[0] is None:
        found += [change for change in together if _with(space, change, fastest)][:1]
    yield from (", ".join(f"layout.{key}={value}" for key, value in change.items()) for change in found)


def _policies_beyond(space: LayoutSpace) -> Sequence[str]:
    """Recomputation that keeps less than what is stated, as little less as there is first; none where it's open."""
    stated = space.stated.recompute
    return [] if stated is None else RECOMPUTE[RECOMPUTE.index(stated) + 1 :]


def _with(space: LayoutSpace, change: Mapping[str, Any], fastest: Fastest) -> bool:
    """Whether a layout fits with these keys of it stated otherwise."""
    stated = LayoutConfig.model_validate(space.stated.model_dump() | dict(change))
    return fastest(replace(space, stated=stated)) is not None


def _larger(space: LayoutSpace, factor: int, domain: int) -> LayoutSpace:
    """The same on more devices."""
    return replace(space, count=space.count * factor, per_node=min(space.count * factor, domain))


def _restated(space: LayoutSpace, fastest: Fastest) -> str | None:
    """Other values of as few keys of the stated layout as will do, and of those the fastest."""
    stated = [key for key in _KEYS if getattr(space.stated, key) is not None]
    best = fastest(_without(space, stated)) if stated else None
    if best is None:
        return None
    single = [(found, [key]) for key in stated if (found := fastest(_without(space, [key]))) is not None]
    if single:
        return _values(*min(single, key=lambda pair: pair[0].step_time_s))
    changed = stated
    for key in stated:
        fewer = [other for other in changed if other != key]
        found = fastest(_without(space, fewer))
        if found is not None:
            best, changed = found, fewer
    return _values(best, changed)


def _without(space: LayoutSpace, keys: Sequence[str]) -> LayoutSpace:
    """The same with these keys of the layout left open."""
    return replace(space, stated=space.stated.model_copy(update=dict.fromkeys(keys)))


def _values(found: Found, keys: Sequence[str]) -> str:
    return ", ".join(f"layout.{key}={_plain(getattr(found.layout, key))}" for key in keys)


def _plain(value: Any) -> str:
    return str(value).lower()


def _offloaded(space: LayoutSpace, fastest: Fastest) -> str | None:
    """The least that must be kept in the host's memory beside what already is."""
    now = space.stated.offload or ()
    for more in _OFFLOADS:
        kept = tuple(dict.fromkeys((*now, *more)))
        other = replace(space, stated=space.stated.model_copy(update={"offload": kept}))
        if kept != now and fastest(other) is not None:
            return f"layout.offload=[{', '.join(kept)}]"
    return None
