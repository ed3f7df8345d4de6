"""Attention over convolution kernels as a proxy: `core.model.mixers.members.kernel_conv` says what it is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

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

    @property
    def _settings(self) -> kernel_conv.KernelConvolution:
        mixer = self.shape.mixer
        assert isinstance(mixer, kernel_conv.KernelConvolution)
        return mixer

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
        value, gate = matmul(inputs, weights["projections"]).chunk(2, -1)
        places = torch.arange(1, inputs.shape[2] + 1, device=inputs.device, dtype=inputs.dtype)[:, None]
        mixed = _mixed_kernels(weights, inputs.cumsum(2) / places)
        return matmul(_Convolution.apply(value, mixed) * functional.silu(gate), weights["out"])

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        return _State(deque(maxlen=self._settings.taps), weights["out"].new_zeros(copies, batch, 1, self.shape.width))

    @override
    def mix_step(self, weights, state, inputs, at):
        value, gate = matmul(inputs, weights["projections"]).chunk(2, -1)
        state.values.appendleft(value)
        state.total += inputs
        mixed = _mixed_kernels(weights, state.total / (at + 1))
        convolved = (torch.stack(tuple(state.values), 1) * mixed[:, : len(state.values)]).sum(1)
        return matmul(convolved * functional.silu(gate), weights["out"])


@dataclass
class _State:
    """What a layer keeps of the tokens so far: the last values, the newest first, and the sum of all inputs."""

    values: deque[Tensor]
    total: Tensor


def _mixed_kernels(weights, mean: Tensor) -> Tensor:
    """Each place's kernel by taps, the first is now, (K, taps, B, T, D), from the mean of the inputs so far."""
    copies, taps, number, width = weights["kernels"].shape
    shares = matmul(functional.relu(matmul(mean, weights["squeeze"])), weights["choose"]).softmax(-1)
    of_taps = shares.flatten(1, 2).unsqueeze(1).expand(-1, taps, -1, -1).reshape(copies * taps, -1, number)
    return torch.bmm(of_taps, weights["kernels"].flatten(0, 1)).view(copies, taps, *mean.shape[1:3], width)


class _Convolution(torch.autograd.Function):
    """Values (K, B, T, D) by kernels of their own at each place, (K, taps, B, T, D): (K, B, T, D).

    Sums in place and gradients written out take a fifth of the time of automatic differentiation, which shifts, adds
    and keeps whole tensors for each tap.
    """

    @staticmethod
    @override
    def forward(ctx: Any, values: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(values, kernels)
        total = values * kernels[:, 0]
        for back in range(1, min(kernels.shape[1], values.shape[2])):
            total[:, :, back:].addcmul_(values[:, :, :-back], kernels[:, back, :, back:])
        return total

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        values, kernels = ctx.saved_tensors
        (of_total,) = gradients
        of_values, of_kernels = of_total * kernels[:, 0], torch.zeros_like(kernels)
        of_kernels[:, 0] = of_total * values
        for back in range(1, min(kernels.shape[1], values.shape[2])):
            of_values[:, :, :-back].addcmul_(of_total[:, :, back:], kernels[:, back, :, back:])
            of_kernels[:, back, :, back:] = of_total[:, :, back:] * values[:, :, :-back]
        return of_values, of_kernels
