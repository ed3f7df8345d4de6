"""Memory of the fullest device of a training step, by part, and whether it fits.

Pipeline stages are worked out in `memory_stages.py`, a layer's activations in `activations.py`, and what frameworks add
is in `memory_software.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ....core.deadline import check_time
from ..step_time.steps import Steps
from .memory_software import SOFTWARE, Software, by_framework
from .memory_stages import GIB, PARTS, Stages

__all__ = ["FIT_CHANCE", "GIB", "PARTS", "RESERVE", "VERDICTS", "Memory", "MemoryCap", "memory"]

VERDICTS = ("fits", "tight", "does not fit")
"""fits: with the chance that is asked for, the reserve to spare. tight: it may, with less. does not fit: not even the
lower end of the interval does, with nothing in reserve."""

FIT_CHANCE = 0.9
"""Chance to fit that is asked for unless a plan says otherwise (hardware.fit_chance)."""

RESERVE = 0.03
"""Share of a device's memory to keep free for what grows later: evaluation, uneven routing, checkpoints."""

_LEVEL = 1.2816  # normal quantile of an 80 % interval
_UNMEASURED_MIXER_LOG_SD = 0.15  # of a mixer whose activations nobody measured: a judgement
_CONTEXT_GIB = 0.6  # CUDA context and libraries' handles on data-centre GPUs: 0.4 to 0.8 as nvidia-smi shows it
_GROUP_GIB = 0.25  # buffers of one communicator between devices
_SPARE = 0.005  # share of a cap
_CHUNK = 16_384  # elements worked on together: their arrays stay in the processor's cache


