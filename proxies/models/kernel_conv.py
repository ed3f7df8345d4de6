"""Attention over convolution kernels as a proxy: `core.model.mixers.members.kernel_conv` says what it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ...core.model.mixers.members import kernel_conv
from ._layered import Layered, matmul
from ._model import Weight
from ._registry import register_model

__all__ = ["KernelConvolution"]


@register_model("kernel_conv")
class KernelConvolution(Layered):
    """Values are convolved with a mixture of kernels that the mean of the inputs so far chooses, and gated."""

    mixer = "kernel_conv"
    cached = True

    @property
    def _settings(self) -> kernel_conv.KernelConvolution:
        assert isinstance(self.shape.mixer, kernel_conv.KernelConvolution)
        return self.shape.mixer

    @override
    def mixer_weights(self):
        width, narrow = self.shape.width, self._settings.squeezed(self.shape)
        kernels, taps = self._settings.kernels, self._settings.taps
        return [
            Weight("projections", (width, 2 * width), "hidden", width**-0.5),
            Weight("squeeze", (width, narrow), "hidden", width**-0.5),
            Weight("choose", (narrow, kernels), "hidden", narrow**-0.5),
            Weight("kernels", (taps, kernels, width), "vector", taps**-0.5),
            Weight("out", (width, width), "hidden", self.residual_deviation * width**-0.5),
        ]

    @override
    def mix(self, weights, inputs, shared):
        length = inputs.shape[2]
        value, gate = matmul(inputs, weights["projections"]).chunk(2, -1)
        shifted = (functional.pad(value, (0, 0, back, 0))[:, :, :length] for back in range(self._settings.taps))
        places = torch.arange(1, length + 1, device=inputs.device, dtype=inputs.dtype)[:, None]
        shares = _shares(weights, inputs.cumsum(2) / places)
        return matmul(_convolved(weights["kernels"], shares, shifted) * functional.silu(gate), weights["out"])

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        return _State(deque(maxlen=self._settings.taps), weights["out"].new_zeros(copies, batch, 1, self.shape.width))

    @override
    def mix_step(self, weights, state, inputs, at):
        value, gate = matmul(inputs, weights["projections"]).chunk(2, -1)
        state.values.appendleft(value)
        state.total += inputs
        shares = _shares(weights, state.total / (at + 1))
        return matmul(_convolved(weights["kernels"], shares, state.values) * functional.silu(gate), weights["out"])


@dataclass
class _State:
    """What a layer keeps of the tokens so far: the last values, the newest first, and the sum of all inputs."""

    values: deque[Tensor]
    total: Tensor


def _shares(weights, mean: Tensor) -> Tensor:
    """The share of each kernel at each place, (K, B, T, M), from the mean of the inputs so far, (K, B, T, D)."""
    return matmul(functional.relu(matmul(mean, weights["squeeze"])), weights["choose"]).softmax(-1)


def _convolved(kernels: Tensor, shares: Tensor, earlier: Iterable[Tensor]) -> Tensor:
    """Values 0, 1, … places back, (K, B, T, D) each, by kernels (K, taps, M, D), mixed by shares (K, B, T, M)."""
    total = None
    for back, values in enumerate(earlier):
        part = values.unsqueeze(-2) * kernels[:, None, None, back]
        total = part if total is None else total + part
    assert total is not None
    return (total * shares.unsqueeze(-1)).sum(-2)
