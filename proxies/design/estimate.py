"""The predicted cost of a list of proxies: FLOPs, exact; wall clock and memory, by measured constants.

Runs form groups as in a campaign (`compute_plan.grouped`); groups go, the longest first, to the worker that is free
first. A worker is one process on one core, or the one that drives a GPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ...core.model.architecture import Architecture
from ...core.model.mixers.members.attention import ATTENTION
from ...core.processors import one_torch_thread
from ..compute_plan import Device, Precision, Program, compiled_by_torch, grouped, uses_kernels
from ..runs import ProxyRun
from ..settings import EngineSettings

__all__ = ["Estimate", "GroupEstimate", "Machine", "Speed", "estimate", "groups", "measure_speed"]

START_S = 6.0
"""Seconds until a worker trains: importing torch, opening tokens. Measured on two AVX-512 cores, torch 2.13."""

COMPILE_S = 10.0
"""Seconds that torch compiles one shape and number of copies, 6–11 measured on the same machine."""

PEAK_EFFICIENCY = 0.95
HALF_WIDTH = 62.0
"""Share of the matmul speed that training reaches at width w: PEAK_EFFICIENCY · w / (w + HALF_WIDTH).

From 22, 35 and 48 GFLOP/s (6·N per token) per thread at 64k, 223k and 1.1M parameters (depth 4, T = 128, bytes; widths
32, 64 and about 148) on a core whose single-precision matmul runs at 75 GFLOP/s; counted in exact FLOPs. On another
core (47 GFLOP/s, not compiled, four copies) predicted over measured time was 1.00, 1.17 and 1.08 at widths 16, 32, 64.
They hold for torch on a CPU, against its fp32 speed; for a GPU, where such models wait for launches, they are too
hopeful. Where the kernels compute, steps themselves are measured (`Speed.training`).
"""

_BASELINE_BYTES = 400e6  # resident size of a process with torch loaded, CPU build 2.13
_STATE_BYTES = 4 * 7  # fp32: master weights, two moments, average, gradient, working copy, temporary of the update
_FLOAT_BYTES = 4  # activations in fp32; bf16 halves them, so this is an upper bound
_RESIDUAL_TENSORS = 10  # per block and token, tensors of size width kept for backward: norms, q, k, v, rotated, outputs
_FFN_TENSORS = 4  # of inner size: gate, up, activation, product
_SCORE_TENSORS = 3  # (heads, T, T): scores, softmax, gradient
_LOGIT_TENSORS = 3  # (T, vocabulary): logits, log-softmax, gradient


class Speed(NamedTuple):
    """Matmul speed of one worker: of one core, or of the GPU; and of training by width, where that was measured."""

    flops_per_s: float
    device: Device
    training: Mapping[int, float] = MappingProxyType({})
    """Training FLOPs per second by width of the model."""

    def of_training(self, width: int) -> float:
        """Training FLOPs per second of models of a width: as measured, else a share of the matmul speed."""
        if self.training:
            widths = sorted(self.training)
            rates = [math.log(self.training[known]) for known in widths]
            return math.exp(float(np.interp(math.log(width), np.log(widths), rates)))
        return self.flops_per_s * PEAK_EFFICIENCY * width / (width + HALF_WIDTH)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a campaign runs on: the speed of one worker, how many there are, and how they compute."""

    speed: Speed
    workers: int
    engine: EngineSettings = field(default_factory=EngineSettings)


