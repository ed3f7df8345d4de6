"""How a campaign is computed: device, number format, and which runs are trained together. Fixed when it is made.

What a setting leaves to `auto` is decided once, on the machine that the campaign is made on, and kept in its file, so
that the campaign gives the same bits wherever it goes on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from ..core.model.architecture import Architecture
from ..core.reading.fields import Frozen, Label, PositiveReal
from .kernels import find_compiler, supports
from .runs import GroupKey, ProxyRun
from .settings import EngineSettings

__all__ = [
    "ComputePlan",
    "Device",
    "Precision",
    "Program",
    "ShapePlan",
    "compiled_by_torch",
    "copies_of",
    "grouped",
    "shape_plans",
    "uses_kernels",
    "wants_kernels",
]

Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16"]

# torch compiles a shape for some ten seconds in every process; a group shorter than this many FLOPs is trained sooner
# without (30 GFLOP/s is what one core without wide vectors reaches: benchmarks/proxy_throughput.py).
_WORTH_COMPILING_FLOPS = 30e9 * 60
_COPIES = 4
_STACKING_PAYS_BELOW_PARAMS = 100_000
"""Where torch computes: two workers of one compiled copy each against four stacked ones, tokens/s on AVX-512 in fp32:
even at 41k parameters, and stacking loses 15 % from 223k up (docs/decisions/002)."""


class Program(NamedTuple):
    """What decides the sizes of all tensors of one copy."""

    model: str
    shape: Architecture
    batch_sequences: int

    @classmethod
    def of(cls, alike: GroupKey) -> Program:
        """That of runs which may be trained together."""
        return cls(alike.model, alike.shape, alike.batch_sequences)

    @property
    def batch_tokens(self) -> int:
        """Training tokens per step."""
        return self.batch_sequences * self.shape.context_length


class ShapePlan(Frozen):
    """One shape of a campaign: the most copies that are trained together, and the measured speed of its products."""

    params: int = Field(ge=1)
    width: int = Field(ge=1)
    batch_tokens: int = Field(ge=1)
    copies: int = Field(ge=1)
    fp32_gflops: PositiveReal | None = Field(default=None, description="Per second, one thread; none: not measured.")
    bf16_gflops: PositiveReal | None = Field(default=None, description="The same in bf16.")


class ComputePlan(Frozen):
    """What a campaign is computed with. `busy` says that other work on the machine disturbed the measurement."""

    device: Device
    precision: Precision = Field(description="Number format of the matrix products; master weights are fp32.")
    processor: Label = Field(description="The processor or GPU that this was decided on.")
    busy: bool = False
    shapes: tuple[ShapePlan, ...] = ()


def wants_kernels(program: Program, settings: EngineSettings, device: Device) -> bool:
    """Whether the kernels in C++ are to compute a shape, where there is a compiler for them."""
    return device == "cpu" and settings.compile != "never" and supports(program.model, program.shape)


def uses_kernels(program: Program, settings: EngineSettings, device: Device) -> bool:
    """Whether the kernels in C++ compute a shape, which then isn't compiled by torch."""
    return wants_kernels(program, settings, device) and find_compiler() is not None


def compiled_by_torch(training_flops: float, settings: EngineSettings) -> bool:
    """Whether torch compiles a group of so many training FLOPs that the kernels don't compute."""
    if settings.compile == "auto":
        return training_flops >= _WORTH_COMPILING_FLOPS and find_compiler() is not None
    return settings.compile == "always"


def copies_of(program: Program, settings: EngineSettings, device: Device) -> int:
    """Return how many runs of one shape are trained together, at most."""
    if settings.group_size != "auto":
        return settings.group_size
    if device == "cuda":
        return _COPIES
    # The kernels train copies one after the other, so that a worker gains nothing by several.
    if uses_kernels(program, settings, device) or program.shape.params_total >= _STACKING_PAYS_BELOW_PARAMS:
        return 1
    return _COPIES


def grouped(runs: Sequence[ProxyRun], settings: EngineSettings, device: Device) -> list[list[ProxyRun]]:
    """Return the groups that runs are trained in: alike, in their order, in even parts; the costliest group first.

    The costliest first, so that at the end no core waits long for another.
    """
    by_shared: dict[GroupKey, list[ProxyRun]] = {}
    for run in runs:
        by_shared.setdefault(run.shared, []).append(run)
    groups = []
    for shared, alike in by_shared.items():
        parts = math.ceil(len(alike) / copies_of(Program.of(shared), settings, device))
        bounds = [len(alike) * part // parts for part in range(parts + 1)]
        groups += [alike[start:stop] for start, stop in itertools.pairwise(bounds)]
    groups.sort(key=lambda group: -sum(run.training_flops for run in group))  # stable: equal ones stay in order
    return groups


def shape_plans(
    runs: Sequence[ProxyRun],
    settings: EngineSettings,
    device: Device,
    gflops: Mapping[Program, Mapping[Precision, float]],
) -> tuple[ShapePlan, ...]:
    """Return what a plan says of each shape of the runs, ascending; `gflops` are the speeds that were measured."""
    found = []
    programs = dict.fromkeys(Program.of(run.shared) for run in runs)
    for program in sorted(programs, key=lambda program: program.shape.params_total):
        rates = gflops.get(program, {})
        shape = ShapePlan(
            params=program.shape.params_total,
            width=program.shape.width,
            batch_tokens=program.batch_tokens,
            copies=copies_of(program, settings, device),
            fp32_gflops=rates.get("fp32"),
            bf16_gflops=rates.get("bf16"),
        )
        found.append(shape)
    return tuple(found)
