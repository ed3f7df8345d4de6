"""The fastest layouts of a model on n devices: the candidates that fit in memory, ranked by step time.

Candidates are estimated at once as arrays. The learned residual is bounded, so it is evaluated only for layouts whose
time without it comes within that bound of the last one requested. What computes something anew is never faster than
what keeps it; so of each layout the time without that is looked at first, and the rest only for those that are near.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....core.errors import ConfigError, InfeasibleError
from ....core.summary import percent
from ....datasets.facts.accelerators import Accelerator, Precision
from ...config.hardware import Framework, LayoutConfig
from ..memory.memory import GIB, Memory, MemoryCap, memory
from ..step_time.parts import step_time
from ..step_time.residual import LARGEST_CORRECTION
from ..step_time.step_model import StepTimeModel
from ..step_time.steps import FRAMEWORKS, Steps, layouts, machine, model
from .candidates import LayoutSpace, candidate_layouts, layout_at
from .layout import ParallelLayout
from .search_advice import Fastest, changes_that_fit, keeping_less

__all__ = ["RankedLayout", "default_framework", "fastest_layouts", "steps_of"]

_FIRST = 64
_ROUNDING = 0.01  # log units
_NEAR = (512, 4096)  # layouts looked at closely, before all of them are
_SAME = 1e-9  # of times that would be the same but for rounding
_MOST_LEARNED = 20_000
_FSDP_STAGE = 3


@dataclass(frozen=True)
class RankedLayout:
    """One layout with its estimated step time and memory."""

    layout: ParallelLayout
    framework: Framework
    step_time_s: float
    device_gib: float
    verdict: str
    p_fit: float
    """Chance to fit into memory."""


@dataclass(frozen=True)
class _Candidates:
    columns: dict[str, np.ndarray]
    steps: Steps
    memory: Memory
    fit_chance: float

    @classmethod
    def of(cls, columns: dict[str, np.ndarray], steps: Steps, fit_chance: float) -> _Candidates:
        """Candidates with their memory."""
        return cls(columns, steps, memory(steps), fit_chance)


def default_framework(accelerator: Accelerator, zero_stage: np.ndarray) -> np.ndarray:
    """Default index into FRAMEWORKS: XLA on TPUs, else FSDP for sharded weights, else Megatron-LM and similar."""
    if (accelerator.generation or "").startswith("tpu"):
        return np.full(np.shape(zero_stage), FRAMEWORKS.index("xla"))
    return np.where(np.asarray(zero_stage) >= _FSDP_STAGE, FRAMEWORKS.index("fsdp"), FRAMEWORKS.index("megatron"))


def steps_of(
    space: LayoutSpace,
    columns: dict[str, np.ndarray],
    accelerator: Accelerator,
    precision: Precision,
    framework: Framework | None = None,
) -> Steps:
    """Candidate layouts of a space as steps on an accelerator."""
    index = default_framework(accelerator, columns["zero_stage"])
    if framework is not None:
        index = np.full(np.shape(index), FRAMEWORKS.index(framework))
    offload = any(np.any(columns[f"offload_{what}"]) for what in ("optimizer", "weights", "activations"))
    part = machine(accelerator, precision, per_node=space.per_node, devices=space.count, offload=offload)
    plans = layouts(**columns, framework=index, release=space.release)
    return Steps(model(space.architecture), part, plans, space.states, space.kernels)


def fastest_layouts(
    space: LayoutSpace,
    accelerator: Accelerator,
    precision: Precision,
    *,
    framework: Framework | None = None,
    fitted: StepTimeModel | None = None,
    top: int = 10,
    cap: MemoryCap | None = None,
    measured_first: bool = False,
) -> list[RankedLayout]:
    """The fastest layouts that fit with the space's chance, fastest first; if none does, those that may, likeliest.

    Args:
        space: The layouts to choose from.
        accelerator: The accelerator.
        precision: The number format of matrix products.
        framework: The training software; None for the default of each layout.
        fitted: The step-time model; None for the shipped one.
        top: How many layouts to return at most.
        cap: Further limits on memory; if no layout keeps them, those that fit with the least memory are returned.
        measured_first: Whether layouts that the model was calibrated on come before all others.

    Raises:
        InfeasibleError: No layout is possible, or none fits; names the smallest changes that would make one fit.
    """
    fitted = fitted or StepTimeModel.shipped()
    columns = candidate_layouts(space)
    steps = steps_of(space, columns, accelerator, precision, framework)
    if cap is None and fitted.own is None:  # whose measured steps keep to no order
        near = _fastest_of_near(columns, steps, space.fit_chance, fitted, top)
        if near is not None:
            return near
    found = _Candidates.of(columns, steps, space.fit_chance)
    fits = found.memory.fits(space.fit_chance)
    kept = fits if cap is None else fits & cap.kept(found.memory)
    measured = kept & fitted.measured(found.steps) if measured_first else np.zeros_like(kept)
    if np.any(measured):
        kept = measured
    if np.any(kept):
        return _fastest(found, kept, fitted, top)
    if np.any(fits):
        return _first(found, fits, found.memory.device_gib, fitted, top)
    if np.any(found.memory.possible):
        return _first(found, found.memory.possible, -found.memory.slack_sd, fitted, top)

    def fastest(other: LayoutSpace) -> RankedLayout | None:
        try:
            columns = candidate_layouts(other)
            steps = steps_of(other, columns, accelerator, precision, framework)
        except (InfeasibleError, ConfigError):  # impossible, or over links of which nothing is known
            return None
        found = _Candidates.of(columns, steps, space.fit_chance)
        fits = found.memory.fits(space.fit_chance)
        return _fastest(found, fits, fitted, 1)[0] if np.any(fits) else None

    raise InfeasibleError(_why_nothing_fits(space, found, accelerator, fastest))


def _fastest_of_near(
    columns: dict[str, np.ndarray], steps: Steps, fit_chance: float, fitted: StepTimeModel, top: int
) -> list[RankedLayout] | None:
    """What `_fastest` finds among all candidates that fit, by looking closely at the fastest few alone.

    None where they don't tell. The candidates are in groups that differ in recomputation alone, the least of it first.
    """
    policy = columns["recompute_selective"] + 2 * columns["recompute_full"]
    first = policy == policy.min()
    if 3 * np.count_nonzero(first) > len(first):  # recomputation isn't free, so that nothing is gained
        return None
    group = np.cumsum(first) - 1
    least_s = _plain_s(steps.take(np.flatnonzero(first)), fitted)
    for count in _NEAR:
        if count >= len(least_s):
            return None
        within_s = np.partition(least_s, count)[count]
        rows = np.flatnonzero((least_s <= within_s)[group])
        near = _Candidates.of({key: column[rows] for key, column in columns.items()}, steps.take(rows), fit_chance)
        fits = np.flatnonzero(near.memory.fits(fit_chance))
        if len(fits) < max(top, _FIRST):
            continue
        found, step_time_s, looked_at_s = _ranked(near.steps, fits, fitted, top)
        if looked_at_s <= within_s * (1.0 - _SAME):  # others are beyond what had to be looked at
            return _described(near, found[:top], step_time_s[:top])
    return None


def _fastest(found: _Candidates, among: np.ndarray, fitted: StepTimeModel, top: int) -> list[RankedLayout]:
    """The fastest of some candidates, at least one."""
    rows, step_time_s, _ = _ranked(found.steps, np.flatnonzero(among), fitted, top)
    return _described(found, rows[:top], step_time_s[:top])


def _first(
    found: _Candidates, among: np.ndarray, order: np.ndarray, fitted: StepTimeModel, top: int
) -> list[RankedLayout]:
    """The candidates with the lowest `order`, of at least one."""
    rows = np.flatnonzero(among)
    rows = rows[np.argsort(order[rows], kind="stable")[:top]]
    return _described(found, rows, fitted.predict(found.steps.take(rows)).total_s)


def _described(found: _Candidates, rows: np.ndarray, step_time_s: np.ndarray) -> list[RankedLayout]:
    verdicts, device_gib = found.memory.verdict(found.fit_chance), found.memory.device_gib
    return [
        RankedLayout(
            layout=layout_at(found.columns, row),
            framework=FRAMEWORKS[int(found.steps.layouts.framework[row])],  # pyright: ignore[reportArgumentType]
            step_time_s=float(seconds),
            device_gib=float(device_gib[row]),
            verdict=str(verdicts[row]),
            p_fit=found.memory.p_fit(int(row)),
        )
        for row, seconds in zip(rows, step_time_s, strict=True)
    ]


def _ranked(steps: Steps, rows: np.ndarray, fitted: StepTimeModel, top: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The rows that may be among the `top`, by predicted time; ties go to the plainer layout, which comes first.

    Also the time without the learned residual up to which rows had to be looked at.
    """
    chosen = steps.take(rows)
    physics = step_time(chosen, fitted.efficiencies)
    plain_s = fitted.without_trees().corrected(chosen, physics).total_s

    def predicted_s(at: np.ndarray) -> np.ndarray:
        return fitted.corrected(chosen.take(at), physics.take(at)).total_s

    # the residual's bound limits how far any other row can move up, so only rows within it are evaluated
    order = np.argsort(plain_s, kind="stable")
    first = order[: max(top, _FIRST)]
    last_s = np.sort(predicted_s(first))[min(top, len(rows)) - 1]
    looked_at_s = max(last_s * np.exp(LARGEST_CORRECTION + _ROUNDING), plain_s[first[-1]])
    near = order[plain_s[order] <= last_s * np.exp(LARGEST_CORRECTION + _ROUNDING)][:_MOST_LEARNED]
    step_time_s = predicted_s(near)
    fastest = np.argsort(step_time_s, kind="stable")
    return rows[near][fastest], step_time_s[fastest], float(looked_at_s)


