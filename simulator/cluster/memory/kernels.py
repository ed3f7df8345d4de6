"""What a plan says of how operators are run, and what is taken where it says nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...config.hardware import Compile
from ..step_time.steps import FRAMEWORKS, Kernels, Steps

__all__ = ["UNKNOWN", "compiled_share", "dropout_share", "kernels_of"]

UNKNOWN = 0.5
"""Share of runs that are compiled where nothing is said: published readings of PyTorch's trainers are of either kind."""

_UNFUSED = (FRAMEWORKS.index("megatron"), FRAMEWORKS.index("deepspeed"))
_COMPILED: Mapping[Compile, tuple[float, float]] = {"none": (0.0, 0.0), "layers": (1.0, 0.0), "all": (1.0, 1.0)}


def kernels_of(compiled: Compile | None = None, dropout: bool | None = None) -> Kernels:
    """Kernels as a plan states them (hardware.compile, hardware.dropout); None for what it leaves out."""
    layers, loss = (np.nan, np.nan) if compiled is None else _COMPILED[compiled]
    return Kernels(np.array(layers), np.array(loss), np.array(np.nan if dropout is None else float(dropout)))


def compiled_share(stated: np.ndarray) -> np.ndarray:
    """1 where compiled, 0 where not, UNKNOWN where nobody says."""
    return np.where(np.isnan(stated), UNKNOWN, stated)


def dropout_share(steps: Steps) -> np.ndarray:
    """1 where masks of dropout are kept, 0 where not.

    Unless stated: of models without gates and without fused attention under Megatron and its kin. Those are runs before
    2023, when dropout of 0.1 was the default (Korthikanti et al. 2022 count it); gated models were trained without.
    """
    models, layouts = steps.models, steps.layouts
    early = (layouts.flash_attention == 0) & (models.projections == 1) & np.isin(layouts.framework, _UNFUSED)
    return np.where(np.isnan(steps.kernels.dropout), early, steps.kernels.dropout)
