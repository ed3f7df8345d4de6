"""The causal MLP-Mixer as a proxy: `core.model.mixers.members.mlp_mixer` says what it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ._layered import Layered, matmul
from ._model import Weight
from ._registry import register_model

__all__ = ["MlpMixer"]


@register_model("mlp_mixer")
class MlpMixer(Layered):
    """Token mixing by two triangular matrices, then a projection of the channels."""

    mixer = "mlp_mixer"
    cached = True

    @override
    def mixer_weights(self):
        length, width = self.shape.context_length, self.shape.width
        itself = torch.eye(length)  # at the start a place sees itself before all, whatever its number
        return [
            Weight("tokens_in", (length, length), "hidden", length**-0.5, itself, length),
            Weight("tokens_out", (length, length), "hidden", length**-0.5, itself, length),
            Weight("out", (width, width), "hidden", self.residual_deviation * width**-0.5),
        ]

    @override
    def mix(self, weights, inputs, shared):
        inner = functional.gelu(_along_tokens(weights["tokens_in"], inputs))
        return matmul(_along_tokens(weights["tokens_out"], inner), weights["out"])

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        like, size = weights["out"], (copies, batch, length, self.shape.width)
        return _State(like.new_zeros(size), like.new_zeros(size))

    @override
    def mix_step(self, weights, state, inputs, at):
        inner = functional.gelu(_at_place(weights["tokens_in"], state.inputs, inputs, at))
        return matmul(_at_place(weights["tokens_out"], state.inner, inner, at), weights["out"])


@dataclass
class _State:
    """What a layer keeps of the tokens so far: the inputs of both matrices along tokens, (K, B, T, D) each."""

    inputs: Tensor
    inner: Tensor


def _along_tokens(matrix: Tensor, inputs: Tensor) -> Tensor:
    """The lower triangle of each copy's matrix, (K, T, T), times its inputs: (K, B, T, D)."""
    length = inputs.shape[2]
    return matrix[:, None, :length, :length].tril() @ inputs


def _at_place(matrix: Tensor, earlier: Tensor, inputs: Tensor, at: int) -> Tensor:
    """`_along_tokens` at place `at`, (K, B, 1, D), whose inputs join the earlier ones."""
    earlier[:, :, at] = inputs.squeeze(2)
    return matrix[:, None, at : at + 1, : at + 1] @ earlier[:, :, : at + 1]
