"""What is usual of a layout where it isn't stated: chunks of pipeline stages, micro-batches, recomputation.

Neither the worst nor the best: a run whose interleaving wasn't published had some. What remains possible is integrated
over, as the spread of the textbook's time, 1 + (pp − 1) / (vpp · micro-batches), over all that the schedule allows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...config.hardware import LayoutConfig
from ..memory.memory import memory
from ..step_time.steps import FRAMEWORKS, Machines, Models, Steps, layouts
from .layout import ParallelLayout
from .layout_problems import OWN_STAGES

__all__ = ["Interleaving", "interleaving", "says_part", "unstated_notes", "unstated_sd", "usual_of_memory"]

_FEW = 0.04
"""The bubble that interleaving is for, as a share of a step: 24 of the 29 pipelines in the shared table whose vpp is
published have at most that, and 16 of the 19 interleave whose bubble would be larger without."""
_INTERLEAVED = tuple(FRAMEWORKS.index(name) for name in ("megatron", "fsdp", "xla"))  # DeepSpeed's pipelines aren't
_RECOMPUTED = tuple(FRAMEWORKS.index(name) for name in ("fsdp", "deepspeed"))
_LIKELY = 0.5  # chance to fit into memory that the usual must have
_DESCRIBED = ("tp", "pp", "cp", "ep", "dp", "zero_stage")


class Interleaving(NamedTuple):
    """The usual number of chunks of a pipeline's stages, those possible, and what not knowing it costs."""

    vpp: int
    possible: tuple[int, ...]
    log_sd: float
    """Sd of log step time over those possible, about the usual one."""


def interleaving(layers: int, pp: int, rounds: int, framework: int, about: int | None = None) -> Interleaving:
    """The chunks of a pipeline of `pp` stages whose `rounds` micro-batches a step are known, where vpp isn't.

    Possible are 1 and the divisors of a stage's layers, up to the first with a small bubble; usual is the one whose
    time is next to the mean of the interleaved ones'. `about` is another one that is taken instead.

    >>> interleaving(126, 16, 16, framework=0)[:2]
    (4, (1, 2, 4, 8))
    >>> interleaving(80, 4, 512, framework=0).possible
    (1,)
    """
    possible = [1]
    if pp > 1 and framework in _INTERLEAVED and rounds % pp == 0:
        stage = -(-layers // pp)
        fits = [vpp for vpp in range(1, stage + 1) if stage % vpp == 0 and pp * vpp <= layers + OWN_STAGES]
        small = next((vpp for vpp in fits if (pp - 1) / (vpp * rounds) <= _FEW), fits[-1] if fits else 1)
        possible = sorted({1, about or 1, *(vpp for vpp in fits if vpp <= small)})
    logs = np.log1p((pp - 1) / (np.array(possible) * rounds))
    middle = np.mean(logs[1:]) if len(logs) > 1 else logs[0]
    usual = about or possible[int(np.argmin(np.abs(logs - middle)))]
    away = logs - np.log1p((pp - 1) / (usual * rounds))
    return Interleaving(usual, tuple(possible), float(np.sqrt(np.mean(away**2))))


def usual_of_memory(
    models: Models, machines: Machines, columns: Mapping[str, float], unstated: Collection[str]
) -> dict[str, float]:
    """A layout, by the names of `Layouts`, with what memory tells of `micro_batch` and `recompute`, where unstated.

    With weights gathered for every micro-batch, that is the whole batch of a replica, or the largest part of it that
    likely fits into memory; else one sequence, as in 109 of the 153 published rows of Megatron's kin. PyTorch's FSDP
    and DeepSpeed compute as little anew as likely fits; Megatron's kin have other means, and nothing is assumed.
    """
    local = columns["micro_batch"] * columns["accumulation"]
    splits, policies = [columns["accumulation"]], [(columns["recompute_selective"], columns["recompute_full"])]
    if "micro_batch" in unstated and columns["zero_stage"] >= 3 and columns["pp"] == 1:
        splits = [float(parts) for parts in range(1, round(local) + 1) if round(local) % parts == 0]
    if "recompute" in unstated and columns["framework"] in _RECOMPUTED:
        policies = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    tried = np.array([(local / parts, parts, *policy) for policy in policies for parts in splits])
    if len(tried) == 1:
        return dict(columns)
    names = ("micro_batch", "accumulation", "recompute_selective", "recompute_full")
    alike = {name: np.full(len(tried), value) for name, value in columns.items()}
    steps = Steps(models, machines, layouts(**(alike | dict(zip(names, tried.T, strict=True)))))
    fits = memory(steps).fits(_LIKELY)
    chosen = int(np.argmax(fits)) if np.any(fits) else len(tried) - 1
    return {**columns, **dict(zip(names, tried[chosen].tolist(), strict=True))}


def says_part(stated: LayoutConfig) -> bool:
    """Whether a plan describes a layout without stating all of it that a step's time depends on."""
    described = any(getattr(stated, name) is not None for name in _DESCRIBED)
    return described and (stated.vpp is None or stated.micro_batch is None)


def unstated_sd(steps: Steps, layout: ParallelLayout, stated: LayoutConfig) -> Steps:
    """A plan's step with the spread over what its partly stated layout leaves open."""
    if not says_part(stated) or stated.vpp is not None:
        return steps
    found = _of_plan(steps, layout)
    return replace(steps, layouts=replace(steps.layouts, unstated_sd=np.array([found.log_sd])))


def unstated_notes(steps: Steps, layout: ParallelLayout, stated: LayoutConfig) -> list[str]:
    """What was taken for what a partly stated layout leaves open, in plain sentences."""
    notes = []
    if not says_part(stated):
        return notes
    possible = _of_plan(steps, layout).possible
    if stated.vpp is None and len(possible) > 1:
        notes.append(
            f"layout.vpp isn't stated: {layout.vpp} taken, as is fastest; runs of such a layout have any of "
            f"{', '.join(map(str, possible))}, and the interval is wider for it"
        )
    if stated.micro_batch is None:
        notes.append(f"layout.micro_batch isn't stated: {layout.micro_batch} taken, as is fastest of what fits")
    return notes


def _of_plan(steps: Steps, layout: ParallelLayout) -> Interleaving:
    layers, framework = int(np.ravel(steps.models.layers)[0]), int(np.ravel(steps.layouts.framework)[0])
    return interleaving(layers, layout.pp, layout.accumulation, framework, about=layout.vpp)
