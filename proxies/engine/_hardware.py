"""What this machine computes proxies with: device, number format, compiled or not. Detected and recorded."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ...core.errors import ConfigError
from ..compute_plan import Device, Precision, Program, compiled_by_torch, wants_kernels
from ..kernels import find_compiler
from ..runs import ProxyRun
from ..settings import EngineSettings
from ._plan import device_of, measure_plan
from .native.library import load_library

__all__ = ["HardwareChoice", "resolve"]


@dataclass(frozen=True, slots=True)
class HardwareChoice:
    """How a group is computed. Groups with equal choices on equal machines give equal bits."""

    device: Device
    device_name: str
    """The GPU, or the processor with its vector instructions."""
    precision: Precision
    """Number format of the matrix products. Master weights are fp32 in both."""
    compiled: bool
    """By torch, or as native kernels."""
    kernels: str | None
    """Which native kernels compute it, by their key; None where torch does."""
    threads: int
    torch_version: str

    @property
    def dtype(self) -> torch.dtype:
        """Number format of weights and activations inside the matrix products."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def resolve(settings: EngineSettings, runs: Sequence[ProxyRun] = ()) -> HardwareChoice:
    """Turn `auto` into what this machine has; a campaign has decided on device and precision before (`ComputePlan`).

    Args:
        settings: What was asked for.
        runs: The group, whose architecture and FLOPs decide how it is compiled; without any, nothing is.

    Raises:
        ConfigError: A GPU or a compiler is asked for and there is none.
    """
    device = device_of(settings)
    if device == "cuda":
        device_name = torch.cuda.get_device_name()
    else:
        # The vector instructions too, since losses can differ between them in the last bits.
        device_name = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    precision = settings.precision
    if precision == "auto":
        precision = measure_plan(runs, settings).precision
    wanted = bool(runs) and wants_kernels(Program.of(runs[0].shared), settings, device)
    library = load_library(precision) if wanted else None
    if wanted and settings.compile == "auto":
        compiled = library is not None  # a compiler that fails at the kernels would fail torch too
    else:
        compiled = library is not None or _compiles(settings, runs)
    return HardwareChoice(
        device=device,
        device_name=device_name,
        precision=precision,
        compiled=compiled,
        kernels=None if library is None else library.key,
        threads=torch.get_num_threads(),
        torch_version=str(torch.__version__),
    )


def _compiles(settings: EngineSettings, runs: Sequence[ProxyRun]) -> bool:
    """Whether torch compiles a group, which takes a C++ compiler."""
    if settings.compile == "always" and find_compiler() is None:
        raise ConfigError("engine.compile: got 'always', but no C++ compiler (g++, clang++ or $CXX) is on the path")
    return bool(runs) and compiled_by_torch(sum(run.training_flops for run in runs), settings)