@dataclass(frozen=True)
class Memory:
    """Memory of the fullest device. Arrays (n,), of one element for a single step; names say bytes or GiB."""

    parts: Mapping[str, np.ndarray]
    """Bytes by part; they add up to `allocated_bytes`."""
    reserve_bytes: np.ndarray
    """What the framework's allocator holds beyond that."""
    context_bytes: np.ndarray
    """What the driver and communication libraries hold."""
    capacity_bytes: np.ndarray
    log_sd: np.ndarray
    """Standard deviation of log(measured / estimated) of what is allocated."""

    @property
    def allocated_bytes(self) -> np.ndarray:
        """The framework's peak: what torch.cuda.max_memory_allocated tells."""
        return sum(self.parts.values(), np.zeros(()))

    @property
    def allocated_gib(self) -> np.ndarray:
        """The framework's peak, GiB."""
        return self.allocated_bytes / GIB

    @property
    def reserved_gib(self) -> np.ndarray:
        """The allocator's peak, GiB: what torch.cuda.max_memory_reserved tells."""
        return (self.allocated_bytes + self.reserve_bytes) / GIB

    @property
    def device_gib(self) -> np.ndarray:
        """The device's peak, GiB: what nvidia-smi tells."""
        return self.reserved_gib + self.context_bytes / GIB

    @property
    def usable_gib(self) -> np.ndarray:
        """What a plan may need at most to fit: the device's memory less the reserve, GiB."""
        return (1.0 - RESERVE) * self.capacity_bytes / GIB

    def interval_gib(self, level_quantile: float = _LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the device's peak, GiB; an 80 % interval unless another normal quantile is given."""
        spread = np.exp(level_quantile * self.log_sd)
        context = self.context_bytes / GIB
        return self.reserved_gib / spread + context, self.reserved_gib * spread + context

    @property
    def slack_sd(self) -> np.ndarray:
        """From the estimate up to what is usable, in standard deviations of what is estimated; negative beyond it."""
        room = np.maximum(self.usable_gib - self.context_bytes / GIB, np.finfo(float).tiny)
        return np.log(room / self.reserved_gib) / self.log_sd

    def p_fit(self, row: int = 0) -> float:
        """Probability that a device's peak leaves the reserve free: of the distribution that the intervals are of."""
        return NormalDist().cdf(float(self.slack_sd[row]))

    def fits(self, chance: float = FIT_CHANCE) -> np.ndarray:
        """Whether the peak leaves the reserve free with that chance at least."""
        return self.slack_sd >= NormalDist().inv_cdf(chance)

    @property
    def possible(self) -> np.ndarray:
        """Whether it may run: the low end of the interval, the allocator's surplus given back, is below the limit."""
        low = self.allocated_bytes / np.exp(_LEVEL * self.log_sd) + self.context_bytes
        return low <= self.capacity_bytes

    def verdict(self, chance: float = FIT_CHANCE) -> np.ndarray:
        """One of VERDICTS for each, where that chance to fit is asked for."""
        return np.where(self.fits(chance), VERDICTS[0], np.where(self.possible, VERDICTS[1], VERDICTS[2]))


@dataclass(frozen=True)
class MemoryCap:
    """The most memory that a layout may take on any device, GiB, and how likely it must keep to that."""

    gib: float
    chance: float = 0.5

    def kept(self, found: Memory) -> np.ndarray:
        """Whether each layout keeps to it, with half a percent to spare: quantiles between levels are interpolated."""
        return found.interval_gib(NormalDist().inv_cdf(self.chance))[1] <= self.gib * (1.0 - _SPARE)


def memory(steps: Steps, software: Mapping[str, Software] = SOFTWARE) -> Memory:
    """Estimate the memory of every step. 300,000 layouts of one model take about a quarter of a second."""
    size = len(steps)
    if size <= _CHUNK:
        return _memory(steps, software)
    chunks = []
    for start in range(0, size, _CHUNK):
        check_time()
        chunks.append(_memory(steps.take(np.arange(start, min(start + _CHUNK, size))), software))
    names = ("reserve_bytes", "context_bytes", "capacity_bytes", "log_sd")
    joined = {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names}
    parts = {name: np.concatenate([chunk.parts[name] for chunk in chunks]) for name in PARTS}
    return Memory(parts=parts, **joined)


def _memory(steps: Steps, software: Mapping[str, Software]) -> Memory:
    """All steps at once: the first, the second and the last pipeline stage, and of each step the fullest of them."""
    fields = (steps.layouts.tp, steps.models.layers, steps.machines.per_node, np.zeros(1))
    shape = np.broadcast_shapes(*(np.shape(field) for field in fields))
    stages = Stages(steps, software)
    parts = _fuller(_fuller(stages.first(), stages.second()), stages.last())
    total = sum(parts.values(), np.zeros(()))
    half, plan = steps.machines.half, steps.layouts
    plain = (1.0 - plan.recompute_selective) * (1.0 - plan.recompute_full)  # only whole layers depend on what is fused
    eager = plain * stages.unsaid["activations"] * parts["activations"] + stages.unsaid["logits"] * parts["logits"]
    # where nobody says what is compiled, the upper end of an 80 % interval is what eager execution needs
    unsaid = np.log1p(eager / total) / _LEVEL

    def constant(name: str) -> np.ndarray:
        return by_framework(software, steps.layouts.framework, name)

    numbers = {
        "reserve_bytes": (constant("reserve") + half * constant("more_reserve_fp16")) * total,
        "context_bytes": GIB * (_CONTEXT_GIB + _GROUP_GIB * _groups(steps)),
        "capacity_bytes": steps.machines.memory_bytes,
        "log_sd": np.hypot(
            np.hypot(constant("log_sd"), half * constant("more_log_sd_fp16")),
            np.hypot(unsaid, _UNMEASURED_MIXER_LOG_SD * steps.models.unattended),
        ),
    }
    return Memory(
        parts={name: np.broadcast_to(value, shape) for name, value in parts.items()},
        **{name: np.broadcast_to(value, shape) for name, value in numbers.items()},
    )


def _fuller(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of two stages the one that needs more, element by element."""
    chosen = sum(other.values(), np.zeros(())) > sum(one.values(), np.zeros(()))
    return {name: np.where(chosen, other[name], one[name]) for name in PARTS}


def _groups(steps: Steps) -> np.ndarray:
    """Communicators of a device: one for each kind of parallelism that it takes part in."""
    layouts = steps.layouts
    kinds = (layouts.tp, layouts.pp, layouts.cp, layouts.ep, layouts.data_ranks)
    return sum((np.where(kind > 1, 1.0, 0.0) for kind in kinds), np.zeros(()))
