"""How fast this machine trains proxies, from a few real steps of a few of their shapes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from ...core.processors import one_torch_thread
from ..compute_plan import Program, uses_kernels
from ..models import build_model
from ..runs import ProxyRun
from ..settings import EngineSettings
from ._adamw import Moments
from ._buffers import WeightLayout
from ._hardware import resolve
from ._plan import device_of, evenly_spaced
from .native.computation import NativeComputation

__all__ = ["measure_training"]

_MOST_SHAPES = 4
_FEWEST_STEPS = 4
_TIMING_S = 0.2


def measure_training(runs: Sequence[ProxyRun], settings: EngineSettings) -> dict[int, float]:
    """Return training FLOPs per second of one worker by width, of shapes that the kernels compute.

    Takes some seconds: a few steps of at most four shapes. Shapes that torch computes aren't measured, as it would have
    to compile them first.
    """
    device = device_of(settings)
    by_width = {run.shape.width: run for run in runs if uses_kernels(Program.of(run.shared), settings, device)}
    if not by_width:
        return {}
    sample = evenly_spaced(sorted(by_width), _MOST_SHAPES)
    with one_torch_thread():
        return {width: speed for width in sample if (speed := _flops_per_s(by_width[width], settings))}


def _flops_per_s(run: ProxyRun, settings: EngineSettings) -> float | None:
    """Training FLOPs per second by the fastest of a few steps; None where the kernels can't be compiled."""
    hardware = resolve(settings, [run])
    if hardware.kernels is None:
        return None
    model = build_model(run.model, run.shape)
    layout = WeightLayout(model)
    computation = NativeComputation([run], model, layout, Moments.start(layout.initial([0])), hardware)
    size = (1, run.batch_sequences, run.shape.context_length + 1)
    tokens = torch.randint(run.shape.vocab_size, size, generator=torch.Generator().manual_seed(0))
    times, end = [], time.perf_counter() + _TIMING_S
    while len(times) < _FEWEST_STEPS or time.perf_counter() < end:
        start = time.perf_counter()
        computation.advance(tokens, 0)
        times.append(time.perf_counter() - start)
    return run.shape.training_flops_per_token() * run.batch_tokens / min(times)