def _plain_s(steps: Steps, fitted: StepTimeModel) -> np.ndarray:
    """Step times without the learned residual."""
    return fitted.without_trees().predict(steps).total_s


def _why_nothing_fits(space: LayoutSpace, found: _Candidates, accelerator: Accelerator, fastest: Fastest) -> str:
    """The least that any layout needs, its largest part, and the smallest changes that would do."""
    best = int(np.argmin(found.memory.device_gib))
    needs, usable = float(found.memory.device_gib[best]), float(found.memory.usable_gib[best])
    chance = percent(found.memory.p_fit(best))
    parts = {name: float(part[best]) / GIB for name, part in found.memory.parts.items()}
    largest = max(parts, key=lambda name: parts[name])
    what, which = "no layout", "the leanest"
    if space.stated != LayoutConfig():
        what, which = ("the layout as stated doesn't", "it") if len(found.steps) == 1 else (f"{what} as stated", which)
    domain = max(space.per_node, accelerator.per_node or 1)
    host_link = accelerator.pcie_gb_per_s is not None
    changes = [*changes_that_fit(space, fastest, domain=domain, host_link=host_link)]
    if largest in ("logits", "activations"):
        changes += [change for change in keeping_less(space, fastest) if change not in changes]
    expected = " or ".join(changes) or "none found; expected an accelerator with more memory or a smaller model"
    return (
        f"memory: {what} fit{'' if which == 'it' else 's'} {space.count} × {accelerator.name}: {which} needs "
        f"{needs:.1f} GiB per device of {usable:.1f} usable, a chance to fit of {chance}; "
        f"largest part: {largest} {parts[largest]:.1f} GiB; "
        f"smallest change that fits: {expected}"
    )
