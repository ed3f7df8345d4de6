"""Dynamic convolution as a proxy: `core.model.mixers.members.dynamic_conv` says what it is."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ...core.model.mixers.members import dynamic_conv
from ._layered import Layered, matmul
from ._model import Weight
from ._registry import register_model

__all__ = ["DynamicConvolution"]


@register_model("dynamic_conv")
class DynamicConvolution(Layered):
    """A gated projection, convolved with kernels that each token writes."""

    mixer = "dynamic_conv"
    cached = True

    @property
    def _taps(self) -> int:
        assert isinstance(self.shape.mixer, dynamic_conv.DynamicConvolution)
        return self.shape.mixer.taps

    @override
    def mixer_weights(self):
        width = self.shape.width
        return [
            Weight("gated", (width, 2 * width), "hidden", width**-0.5),
            Weight("kernels", (width, self.shape.heads * self._taps), "hidden", width**-0.5),
            Weight("out", (width, width), "hidden", self.residual_deviation * width**-0.5),
        ]

    @override
    def mix(self, weights, inputs, shared):
        values = functional.glu(matmul(inputs, weights["gated"]))
        kernels = self._kernels(weights, values)
        length = values.shape[2]
        # Places before the first have no tap: the softmax is over those that there are.
        missing = torch.ones(length, self._taps, dtype=torch.bool, device=values.device).triu(1)
        kernels = kernels.masked_fill(missing[:, None], -torch.inf).softmax(-1)
        shifted = (functional.pad(values, (0, 0, back, 0))[:, :, :length] for back in range(self._taps))
        return matmul(self._weighted(kernels, shifted), weights["out"])

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        return deque(maxlen=self._taps)

    @override
    def mix_step(self, weights, state, inputs, at):
        values = functional.glu(matmul(inputs, weights["gated"]))
        state.appendleft(values)
        kernels = self._kernels(weights, values)[..., : len(state)].softmax(-1)
        return matmul(self._weighted(kernels, state), weights["out"])

    def _kernels(self, weights, values: Tensor) -> Tensor:
        """The scores of each token's taps, the first is now, from its own values: (K, B, T, heads, taps)."""
        return matmul(values, weights["kernels"]).unflatten(-1, (self.shape.heads, self._taps))

    def _weighted(self, kernels: Tensor, earlier) -> Tensor:
        """The sum of values 0, 1, … places back, (K, B, T, D) each, by the kernels: (K, B, T, D)."""
        total = None
        for back, values in enumerate(earlier):
            part = values.unflatten(-1, (self.shape.heads, -1)) * kernels[..., back : back + 1]
            total = part if total is None else total + part
        assert total is not None
        return total.flatten(-2)
