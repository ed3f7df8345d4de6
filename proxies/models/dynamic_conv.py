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

    @property
    def _taps(self) -> int:
        mixer = self.shape.mixer
        assert isinstance(mixer, dynamic_conv.DynamicConvolution)
        return mixer.taps

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
        scores = self._scores_of_taps(weights, values).transpose(2, 3)
        # Places before the first have no tap: the softmax is over those that there are.
        missing = torch.ones(scores.shape[-2:], dtype=torch.bool, device=values.device).triu(1)
        matrix = _by_places(scores.masked_fill(missing, -torch.inf).softmax(-1))
        mixed = matrix @ values.unflatten(-1, (self.shape.heads, -1)).transpose(2, 3)
        return matmul(mixed.transpose(2, 3).flatten(-2), weights["out"])

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        return deque(maxlen=self._taps)

    @override
    def mix_step(self, weights, state, inputs, at):
        values = functional.glu(matmul(inputs, weights["gated"]))
        state.appendleft(values)
        shares = self._scores_of_taps(weights, values)[..., : len(state)].softmax(-1)
        earlier = torch.stack(tuple(state), -1).unflatten(3, (self.shape.heads, -1))
        return matmul((earlier @ shares.unsqueeze(-1)).flatten(3), weights["out"])

    def _scores_of_taps(self, weights, values: Tensor) -> Tensor:
        """The scores of each token's taps, the first is now, from its own values: (K, B, T, heads, taps)."""
        return matmul(values, weights["kernels"]).unflatten(-1, (self.shape.heads, self._taps))


def _by_places(kernels: Tensor) -> Tensor:
    """Shares of the tokens 0, 1, … places back, (…, T, taps), as shares of places, (…, T, T): 0 out of reach.

    Row t begins t places further right, which a row that is one number shorter does by itself. At a context of some
    hundred tokens one product with it is far faster than as many sums as there are taps, and compiles in a moment.
    """
    length, taps = kernels.shape[-2:]
    rows = functional.pad(kernels.flip(-1), (0, length)).flatten(-2)[..., :-length]
    return rows.unflatten(-1, (length, length + taps - 1))[..., taps - 1 :]
