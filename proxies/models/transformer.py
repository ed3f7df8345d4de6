"""The decoder-only transformer of our proxies: rotary positions, a short causal convolution, pre-norm, gated or not.

With learned positions small models stay on a bigram plateau and their ladders predict nothing; rotary positions and a
convolution of four taps before attention remove it. The convolution is that of So et al. 2021 (Primer,
arXiv:2109.08668, section 4) and of linear-attention models since, applied once to the normed input.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ...core.units import shown
from ._model import ProxyModel, Weight, cross_entropy
from ._registry import register_model

__all__ = ["NORM_EPSILON", "Transformer", "rotation"]

_ROTARY_BASE = 10_000.0  # Su et al. 2021 (RoFormer, arXiv:2104.09864), section 3.2.2
NORM_EPSILON = 1e-6
"""What is added to the mean square before its root is taken."""
_SMALL_VOCABULARY = 1_024  # tokens, bytes among them: one number for each, at each place, is no more than a model keeps
_LAYER_WEIGHTS = ("norm_1", "convolution", "qkv", "out", "norm_2", "up", "down")
# What the shape may not ask for, and the value that it must have.
_FIXED = {"norm": "rms", "biases": False, "learned_positions": False, "num_experts": None, "kv_lora_rank": None}


@register_model("transformer")
class Transformer(ProxyModel):
    """Llama-like, with `shape.short_conv` taps before attention; any width, depth, heads, ffn, tied or not."""

    cached = True

    def __init__(self, shape: Architecture) -> None:
        super().__init__(shape)
        for field, value in {**_FIXED, "qkv_biases": False}.items():
            if (getattr(shape, field) or False) != (value or False):
                raise ConfigError(f"shape.{field}: got {shown(getattr(shape, field))}; a proxy transformer has {value}")
        self.head_width = shape.head_width or shape.width // shape.heads
        if self.head_width % 2:
            key = "heads" if shape.head_width is None else "head_width"
            raise ConfigError(f"shape.{key}: a head is {self.head_width} wide; expected an even number (it is rotated)")
        self.kv_heads = shape.kv_heads or shape.heads
        self._block = _block

    @property
    @override
    def weights(self) -> Sequence[Weight]:
        shape, width = self.shape, self.shape.width
        inner = shape.ffn_width
        queries, keys = shape.heads * self.head_width, self.kv_heads * self.head_width
        residual = 1 / math.sqrt(2 * shape.layers)  # keeps the stream's size whatever the depth: Radford et al. 2019
        found = [Weight("embedding", (shape.vocab_size, width), "embedding", 1.0)]
        for layer in range(shape.layers):
            parts = [
                Weight("norm_1", (width,), "vector", 0.0, 1.0),
                Weight("convolution", (shape.short_conv, width), "vector", 0.0),
                Weight("qkv", (width, queries + 2 * keys), "hidden", width**-0.5),
                Weight("out", (queries, width), "hidden", residual * queries**-0.5),
                Weight("norm_2", (width,), "vector", 0.0, 1.0),
                Weight("up", (width, inner * (2 if shape.ffn_gated else 1)), "hidden", width**-0.5),
                Weight("down", (inner, width), "hidden", residual * inner**-0.5),
            ]
            found += [part._replace(name=f"{layer}.{part.name}") for part in parts if part.size]
        found.append(Weight("norm", (width,), "vector", 0.0, 1.0))
        if not shape.tied_embeddings:
            found.append(Weight("head", (width, shape.vocab_size), "head", 0.0))
        return found

    @override
    def logits(self, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        length = tokens.shape[-1]
        stream = _embed(weights["embedding"], tokens)
        turn = rotation(length, self.head_width, stream)
        for layer in range(self.shape.layers):
            stream = self._block(_of_layer(weights, layer), stream, turn, self._heads)
        return self._scores(weights, stream)

    @override
    def start(self, weights: Mapping[str, Tensor], copies: int, batch: int, length: int) -> Any:
        return _Cache(self.shape.layers, copies * batch, length, self._heads, self.shape.short_conv, weights["norm"])

    @override
    def step(self, weights: Mapping[str, Tensor], state: Any, tokens: Tensor) -> Tensor:
        stream = _embed(weights["embedding"], tokens.unsqueeze(-1))
        for layer in range(self.shape.layers):
            stream = _step_block(_of_layer(weights, layer), stream, state, layer)
        state.count += 1
        return self._scores(weights, stream).squeeze(2)

    @property
    def _heads(self) -> tuple[int, int, int]:
        """Query heads, key heads, and the width of one."""
        return self.shape.heads, self.kv_heads, self.head_width

    def _scores(self, weights: Mapping[str, Tensor], stream: Tensor) -> Tensor:
        """Scores of the next token, (K, B, T, V), from what the last layer gives, (K, B, T, D)."""
        stream = _norm(stream, weights["norm"])
        if self.shape.tied_embeddings:
            # The table's rows have length √width, so scores come out of order 1 / √width, as the zero head's do.
            return _matmul(stream / self.shape.width, weights["embedding"].transpose(1, 2))
        return _matmul(stream, weights["head"])

    @override
    def losses(self, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        return self._tail(self.logits(weights, tokens[..., :-1]), tokens[..., 1:])

    _tail = staticmethod(cross_entropy)

    @override
    def compile(self) -> None:
        self._block = torch.compile(_block, dynamic=False)  # one compilation serves every layer
        self._tail = torch.compile(cross_entropy, dynamic=False)


class _Cache:
    """What `step` keeps of the tokens so far, by layer: rotated keys, values, and the last inputs of the convolution.

    Keys are (K·B·KV, head width, T), values (K·B·KV, T, head width), as their products with one query want them.
    """

    def __init__(
        self, layers: int, sequences: int, length: int, heads: tuple[int, int, int], taps: int, like: Tensor
    ) -> None:
        _, kv_heads, head_width = self.heads = heads
        self.count = 0
        self.turn = rotation(length, head_width, like)
        rows = sequences * kv_heads
        self.keys = [like.new_empty(rows, head_width, length) for _ in range(layers)]
        self.values = [like.new_empty(rows, length, head_width) for _ in range(layers)]
        self.inputs: list[deque[Tensor]] = [deque(maxlen=max(0, taps - 1)) for _ in range(layers)]  # the newest first


def _of_layer(weights: Mapping[str, Tensor], layer: int) -> dict[str, Tensor]:
    """The weights of a layer by their names in it."""
    names = ((name, f"{layer}.{name}") for name in _LAYER_WEIGHTS)
    return {name: weights[full] for name, full in names if full in weights}


def _embed(table: Tensor, tokens: Tensor) -> Tensor:
    """Each copy's rows of its own table, (K, V, D), by tokens (K, B, T): (K, B, T, D).

    The gradient of a row is a sum over all places of its token, thousands for a frequent one, and needs fp32: in bf16
    it was off by 4 %. On a GPU a small table's is a matrix product, which sums at once and always in one order.
    """
    copies, vocabulary, _ = table.shape
    if table.is_cuda and vocabulary <= _SMALL_VOCABULARY:
        return _matmul(_one_hot(tokens, vocabulary).to(table.dtype), table)
    return table.float()[torch.arange(copies, device=tokens.device)[:, None, None], tokens].to(table.dtype)


def _one_hot(tokens: Tensor, vocabulary: int) -> Tensor:
    """Which token is at each place: (K, B, T) → (K, B, T, V) bool."""
    return tokens.unsqueeze(-1) == torch.arange(vocabulary, device=tokens.device)


def _block(weights: Mapping[str, Tensor], stream: Tensor, turn: tuple[Tensor, Tensor], heads: tuple[int, int, int]):
    """One layer: stream (K, B, T, D) → (K, B, T, D)."""
    normed = _norm(stream, weights["norm_1"])
    if "convolution" in weights:
        normed = normed + _convolve(normed, weights["convolution"])
    stream = stream + _matmul(_attention(_matmul(normed, weights["qkv"]), turn, heads), weights["out"])
    return _feed_forward(weights, stream)


def _step_block(weights: Mapping[str, Tensor], stream: Tensor, cache: _Cache, layer: int) -> Tensor:
    """One layer for one more token of each sequence: stream (K, B, 1, D) → (K, B, 1, D)."""
    normed = inputs = _norm(stream, weights["norm_1"])
    if "convolution" in weights:
        taps, earlier = weights["convolution"], cache.inputs[layer]
        mixed = inputs * taps[:, None, None, 0]
        for back, past in enumerate(earlier, start=1):
            mixed = mixed + past * taps[:, None, None, back]
        earlier.appendleft(inputs)
        normed = inputs + mixed
    stream = stream + _matmul(_step_attention(_matmul(normed, weights["qkv"]), cache, layer), weights["out"])
    return _feed_forward(weights, stream)


def _feed_forward(weights: Mapping[str, Tensor], stream: Tensor) -> Tensor:
    """The second half of a layer: stream (K, B, T, D) → (K, B, T, D)."""
    inner = _matmul(_norm(stream, weights["norm_2"]), weights["up"])
    if inner.shape[-1] == weights["down"].shape[1]:
        return stream + _matmul(functional.gelu(inner), weights["down"])
    gate, up = inner.chunk(2, -1)
    return stream + _matmul(functional.silu(gate) * up, weights["down"])


def _attention(qkv: Tensor, turn: tuple[Tensor, Tensor], heads: tuple[int, int, int]) -> Tensor:
    """Causal attention: (K, B, T, (H + 2·KV)·head width) → (K, B, T, H·head width)."""
    copies, batch, length, _ = qkv.shape
    query_heads, kv_heads, head_width = heads
    parts = qkv.view(copies * batch, length, query_heads + 2 * kv_heads, head_width).transpose(1, 2)
    query, key, value = parts.split((query_heads, kv_heads, kv_heads), 1)
    query, key = _rotate(query, turn), _rotate(key, turn)
    if kv_heads != query_heads:
        key, value = (part.repeat_interleave(query_heads // kv_heads, 1) for part in (key, value))
    mixed = _attend(query, key, value)
    return mixed.transpose(1, 2).reshape(copies, batch, length, query_heads * head_width)


def _step_attention(qkv: Tensor, cache: _Cache, layer: int) -> Tensor:
    """Attention of one more token of each sequence: (K, B, 1, (H + 2·KV)·head width) → (K, B, 1, H·head width)."""
    copies, batch, _, _ = qkv.shape
    query_heads, kv_heads, head_width = cache.heads
    at, keys, values = cache.count, cache.keys[layer], cache.values[layer]
    cos, sin = cache.turn
    parts = qkv.view(copies * batch, query_heads + 2 * kv_heads, head_width)
    turned, value = parts.split((query_heads + kv_heads, kv_heads), 1)
    query, key = _rotate(turned, (cos[at], sin[at])).split((query_heads, kv_heads), 1)
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


def _matmul(inputs: Tensor, matrix: Tensor) -> Tensor:
    """Each copy's inputs times its own matrix: (K, B, T, D) × (K, D, E) → (K, B, T, E)."""
    copies, batch, length, width = inputs.shape
    return torch.bmm(inputs.reshape(copies, batch * length, width), matrix).view(copies, batch, length, -1)


def _norm(stream: Tensor, gain: Tensor) -> Tensor:
    """Root-mean-square norm, in fp32 at least, with a gain (K, D)."""
    wide = stream.to(torch.promote_types(stream.dtype, torch.float32))
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + NORM_EPSILON)
    return (wide * scale * gain.to(wide.dtype)[:, None, None]).to(stream.dtype)


def _convolve(inputs: Tensor, taps: Tensor) -> Tensor:
    """Causal convolution along T, each channel by itself: inputs (K, B, T, D), taps (K, taps, D); tap 0 is now."""
    length = inputs.shape[2]
    total = inputs * taps[:, None, None, 0]
    for back in range(1, taps.shape[1]):
        total = total + functional.pad(inputs, (0, 0, back, 0))[:, :, :length] * taps[:, None, None, back]
    return total


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
