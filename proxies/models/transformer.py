"""The decoder-only transformer of our proxies: rotary positions, a short causal convolution, pre-norm, gated or not.

With learned positions small models stay on a bigram plateau and their ladders predict nothing; rotary positions and a
convolution of four taps before attention remove it. The convolution is that of So et al. 2021 (Primer,
arXiv:2109.08668, section 4) and of linear-attention models since, applied once to the normed input.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ._layered import Layered, matmul
from ._model import Weight
from ._registry import register_model

__all__ = ["Transformer", "rotation"]

_ROTARY_BASE = 10_000.0  # Su et al. 2021 (RoFormer, arXiv:2104.09864), section 3.2.2

_Turn = tuple[Tensor, Tensor] | None
"""Cosines and sines of positions, (T, head width / 2) each; None where heads aren't rotated."""


@register_model("transformer")
class Transformer(Layered):
    """Causal softmax attention with any number of heads; rotated by position (RoFormer), or with learned positions, or
    with none."""

    def __init__(self, shape: Architecture) -> None:
        self.head_width = shape.head_width or shape.width // shape.heads
        self.kv_heads = shape.kv_heads or shape.heads
        super().__init__(shape)
        if shape.rotates and self.head_width % 2:
            key = "heads" if shape.head_width is None else "head_width"
            raise ConfigError(f"shape.{key}: a head is {self.head_width} wide; expected an even number (it is rotated)")

    @override
    def mixer_weights(self) -> Sequence[Weight]:
        width, queries, keys = self.shape.width, self.shape.heads * self.head_width, self.kv_heads * self.head_width
        return [
            Weight("qkv", (width, queries + 2 * keys), "hidden", width**-0.5),
            Weight("out", (queries, width), "hidden", self.residual_deviation * queries**-0.5),
        ]

    @override
    def shared_by_layers(self, weights, length) -> _Turn:
        return rotation(length, self.head_width, weights["norm"]) if self.shape.rotates else None

    @override
    def mix(self, weights, inputs, shared):
        return matmul(_attention(matmul(inputs, weights["qkv"]), shared, self._heads), weights["out"])

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        return _Cache(copies * batch, length, self._heads, shared, weights["norm_1"])

    @override
    def mix_step(self, weights, state, inputs, at):
        return matmul(_step_attention(matmul(inputs, weights["qkv"]), state, at), weights["out"])

    @property
    def _heads(self) -> tuple[int, int, int]:
        """Query heads, key heads, and the width of one."""
        return self.shape.heads, self.kv_heads, self.head_width


class _Cache:
    """What a layer keeps of the tokens so far: keys, rotated, and values.

    Keys are (K·B·KV, head width, T), values (K·B·KV, T, head width), as their products with one query want them.
    """

    def __init__(self, sequences: int, length: int, heads: tuple[int, int, int], turn: _Turn, like: Tensor) -> None:
        _, kv_heads, head_width = self.heads = heads
        self.turn = turn
        self.keys = like.new_empty(sequences * kv_heads, head_width, length)
        self.values = like.new_empty(sequences * kv_heads, length, head_width)


def _attention(qkv: Tensor, turn: _Turn, heads: tuple[int, int, int]) -> Tensor:
    """Causal attention: (K, B, T, (H + 2·KV)·head width) → (K, B, T, H·head width)."""
    copies, batch, length, _ = qkv.shape
    query_heads, kv_heads, head_width = heads
    parts = qkv.view(copies * batch, length, query_heads + 2 * kv_heads, head_width).transpose(1, 2)
    query, key, value = parts.split((query_heads, kv_heads, kv_heads), 1)
    if turn is not None:
        query, key = _rotate(query, turn), _rotate(key, turn)
    if kv_heads != query_heads:
        key, value = (part.repeat_interleave(query_heads // kv_heads, 1) for part in (key, value))
    mixed = _attend(query, key, value)
    return mixed.transpose(1, 2).reshape(copies, batch, length, query_heads * head_width)


def _step_attention(qkv: Tensor, cache: _Cache, at: int) -> Tensor:
    """Attention of one more token of each sequence: (K, B, 1, (H + 2·KV)·head width) → (K, B, 1, H·head width)."""
    copies, batch, _, _ = qkv.shape
    query_heads, kv_heads, head_width = cache.heads
    keys, values = cache.keys, cache.values
    parts = qkv.view(copies * batch, query_heads + 2 * kv_heads, head_width)
    query, key, value = parts.split((query_heads, kv_heads, kv_heads), 1)
    if cache.turn is not None:
        cos, sin = cache.turn
        query, key = (_rotate(part, (cos[at], sin[at])) for part in (query, key))
    keys[:, :, at], values[:, at] = key.reshape(-1, head_width), value.reshape(-1, head_width)
    # Each key head serves as many query heads as share it, which follow one another.
    query = query.reshape(len(keys), query_heads // kv_heads, head_width) * head_width**-0.5
    shares = torch.bmm(query, keys[:, :, : at + 1]).softmax(-1)
    return torch.bmm(shares, values[:, : at + 1]).view(copies, batch, 1, query_heads * head_width)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of (N, H, T, head width) each; written out on a CPU, where the fused kernel is no faster.

    There it compiles in twice the time, and its bf16 backward pass takes half a step (benchmarks/README.md).
    """
    if query.is_cuda:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    length, head_width = query.shape[-2:]
    scores = (query * head_width**-0.5) @ key.transpose(-1, -2)
    later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1) @ value


def rotation(length: int, head_width: int, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of rotary positions, (T, head width / 2) each, on the device and in the dtype of `like`.

    Without `like` they are fp32 on the CPU.
    """
    device, dtype = ("cpu", torch.float32) if like is None else (like.device, like.dtype)
    half = torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), _ROTARY_BASE**-half)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _rotate(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the halves of each head's vector against each other by position: (N, H, T, head width), or of one: no T."""
    cos, sin = turn
    first, second = heads.chunk(2, -1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)
