"""What to change about a layout that doesn't fit: the change that costs least speed, or what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any

import numpy as np

from ...architecture import Architecture
from ...errors import InfeasibleError
from ..config_cluster import LayoutConfig
from .candidates import LayoutSpace, candidate_layouts, layout_at
from .layout import Layout
from .layout_problems import problems
from .memory import GIB, Memory, memory
from .steps import Layouts, Machines, Models, Steps, layouts, model

__all__ = ["Advice", "advise", "layout_memory"]

_MOST_DEVICES = 4096  # times the devices of the plan: beyond, more of them is no advice
_OFFLOADS = ("offload_optimizer", "offload_activations")


@dataclass(frozen=True)
class Advice:
    """What one plan needs, and what would make it fit."""

    needed_gib: float
    usable_gib: float
    capacity_gib: float
    largest_part: str
    largest_gib: float
    changes: tuple[str, ...] = ()
    """Keys and values of a configuration, `layout.recompute=full`; empty where nothing on these devices helps."""
    changed_gib: float | None = None
    layout: Layout | None = None
    """The layout with these changes."""
    least_gib: float | None = None
    """Where nothing helps: the least that any layout on these devices needs."""
    devices: int | None = None
    """Where nothing helps: more devices that would be enough; None if no number of them is."""

    def __str__(self) -> str:
        """One line: what is needed and usable, the largest part, and what to change."""
        need = f"needs {self.needed_gib:.1f} GiB per device, of {self.usable_gib:.1f} GiB usable"
        largest = f"largest part: {self.largest_part} {self.largest_gib:.1f} GiB"
        if self.changes:
            change = f"smallest change that fits: {', '.join(self.changes)} ({self.changed_gib:.1f} GiB)"
        else:
            change = f"no layout on these devices needs less than {self.least_gib:.1f} GiB"
            more = f"hardware.count {self.devices}" if self.devices else "an accelerator with more memory"
            change += f"; expected {more}, or a smaller model"
        return f"{need}; {largest}; {change}"


@dataclass(frozen=True)
class _Plan:
    architecture: Architecture
    machine: Machines
    layout: Layout
    per_node: int
    framework: int

    def memory(self, options: Sequence[Layout]) -> Memory:
        return layout_memory(self.architecture, self.machine, options, self.framework)

    def possible(self, option: Layout) -> bool:
        return not problems(self.architecture, option, self.layout.devices, self.layout.global_batch)


def layout_memory(
    architecture: Architecture, machine: Machines, options: Sequence[Layout], framework: int = 0
) -> Memory:
    """Memory of one model on one kind of machine in some layouts. `framework` is an index into FRAMEWORKS."""
    names = {f.name for f in fields(Layouts)} & {f.name for f in fields(Layout)}
    columns = {name: np.array([float(getattr(option, name)) for option in options]) for name in names}
    columns["recompute_selective"] = np.array([float(option.recompute == "selective") for option in options])
    columns["recompute_full"] = np.array([float(option.recompute == "full") for option in options])
    columns["framework"] = np.full(len(options), float(framework))
    return memory(Steps(_models(architecture), machine, layouts(**columns)))


def _models(architecture: Architecture) -> Models:
    return model(architecture)  # pyright: ignore[reportArgumentType]  # frozen, hence hashable


def advise(
    architecture: Architecture, machine: Machines, layout: Layout, per_node: int, framework: int = 0
) -> Advice | None:
    """What to change about a layout that doesn't fit; None for one that does.

    Single changes are tried first, those that cost least speed before others, then two at once, then every layout of
    the same devices with one sequence at a time and everything recomputed, then twice the devices, and so on.
    """
    plan = _Plan(architecture, machine, layout, per_node, framework)
    now = plan.memory([layout])
    if now.fits[0]:
        return None
    part = max(now.parts, key=lambda name: float(now.parts[name][0]))
    found = Advice(
        needed_gib=float(now.device_gib[0]),
        usable_gib=float(now.usable_gib[0]),
        capacity_gib=float(now.capacity_bytes[0]) / GIB,
        largest_part=part,
        largest_gib=float(now.parts[part][0]) / GIB,
    )
    changes = list(_changes(plan))
    for several in (1, 2):
        chosen = _first_that_fits(plan, list(combinations(changes, several)))
        if chosen is not None:
            option, keys, gib = chosen
            return replace(found, changes=keys, changed_gib=gib, layout=option)
    return _beyond(plan, found)


@dataclass(frozen=True)
class _Change:
    """Fields of a `Layout` to be replaced."""

    fields: dict[str, Any]

    def __str__(self) -> str:
        stated = [f"layout.{k}={str(v).lower()}" for k, v in self.fields.items() if k in _STATED]
        offloaded = [k.removeprefix("offload_") for k in self.fields if k in _OFFLOADS]
        return ", ".join([*stated, *(f"layout.offload=[{what}]" for what in offloaded)])


_STATED = {f.name for f in fields(Layout)} - {"accumulation", *_OFFLOADS}


def _changes(plan: _Plan) -> Iterator[_Change]:
    """Single changes: those that cost least speed come first."""
    layout, sequences = plan.layout, plan.layout.micro_batch * plan.layout.accumulation
    sharing = layout.dp * layout.cp > 1
    if layout.tp > 1 and not layout.sequence_parallel:
        yield _Change({"sequence_parallel": True})
    if not layout.flash_attention:
        yield _Change({"flash_attention": True})
    # With a pipeline, stages 2 and 3 would communicate for every micro-batch.
    stages = [stage for stage in (1, 2, 3) if stage > layout.zero_stage and (stage == 1 or layout.pp == 1)]
    yield from (_Change({"zero_stage": stage}) for stage in stages if sharing and stage < 3)
    if layout.recompute == "none":
        yield _Change({"recompute": "selective"})
    sizes = [size for size in range(layout.micro_batch - 1, 0, -1) if sequences % size == 0]
    yield from (_Change({"micro_batch": size, "accumulation": sequences // size}) for size in sizes)
    yield from (_Change({"zero_stage": stage}) for stage in stages if sharing and stage == 3)
    yield from _wider(plan)
    if layout.recompute != "full":
        yield _Change({"recompute": "full"})
    if np.isfinite(plan.machine.host_bytes_per_s):
        yield from (_Change({what: True}) for what in _OFFLOADS if not getattr(layout, what))


def _wider(plan: _Plan) -> Iterator[_Change]:
    """Fewer replicas, each on more devices; experts on more of them."""
    layout = plan.layout
    most = {"tp": plan.per_node, "pp": plan.architecture.layers, "cp": layout.dp * layout.cp}
    for name, largest in most.items():
        now, times = getattr(layout, name), 2
        while now * times <= largest and layout.dp % times == 0:
            change = {name: now * times, "dp": layout.dp // times, "accumulation": layout.accumulation * times}
            yield _Change(change | ({"sequence_parallel": True} if name == "tp" else {}))
            times *= 2
    degree = 2 * layout.ep
    while degree <= (plan.architecture.num_experts or 1):
        yield _Change({"ep": degree})
        degree *= 2


def _first_that_fits(plan: _Plan, tried: Sequence[tuple[_Change, ...]]) -> tuple[Layout, tuple[str, ...], float] | None:
    """The first of some sets of changes with which the plan is possible and fits."""
    options = []
    for several in tried:
        names = [name for change in several for name in change.fields]
        if len(set(names)) == len(names):  # not two values of one field, nor two that share out the same replicas
            option = replace(plan.layout, **{name: v for change in several for name, v in change.fields.items()})
            if plan.possible(option):
                options.append((option, tuple(map(str, several))))
    if not options:
        return None
    found = plan.memory([option for option, _ in options])
    if not found.fits.any():
        return None
    first = int(np.argmax(found.fits))
    return *options[first], float(found.device_gib[first])


def _beyond(plan: _Plan, found: Advice) -> Advice:
    """What the leanest layouts need on these devices and on more of them."""
    count = plan.layout.devices
    least = float(np.min(_leanest(plan, count), initial=found.needed_gib))
    if least <= found.usable_gib:
        option, gib = _lean_layout(plan, count)
        return replace(found, changes=_differences(plan.layout, option), changed_gib=gib, layout=option)
    devices, times = None, 2
    while devices is None and times <= _MOST_DEVICES:
        if np.min(_leanest(plan, count * times), initial=np.inf) <= found.usable_gib:
            devices = count * times
        times *= 2
    return replace(found, least_gib=least, devices=devices)


def _lean_space(plan: _Plan, count: int) -> dict[str, np.ndarray]:
    """Layouts with one sequence at a time and everything recomputed; `InfeasibleError` if there is none."""
    stated = LayoutConfig(recompute="full", micro_batch=1, vpp=1, flash_attention=True)
    return candidate_layouts(LayoutSpace(plan.architecture, count, plan.per_node, plan.layout.global_batch, stated))


def _leanest(plan: _Plan, count: int) -> np.ndarray:
    """GiB per device of the leanest layouts on `count` devices; empty where none is possible."""
    try:
        columns = _lean_space(plan, count)
    except InfeasibleError:
        return np.zeros(0)
    framework = np.full(len(columns["tp"]), float(plan.framework))
    return memory(Steps(_models(plan.architecture), plan.machine, layouts(**columns, framework=framework))).device_gib


def _lean_layout(plan: _Plan, count: int) -> tuple[Layout, float]:
    """Of the leanest layouts that fit the one that is most like the plan, and GiB per device."""
    columns = _lean_space(plan, count)
    needed = _leanest(plan, count)
    usable = float(plan.memory([plan.layout]).usable_gib[0])
    names = ("tp", "pp", "cp", "ep", "zero_stage")
    distance = sum(np.abs(np.log2((1.0 + columns[n]) / (1.0 + getattr(plan.layout, n)))) for n in names)
    best = int(np.argmin(np.where(needed <= usable, distance, np.inf)))
    return layout_at(columns, best), float(needed[best])


def _differences(old: Layout, new: Layout) -> tuple[str, ...]:
    """Keys of `new` that differ from `old`, as in a configuration."""
    names = [f.name for f in fields(Layout) if f.name != "accumulation" and not f.name.startswith("offload")]
    return tuple(
        f"layout.{name}={str(getattr(new, name)).lower()}" for name in names if getattr(new, name) != getattr(old, name)
    )
