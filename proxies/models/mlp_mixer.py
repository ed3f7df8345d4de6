"""The causal MLP-Mixer as a proxy: `core.model.mixers.members.mlp_mixer` says what it is.

A triangle is kept as its rows one after the other, so that nothing is stored that has no part in any score, and the
triangle of a shorter sequence is the beginning. Letters in shapes: K copies, B sequences, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ...core.errors import ConfigError
from ._layered import Layered, matmul
from ._model import Weight
from ._registry import register_model

__all__ = ["MlpMixer"]

_WINDOWS = 3, 2
"""How many places each triangle sums at the start, the newest: both together reach four back, as far as the short
convolution of our transformers. A start at each place itself, or at random, learns the first n-grams later."""
_NOISE = 0.25
"""Deviation of the rest of a row at the start, for a row whose numbers would add up to 1 in square."""


@register_model("mlp_mixer")
class MlpMixer(Layered):
    """Token mixing by two triangular matrices, then a projection of the channels."""

    mixer = "mlp_mixer"

    @override
    def mixer_weights(self):
        length, width = self.shape.context_length, self.shape.width
        row, column = torch.tril_indices(length, length)
        deviation = _NOISE * length**-0.5
        windows = [(row - column < places).float() for places in _WINDOWS]
        return [
            Weight("tokens_in", (len(row),), "hidden", deviation, windows[0], length),
            Weight("tokens_out", (len(row),), "hidden", deviation, windows[1], length),
            Weight("out", (width, width), "hidden", self.residual_deviation * width**-0.5),
        ]

    @override
    def shared_by_layers(self, weights, length) -> Tensor:
        """Where the numbers of a triangle are in a square of `length` rows, one row after the other.

        Raises ConfigError for more tokens than the context has.
        """
        if length > self.shape.context_length:
            raise ConfigError(
                f"tokens: got a sequence of {length}; {self.name} has weights for {self.shape.context_length} places, "
                "the context_length that it was trained at: expected at most so many"
            )
        row, column = torch.tril_indices(length, length, device=weights["norm"].device)
        return row * length + column

    @override
    def mix(self, weights, inputs, shared):
        copies, batch, length, width = inputs.shape
        # Sequences beside one another, (K, T, B·D): one product for all of a copy.
        stream = inputs.transpose(1, 2).reshape(copies, length, batch * width)
        inner = functional.gelu(torch.bmm(_square(weights["tokens_in"], shared, length), stream))
        mixed = torch.bmm(_square(weights["tokens_out"], shared, length), inner)
        return matmul(mixed.view(copies, length, batch, width), weights["out"]).transpose(1, 2)

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        like, size = weights["out"], (copies, length, batch * self.shape.width)
        return _State(like.new_zeros(size), like.new_zeros(size))

    @override
    def mix_step(self, weights, state, inputs, at):
        copies, batch, _, width = inputs.shape
        stream = inputs.reshape(copies, 1, batch * width)
        inner = functional.gelu(_at_place(weights["tokens_in"], state.inputs, stream, at))
        mixed = _at_place(weights["tokens_out"], state.inner, inner, at)
        return matmul(mixed.view(copies, batch, 1, width), weights["out"])


@dataclass
class _State:
    """What a layer keeps of the tokens so far: the inputs of both triangles, (K, T, B·D) each."""

    inputs: Tensor
    inner: Tensor


def _square(triangle: Tensor, where: Tensor, length: int) -> Tensor:
    """Each copy's triangle, rows one after the other (K, P), as a matrix of `length` rows: (K, T, T), else 0."""
    square = triangle.new_zeros(len(triangle), length * length)
    return square.index_copy(1, where, triangle[:, : len(where)]).view(-1, length, length)


def _at_place(triangle: Tensor, earlier: Tensor, inputs: Tensor, at: int) -> Tensor:
    """What row `at` of each copy's triangle gives, (K, 1, B·D), of its inputs there, which join the earlier ones."""
    earlier[:, at : at + 1] = inputs
    start = at * (at + 1) // 2
    return torch.bmm(triangle[:, None, start : start + at + 1], earlier[:, : at + 1])
