"""What this machine computes proxies with: device, number format, compiled or not. Detected and recorded."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ...core.errors import ConfigError
from ..settings import EngineSettings

__all__ = ["HardwareChoice", "resolve"]

# Compilation costs some ten seconds per shape and process; a group shorter than this many FLOPs is trained sooner
# without (30 GFLOP/s is what one core without wide vectors reaches: benchmarks/proxy_throughput.py).
_WORTH_COMPILING_FLOPS = 30e9 * 60


@dataclass(frozen=True, slots=True)
class HardwareChoice:
    """How a group is computed. Groups with equal choices on equal machines give equal bits."""

    device: str
    """cpu or cuda."""
    device_name: str
    """The GPU, or the processor with its vector instructions."""
    precision: str
    """Number format of the matrix products: fp32 or bf16. Master weights are fp32 in both."""
    compiled: bool
    threads: int
    torch_version: str

    @property
    def dtype(self) -> torch.dtype:
        """Number format of weights and activations inside the matrix products."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def resolve(settings: EngineSettings, group_flops: float) -> HardwareChoice:
    """Turn `auto` into what this machine has.

    Args:
        settings: What was asked for.
        group_flops: Training FLOPs of the whole group, which decide whether compiling pays.

    Raises:
        ConfigError: A GPU or a compiler is asked for and there is none.
    """
    cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise ConfigError("engine.device: got 'cuda', but torch sees no GPU here; expected cpu or auto")
    if cuda and settings.device != "cpu":
        device = "cuda"
        device_name = torch.cuda.get_device_name()
    else:
        device = "cpu"
        # The vector instructions too, since losses can differ between them in the last bits.
        device_name = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if _has_fast_bf16(device) else "fp32"
    return HardwareChoice(
        device=device,
        device_name=device_name,
        precision=precision,
        compiled=_compiles(settings, group_flops),
        threads=torch.get_num_threads(),
        torch_version=str(torch.__version__),
    )


def _has_fast_bf16(device: str) -> bool:
    """Whether bf16 products run in hardware; emulated ones are ten times slower than fp32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)  # not in every version of torch
    return has_tiles is not None and bool(has_tiles())


def _compiles(settings: EngineSettings, group_flops: float) -> bool:
    """Whether to compile, which takes a C++ compiler."""
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    if settings.compile == "always" and compiler is None:
        raise ConfigError("engine.compile: got 'always', but no C++ compiler (g++, clang++ or $CXX) is on the path")
    if settings.compile == "auto":
        return compiler is not None and group_flops >= _WORTH_COMPILING_FLOPS
    return settings.compile == "always"