@dataclass(frozen=True, slots=True)
class GroupEstimate:
    """Runs that are trained together on one worker, and what that takes without compiling."""

    runs: tuple[ProxyRun, ...]
    training_flops: float
    validation_flops: float
    busy_s: float
    peak_memory_bytes: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a list of runs will cost. `busy_s` adds up all workers; `peak_memory_bytes` is of one worker.

    `rows` is the number of evaluations, each a row of the run table.
    """

    runs: int
    rows: int
    training_flops: float
    validation_flops: float
    busy_s: float
    wall_clock_s: float
    peak_memory_bytes: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def measure_speed(device: Device = "cpu", precision: Precision = "fp32") -> Speed:
    """Measure the speed of square matrix products for about half a second: on one thread of the CPU, or on the GPU.

    The best of several short timings counts, since whatever else runs on the machine only ever slows one down.
    """
    import torch

    size = 512 if device == "cpu" else 4096
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    with one_torch_thread():
        a = torch.ones(size, size, dtype=kind, device=device)
        product, best, end = a @ a, math.inf, time.perf_counter() + 0.5
        while math.isinf(best) or time.perf_counter() < end:
            _finish(device)
            start = time.perf_counter()
            for _ in range(3):
                torch.matmul(a, a, out=product)
            _finish(device)
            best = min(best, time.perf_counter() - start)
    return Speed(3 * 2.0 * size**3 / best, device)


def groups(runs: Sequence[ProxyRun], machine: Machine, domains: int) -> list[GroupEstimate]:
    """Return the groups that the runs fall into; `domains` is how many are validated on."""
    return [_group(tuple(alike), machine, domains) for alike in grouped(runs, machine.engine, machine.speed.device)]


def estimate(runs: Sequence[ProxyRun], machine: Machine, domains: int) -> Estimate:
    """Return what the runs will cost on a machine, validated on `domains` domains. No runs cost nothing."""
    found = groups(runs, machine, domains)
    busy = _busy_s_of_workers(found, machine)
    return Estimate(
        runs=len(runs),
        rows=sum(len(run.evaluate_steps) for run in runs),
        training_flops=math.fsum(group.training_flops for group in found),
        validation_flops=math.fsum(group.validation_flops for group in found),
        busy_s=math.fsum(busy),
        wall_clock_s=max(busy, default=0.0),
        peak_memory_bytes=max((group.peak_memory_bytes for group in found), default=0.0),
    )


def _group(runs: tuple[ProxyRun, ...], machine: Machine, domains: int) -> GroupEstimate:
    first, copies = runs[0], len(runs)
    training = first.training_flops * copies
    evaluations = len(first.evaluate_steps) * domains * machine.engine.eval_tokens
    validation = first.shape.forward_flops_per_token() * evaluations * copies
    speed = machine.speed.of_training(first.shape.width)
    return GroupEstimate(
        runs=runs,
        training_flops=training,
        validation_flops=validation,
        busy_s=(training + validation) / speed,
        peak_memory_bytes=_BASELINE_BYTES + copies * _bytes_per_copy(first.shape, first.batch_sequences),
    )


def _bytes_per_copy(shape: Architecture, sequences: int) -> float:
    """Return the memory of one model in training: weights, optimizer, and activations of a batch."""
    length = shape.context_length
    visited = (shape.experts_per_token or 0) + shape.shared_experts  # experts that a token meets in a layer
    inner = (shape.layers - shape.moe_layers) * shape.ffn_width
    inner += shape.moe_layers * visited * (shape.expert_ffn_width or shape.ffn_width)
    per_token = shape.layers * _RESIDUAL_TENSORS * shape.width + _FFN_TENSORS * inner
    per_sequence = length * (per_token + _LOGIT_TENSORS * shape.vocab_size)
    if shape.mixer == ATTENTION:
        per_sequence += _SCORE_TENSORS * shape.layers * shape.heads * length**2
    return _STATE_BYTES * shape.params_total + _FLOAT_BYTES * sequences * per_sequence


def _busy_s_of_workers(found: Sequence[GroupEstimate], machine: Machine) -> list[float]:
    """Return how long each worker that has anything to do is busy, start and compilation included."""
    busy: list[float] = []
    compiled: list[set[tuple[Program, int]]] = []
    for group in sorted(found, key=lambda group: -group.busy_s):
        program = Program.of(group.runs[0].shared), len(group.runs)
        if len(busy) < machine.workers:
            busy.append(START_S)
            compiled.append(set())
        worker = busy.index(min(busy))
        if program not in compiled[worker] and _compiles(group, machine):
            busy[worker] += COMPILE_S
            compiled[worker].add(program)
        busy[worker] += group.busy_s
    return busy


def _compiles(group: GroupEstimate, machine: Machine) -> bool:
    """Say whether torch compiles a group."""
    program = Program.of(group.runs[0].shared)
    if uses_kernels(program, machine.engine, machine.speed.device):
        return False
    return compiled_by_torch(group.training_flops, machine.engine)


def _finish(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
