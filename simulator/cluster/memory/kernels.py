"""What a plan says of how operators are run, and what is taken where it says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from ...config.hardware import Compile
from ..step_time.steps import FRAMEWORKS, Kernels, Steps

__all__ = [
    "UNKNOWN_LAYERS",
    "UNKNOWN_LOSS",
    "compiled_shares",
    "dropout_share",
    "kernel_notes",
    "kernels_of",
    "stated_kernels",
]

UNKNOWN_LAYERS, UNKNOWN_LOSS = 0.5, 0.33
"""Shares that count as compiled where nobody says.

Published readings of PyTorch's trainers are of either kind, and fewer of them compile the loss than the layers. With
that withheld from readings, 0.25 to 0.5 of losses are about as good; an estimate that is too low costs a run, and at
0.25 four published runs would be said not to fit.
"""

_LOSS_TOO = 2504.0  # the release, as `releases` numbers them, from which on the loss is compiled with the layers
_FSDP = FRAMEWORKS.index("fsdp")
_UNFUSED = (FRAMEWORKS.index("megatron"), FRAMEWORKS.index("deepspeed"))
_COMPILED: Mapping[Compile, tuple[float, float]] = {"none": (0.0, 0.0), "layers": (1.0, 0.0), "all": (1.0, 1.0)}


def kernels_of(compiled: Compile | None = None, dropout: bool | None = None) -> Kernels:
    """Kernels as a plan states them (hardware.compile, hardware.dropout); None for what it leaves out."""
    layers, loss = (np.nan, np.nan) if compiled is None else _COMPILED[compiled]
    return Kernels(np.array(layers), np.array(loss), np.array(np.nan if dropout is None else float(dropout)))


def stated_kernels(steps: Steps) -> Kernels:
    """Kernels as stated, and what follows from number formats and releases.

    PyTorch's trainers compile layers with 8-bit products, which are slow otherwise, and together with layers the loss
    since April 2025 (torchtitan's pull request 1033), never before.
    """
    machines, kernels, release = steps.machines, steps.kernels, steps.layouts.release
    narrow = machines.narrow_bytes < machines.value_bytes
    layers = np.where(np.isnan(kernels.compiled) & narrow, 1.0, kernels.compiled)
    loss = kernels.compiled_loss
    if np.any(release > 0):
        implied = np.where(release >= _LOSS_TOO, layers, np.where(release > 0, 0.0, np.nan))
        loss = np.where(np.isnan(loss), implied, loss)
    return replace(kernels, compiled=layers, compiled_loss=loss)


def compiled_shares(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """What is compiled of layers, and of the loss: 1, 0, or the usual share where nobody says and nothing tells."""
    kernels = stated_kernels(steps)
    layers = np.where(np.isnan(kernels.compiled), UNKNOWN_LAYERS, kernels.compiled)
    return layers, np.where(np.isnan(kernels.compiled_loss), UNKNOWN_LOSS, kernels.compiled_loss)


def dropout_share(steps: Steps) -> np.ndarray:
    """1 where masks of dropout are kept, 0 where not.

    Unless stated: of models without gates and without fused attention under Megatron and its kin. Those are runs before
    2023, when dropout of 0.1 was the default (Korthikanti et al. 2022 count it); gated models were trained without.
    """
    models, layouts = steps.models, steps.layouts
    stated = steps.kernels.dropout
    if not np.isnan(stated).any() or (np.all(models.projections > 1) and np.isnan(stated).all()):
        return np.nan_to_num(stated)
    unfused = (layouts.framework == _UNFUSED[0]) | (layouts.framework == _UNFUSED[1])
    return np.where(np.isnan(stated), (layouts.flash_attention == 0) & (models.projections == 1) & unfused, stated)


def kernel_notes(steps: Steps) -> Iterator[str]:
    """What is taken of a single step where its plan doesn't say, in words."""
    if int(np.ravel(steps.layouts.framework)[0]) == _FSDP and np.isnan(steps.kernels.compiled).all():
        yield (
            "hardware.compile isn't stated: memory is counted between eager execution and torch.compile, and its "
            "interval is wider for it; none, layers or all says which"
        )
    if np.isnan(steps.kernels.dropout).all() and np.any(dropout_share(steps)):
        yield (
            "hardware.dropout isn't stated: masks of dropout are counted, as was usual before 2023 of such models "
            "without flash attention; false leaves them out"
        )
