"""The transformer of `proxies/models/transformer.py`, forward and backward, as calls of kernels and matrix products.

It computes what that module's `losses` and its gradient are, to rounding; the tests hold the two against each other.
Letters in shapes: N rows of B sequences of T tokens, D width, F inner width, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from ....core.model.architecture import Architecture
from ...models._layered import NORM_EPSILON
from ...models.transformer import rotation
from .calls import Call, Kernels, product

__all__ = ["TransformerPasses"]

Weights = Mapping[str, Tensor]


class Buffers:
    """What passes over one shape need besides weights and gradients; passes that take turns share it.

    Activations that the backward pass reads are kept for each layer; what it writes is overwritten by the next layer.
    """

    def __init__(self, shape: Architecture, sequences: int, dtype: torch.dtype) -> None:
        self.shape, self.sequences, self.dtype = shape, sequences, dtype
        self.length = shape.context_length
        self.rows = rows = sequences * self.length
        self.head_width = shape.head_width or shape.width // shape.heads
        self.kv_heads = shape.kv_heads or shape.heads
        self.queries = shape.heads * self.head_width
        self.tokens = torch.zeros(rows, dtype=torch.int64)
        self.targets = torch.zeros(rows, dtype=torch.int64)
        self.losses = torch.zeros(rows)
        self.cos, self.sin = rotation(self.length, self.head_width)
        self.stream_gradient = torch.zeros(rows, shape.width)
        # The same rounded, for products; in fp32 it is the same tensor.
        narrow = dtype != torch.float32
        self.narrowed = self.activation(shape.width) if narrow else None
        self.branch_gradient = self.stream_gradient if self.narrowed is None else self.narrowed
        self.normed_gradient = self.activation(shape.width)
        self.qkv_gradient = self.activation(self.queries + 2 * self.kv_heads * self.head_width)
        self.mixed_gradient = self.activation(self.queries)
        self.inner_gradient = self.activation(2 * shape.ffn_width)
        self.gated_gradient = self.activation(shape.ffn_width)
        self.logits = torch.empty(rows, shape.vocab_size)
        self.scratch = torch.zeros(self._scratch_numbers())
        self.layers = [_LayerBuffers(self) for _ in range(shape.layers)]
        self.last = _NormBuffers(self)
        # The head computes in fp32; in fp32 these are what the rest computes with.
        self.head_input = torch.empty(rows, shape.width) if narrow else self.last.normed
        self.head_gradient = torch.empty(rows, shape.width) if narrow else self.normed_gradient
        self.head_weight_gradient = torch.empty(shape.vocab_size * shape.width) if narrow else None

    def activation(self, width: int) -> Tensor:
        """An uninitialised (N, width) in the working number format."""
        return torch.empty(self.rows, width, dtype=self.dtype)

    def _scratch_numbers(self) -> int:
        """Numbers of fp32 that the greediest kernel writes to on the way, with its padding."""
        shape, length = self.shape, self.length + 32
        head = self.head_width + 16
        attention = 9 * length * head + 64 * length
        norms = (3 + 2 * shape.short_conv + 2 * length) * shape.width
        return max(attention, norms, shape.vocab_size * shape.width)


class _NormBuffers:
    """The stream that a norm reads, with what it keeps of it, and what it gives."""

    def __init__(self, buffers: Buffers) -> None:
        self.stream = torch.empty(buffers.rows, buffers.shape.width)
        self.inverse = torch.empty(buffers.rows)
        self.normed = buffers.activation(buffers.shape.width)


class _LayerBuffers:
    """Activations of one layer."""

    def __init__(self, buffers: Buffers) -> None:
        shape = buffers.shape
        self.attention_norm, self.ffn_norm = _NormBuffers(buffers), _NormBuffers(buffers)
        self.qkv = buffers.activation(buffers.qkv_gradient.shape[1])
        self.log_sums = torch.empty(buffers.rows * shape.heads)
        self.mixed = buffers.activation(buffers.queries)
        self.attended = buffers.activation(shape.width)
        self.inner = buffers.activation(2 * shape.ffn_width)
        self.gated = buffers.activation(shape.ffn_width)
        self.branch = buffers.activation(shape.width)


class TransformerPasses:
    """The forward and the backward pass of one copy over `buffers`, whose tokens and targets they read.

    Args:
        functions: The kernels of the number format that weights and buffers have.
        buffers: Activations; losses of tokens come out there, (N,) in nats.
        weights: Working weights by name, dense.
        wide: The same in fp32, for what isn't a product of layers: embedding, head, gains and convolutions.
        gradients: Where the gradients of the weights are written, by name, dense.
        sequences: Sequences of the whole batch, over which the loss is a mean.
    """

    def __init__(
        self, functions: ctypes.CDLL, buffers: Buffers, weights: Weights, wide: Weights, gradients: Weights,
        sequences: int,
    ) -> None:  # fmt: skip
        self._kernels, self._buffers = Kernels(functions, buffers.scratch), buffers
        self._weights, self._wide, self._gradients = weights, wide, gradients
        share = 1.0 / (sequences * buffers.length)
        self.forward = [*self._forward(), self._loss(0.0)]
        """Gives the losses, and changes nothing else that matters."""
        training = [*self.forward[:-1], self._loss(share), *self._backward()]
        self.training = training
        """Gives the losses and the gradient of their mean over the whole batch."""

    def _forward(self) -> Iterator[Call]:
        buffers, call = self._buffers, self._kernels.call
        shape, stream = buffers.shape, buffers.layers[0].attention_norm.stream
        yield call("embedding_forward", self._wide["embedding"], buffers.tokens, stream, buffers.rows, shape.width)
        branch = None
        for number, layer in enumerate(buffers.layers):
            weights, wide = _of_layer(self._weights, number), _of_layer(self._wide, number)
            yield self._norm(stream, branch, wide["norm_1"], wide.get("convolution"), layer.attention_norm)
            yield product(layer.attention_norm.normed, weights["qkv"], layer.qkv)
            yield call(
                "attention_forward", layer.qkv, buffers.cos, buffers.sin, layer.mixed, layer.log_sums, buffers.scratch,
                buffers.sequences, buffers.length, shape.heads, buffers.kv_heads, buffers.head_width,
            )._replace(flops=self._attention_flops(2))  # fmt: skip
            yield product(layer.mixed, weights["out"], layer.attended)
            yield self._norm(layer.attention_norm.stream, layer.attended, wide["norm_2"], None, layer.ffn_norm)
            yield product(layer.ffn_norm.normed, weights["up"], layer.inner)
            yield call("gate_forward", layer.inner, layer.gated, buffers.rows, shape.ffn_width, flops_each=10)
            yield product(layer.gated, weights["down"], layer.branch)
            stream, branch = layer.ffn_norm.stream, layer.branch
        yield self._norm(stream, branch, self._wide["norm"], None, buffers.last)
        yield from _copied(buffers.last.normed, buffers.head_input)
        table, scale = self._head()
        yield product(buffers.head_input, table, buffers.logits, scale)

    def _backward(self) -> Iterator[Call]:
        buffers, gradients = self._buffers, self._gradients
        shape = buffers.shape
        yield from self._head_backward()
        nothing = buffers.stream_gradient
        yield Call(nothing.zero_, "zero", tuple(nothing.shape), 0.0, float(nothing.nbytes))
        yield self._norm_backward(buffers.last, self._wide["norm"], None, gradients["norm"], None)
        for number, layer in reversed(list(enumerate(buffers.layers))):
            of = [_of_layer(tensors, number) for tensors in (self._weights, self._wide, gradients)]
            yield from self._layer_backward(layer, *of)
        yield self._kernels.call(
            "embedding_backward", buffers.stream_gradient, buffers.tokens, gradients["embedding"], buffers.scratch,
            buffers.rows, shape.vocab_size, shape.width, int(shape.tied_embeddings),
        )  # fmt: skip

    def _head_backward(self) -> Iterator[Call]:
        buffers = self._buffers
        table, scale = self._head()
        to = self._gradients["embedding" if buffers.shape.tied_embeddings else "head"]
        wide_to = to if buffers.head_weight_gradient is None else buffers.head_weight_gradient.view(to.shape)
        if buffers.shape.tied_embeddings:
            yield product(buffers.logits.T, buffers.head_input, wide_to, scale)
        else:
            yield product(buffers.head_input.T, buffers.logits, wide_to)
        yield from _copied(wide_to, to)
        yield product(buffers.logits, table.T, buffers.head_gradient, scale)
        yield from _copied(buffers.head_gradient, buffers.normed_gradient)

    def _layer_backward(
        self, layer: _LayerBuffers, weights: Weights, wide: Weights, gradients: Weights
    ) -> Iterator[Call]:
        buffers, call = self._buffers, self._kernels.call
        shape, branch = buffers.shape, buffers.branch_gradient
        yield product(branch, weights["down"].T, buffers.gated_gradient)
        yield product(layer.gated.T, branch, gradients["down"])
        yield call(
            "gate_backward", layer.inner, buffers.gated_gradient, buffers.inner_gradient, buffers.rows, shape.ffn_width,
            flops_each=10,
        )  # fmt: skip
        yield product(buffers.inner_gradient, weights["up"].T, buffers.normed_gradient)
        yield product(layer.ffn_norm.normed.T, buffers.inner_gradient, gradients["up"])
        yield self._norm_backward(layer.ffn_norm, wide["norm_2"], None, gradients["norm_2"], None)
        yield product(branch, weights["out"].T, buffers.mixed_gradient)
        yield product(layer.mixed.T, branch, gradients["out"])
        yield call(
            "attention_backward", layer.qkv, buffers.cos, buffers.sin, layer.mixed, layer.log_sums,
            buffers.mixed_gradient, buffers.qkv_gradient, buffers.scratch, buffers.sequences, buffers.length,
            shape.heads, buffers.kv_heads, buffers.head_width,
        )._replace(flops=self._attention_flops(5))  # fmt: skip
        yield product(buffers.qkv_gradient, weights["qkv"].T, buffers.normed_gradient)
        yield product(layer.attention_norm.normed.T, buffers.qkv_gradient, gradients["qkv"])
        yield self._norm_backward(
            layer.attention_norm, wide["norm_1"], wide.get("convolution"), gradients["norm_1"],
            gradients.get("convolution"),
        )  # fmt: skip

    def _norm(self, stream: Tensor, branch: Tensor | None, gain: Tensor, taps: Tensor | None, to: _NormBuffers) -> Call:
        """The norm of stream + branch, which is kept in `to`; without a branch that is where the stream is already."""
        buffers = self._buffers
        count = 0 if taps is None else len(taps)
        return self._kernels.call(
            "norm_forward", stream, branch, gain, taps, to.stream, to.inverse, to.normed, buffers.scratch,
            buffers.sequences, buffers.length, buffers.shape.width, count, NORM_EPSILON,
        )._replace(shape=tuple(stream.shape), flops=(6.0 + 2 * count) * stream.numel())  # fmt: skip

    def _norm_backward(
        self, of: _NormBuffers, gain: Tensor, taps: Tensor | None, gain_to: Tensor, taps_to: Tensor | None
    ) -> Call:
        buffers = self._buffers
        count = 0 if taps is None else len(taps)
        return self._kernels.call(
            "norm_backward", buffers.normed_gradient, of.stream, of.inverse, gain, taps, buffers.stream_gradient,
            buffers.narrowed, gain_to, taps_to, buffers.scratch, buffers.sequences, buffers.length,
            buffers.shape.width, count,
        )._replace(shape=tuple(of.stream.shape), flops=(12.0 + 4 * count) * of.stream.numel())  # fmt: skip

    def _loss(self, share: float) -> Call:
        """The losses; where `share` isn't 0, logits become the gradient of share · their sum."""
        buffers = self._buffers
        return self._kernels.call(
            "cross_entropy", buffers.logits, buffers.targets, buffers.losses, buffers.scratch, buffers.rows,
            buffers.shape.vocab_size, share,
        )._replace(shape=tuple(buffers.logits.shape), flops=14.0 * buffers.logits.numel())  # fmt: skip

    def _head(self) -> tuple[Tensor, float]:
        """The matrix that gives scores, (D, V), and what they are multiplied by."""
        if self._buffers.shape.tied_embeddings:
            return self._wide["embedding"].T, 1.0 / self._buffers.shape.width
        return self._wide["head"], 1.0

    def _attention_flops(self, products: int) -> float:
        """FLOPs of causal attention, counting this many products of (T, T) matrices and no exponentials."""
        buffers = self._buffers
        pairs = buffers.length * (buffers.length + 1) / 2
        return products * 2.0 * pairs * buffers.queries * buffers.sequences


def _of_layer(tensors: Weights, number: int) -> dict[str, Tensor]:
    """The tensors of one layer, by their names within it."""
    start = f"{number}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _copied(tensor: Tensor, to: Tensor) -> Iterator[Call]:
    """The call that copies a tensor into another number format; none where both are the same tensor."""
    if tensor is not to:
        yield Call(partial(to.copy_, tensor), "copy", tuple(to.shape), 0.0, float(tensor.nbytes + to.nbytes))
