"""What our proxies have in common: embedded tokens, a stream that every layer adds to, a norm, scores.

A layer is a norm, an optional short convolution, a token mixer, a norm, and a feed-forward network: a dense one, or
experts. A member says what its mixer's weights are, how it mixes, what it keeps of earlier tokens and how it takes one
more; the rest is here.

Letters in shapes: K copies, B sequences, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ...core.units import shown
from ._experts import Routing, diagnostics, expert_weights, load_balance, mixture
from ._model import ProxyModel, Weight, cross_entropy

__all__ = ["NORM_EPSILON", "Layered", "convolve", "matmul", "norm"]

NORM_EPSILON = 1e-6
"""What is added to the mean square before its root is taken."""
_SMALL_VOCABULARY = 1_024  # tokens, bytes among them: one number for each, at each place, is no more than a model keeps
# What the shape may not ask for, and the value that it must have.
_FIXED = {"norm": "rms", "biases": False, "kv_lora_rank": None, "qkv_biases": False}

LayerWeights = Mapping[str, Tensor]
"""The weights of one layer by their names in it, (K, …) each."""


class Layered(ProxyModel):
    """Llama-like: pre-norm, gated or not, any width and depth, tied or not, with `shape.short_conv` taps before the
    mixer."""

    cached = True

    def __init__(self, shape: Architecture) -> None:
        super().__init__(shape)
        for field, value in _FIXED.items():
            if (getattr(shape, field) or False) != (value or False):
                got = shown(getattr(shape, field))
                raise ConfigError(f"shape.{field}: got {got}; a proxy {self.name} has {value}")
        self._names = [[weight.name for weight in self._layer_weights(one)] for one in range(shape.layers)]
        self._block = self._layer
        self._tail = cross_entropy

    @abstractmethod
    def mixer_weights(self) -> Sequence[Weight]:
        """The weights of one layer's mixer; what it adds to the stream ends in `residual_deviation`."""

    @abstractmethod
    def mix(self, weights: LayerWeights, inputs: Tensor, shared: Any) -> Tensor:
        """Return what the mixer adds to the stream, (K, B, T, D), from its normed inputs, (K, B, T, D); causal in T.

        `shared` is what `shared_by_layers` returned.
        """

    def shared_by_layers(self, weights: Mapping[str, Tensor], length: int) -> Any:
        """Return what the mixers of all layers need for sequences of `length` tokens. Default: nothing."""
        return None

    @abstractmethod
    def mixer_state(self, weights: LayerWeights, copies: int, batch: int, length: int, shared: Any) -> Any:
        """Return what one layer's mixer keeps of B sequences of each of K copies before their first token."""

    @abstractmethod
    def mix_step(self, weights: LayerWeights, state: Any, inputs: Tensor, at: int) -> Tensor:
        """Return what `mix` gives at place `at`, (K, B, 1, D), from its inputs there, (K, B, 1, D)."""

    @property
    def residual_deviation(self) -> float:
        """What keeps the stream's size whatever the depth (Radford et al. 2019): factor of matrices that end in it."""
        return 1 / math.sqrt(2 * self.shape.layers)

    @property
    @override
    def weights(self) -> Sequence[Weight]:
        shape, width = self.shape, self.shape.width
        found = [Weight("embedding", (shape.vocab_size, width), "embedding", 1.0)]
        if shape.learned_positions:
            found.append(Weight("positions", (shape.context_length, width), "embedding", 1.0))
        for layer in range(shape.layers):
            found += [part._replace(name=f"{layer}.{part.name}") for part in self._layer_weights(layer)]
        found.append(Weight("norm", (width,), "vector", 0.0, 1.0))
        if not shape.tied_embeddings:
            found.append(Weight("head", (width, shape.vocab_size), "head", 0.0))
        return found

    def _layer_weights(self, layer: int) -> list[Weight]:
        """The weights of a layer by their names in it; those without a number are left out."""
        shape, width, inner = self.shape, self.shape.width, self.shape.ffn_width
        found = [
            Weight("norm_1", (width,), "vector", 0.0, 1.0),
            Weight("convolution", (shape.short_conv, width), "vector", 0.0),
            *self.mixer_weights(),
            Weight("norm_2", (width,), "vector", 0.0, 1.0),
        ]
        if shape.has_experts(layer):
            found += expert_weights(shape, self.residual_deviation)
        else:
            found.append(Weight("up", (width, inner * (2 if shape.ffn_gated else 1)), "hidden", width**-0.5))
            found.append(Weight("down", (inner, width), "hidden", self.residual_deviation * inner**-0.5))
        return [weight for weight in found if weight.size]

    def _of_layer(self, weights: Mapping[str, Tensor], layer: int) -> dict[str, Tensor]:
        """The weights of a layer by their names in it."""
        return {name: weights[f"{layer}.{name}"] for name in self._names[layer]}

    @override
    def logits(self, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        return self._run(weights, tokens)[0]

    def _run(self, weights: Mapping[str, Tensor], tokens: Tensor) -> tuple[Tensor, list[Routing]]:
        """Scores of the next token, (K, B, T, V), and how each layer with experts spread the tokens."""
        length = tokens.shape[-1]
        stream = embed(weights["embedding"], tokens)
        if self.shape.learned_positions:
            stream = stream + weights["positions"][:, None, :length]
        shared = self.shared_by_layers(weights, length)
        routings = []
        for layer in range(self.shape.layers):
            stream, routing = self._block(self._of_layer(weights, layer), stream, shared)
            if routing is not None:
                routings.append(routing)
        return self._scores(weights, stream), routings

    @override
    def losses(self, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        return self._tail(self.logits(weights, tokens[..., :-1]), tokens[..., 1:])

    @override
    def training_losses(self, weights: Mapping[str, Tensor], tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        scores, routings = self._run(weights, tokens[..., :-1])
        return self._tail(scores, tokens[..., 1:]), load_balance(routings) if routings else None

    @override
    def diagnostics(self, weights: Mapping[str, Tensor], tokens: Tensor) -> dict[str, Tensor]:
        if not self.shape.moe_layers:
            return {}
        with torch.no_grad():
            return diagnostics(self._run(weights, tokens[..., :-1])[1])

    @override
    def compile(self) -> None:
        if not self.shape.moe_layers:  # the rows of an expert are other ones in each step
            self._block = torch.compile(self._layer, dynamic=False)  # one compilation serves every layer
        self._tail = torch.compile(cross_entropy, dynamic=False)

    def _layer(self, weights: LayerWeights, stream: Tensor, shared: Any) -> tuple[Tensor, Routing | None]:
        """One layer: stream (K, B, T, D) → (K, B, T, D), and how its experts were chosen, if it has any."""
        inputs = norm(stream, weights["norm_1"])
        if "convolution" in weights:
            inputs = inputs + convolve(inputs, weights["convolution"])
        stream = stream + self.mix(weights, inputs, shared)
        return self._second_half(weights, stream)

    def _second_half(self, weights: LayerWeights, stream: Tensor) -> tuple[Tensor, Routing | None]:
        """A layer from its second norm on: a dense network, or routed experts and those that are shared."""
        inputs = norm(stream, weights["norm_2"])
        if "router" not in weights:
            return stream + _feed_forward(weights, inputs), None
        found, routing = mixture(weights, inputs, self.shape.experts_per_token or 0, _activation)
        if "up" in weights:
            found = found + _feed_forward(weights, inputs)
        return stream + found, routing

    def _scores(self, weights: Mapping[str, Tensor], stream: Tensor) -> Tensor:
        """Scores of the next token, (K, B, T, V), from what the last layer gives, (K, B, T, D)."""
        stream = norm(stream, weights["norm"])
        if self.shape.tied_embeddings:
            # The table's rows have length √width, so scores come out of order 1 / √width, as the zero head's do.
            return matmul(stream / self.shape.width, weights["embedding"].transpose(1, 2))
        return matmul(stream, weights["head"])

    @override
    def start(self, weights: Mapping[str, Tensor], copies: int, batch: int, length: int) -> Any:
        shared = self.shared_by_layers(weights, length)
        layers = range(self.shape.layers)
        mixers = [self.mixer_state(self._of_layer(weights, one), copies, batch, length, shared) for one in layers]
        taps = max(0, self.shape.short_conv - 1)
        return _Cache(mixers, [deque(maxlen=taps) for _ in layers])

    @override
    def step(self, weights: Mapping[str, Tensor], state: Any, tokens: Tensor) -> Tensor:
        stream = embed(weights["embedding"], tokens.unsqueeze(-1))
        if self.shape.learned_positions:
            stream = stream + weights["positions"][:, None, state.count : state.count + 1]
        for layer in range(self.shape.layers):
            stream = self._step_layer(self._of_layer(weights, layer), stream, state, layer)
        state.count += 1
        return self._scores(weights, stream).squeeze(2)

    def _step_layer(self, weights: LayerWeights, stream: Tensor, state: _Cache, layer: int) -> Tensor:
        """One layer for one more token of each sequence: stream (K, B, 1, D) → (K, B, 1, D)."""
        inputs = normed = norm(stream, weights["norm_1"])
        if "convolution" in weights:
            inputs = normed + convolve_step(normed, state.inputs[layer], weights["convolution"])
        stream = stream + self.mix_step(weights, state.mixers[layer], inputs, state.count)
        return self._second_half(weights, stream)[0]


@dataclass
class _Cache:
    """What `step` keeps of the tokens so far, by layer: what the mixer keeps, and the convolution's last inputs."""

    mixers: list[Any]
    inputs: list[deque[Tensor]]
    """The newest first."""
    count: int = 0


def embed(table: Tensor, tokens: Tensor) -> Tensor:
    """Each copy's rows of its own table, (K, V, D), by tokens (K, B, T): (K, B, T, D).

    The gradient of a row is a sum over all places of its token, thousands for a frequent one, and needs fp32: in bf16
    it was off by 4 %. On a GPU a small table's is a matrix product, which sums at once and always in one order.
    """
    copies, vocabulary, _ = table.shape
    if table.is_cuda and vocabulary <= _SMALL_VOCABULARY:
        return matmul(_one_hot(tokens, vocabulary).to(table.dtype), table)
    return table.float()[torch.arange(copies, device=tokens.device)[:, None, None], tokens].to(table.dtype)


def _one_hot(tokens: Tensor, vocabulary: int) -> Tensor:
    """Which token is at each place: (K, B, T) → (K, B, T, V) bool."""
    return tokens.unsqueeze(-1) == torch.arange(vocabulary, device=tokens.device)


def _feed_forward(weights: LayerWeights, inputs: Tensor) -> Tensor:
    """A dense network: (K, B, T, D) → (K, B, T, D)."""
    return matmul(_activation(matmul(inputs, weights["up"]), weights["down"].shape[1]), weights["down"])


def _activation(inner: Tensor, width: int) -> Tensor:
    """Between the two matrices, to `width` numbers: gated where the first gives twice as many, else GELU."""
    if inner.shape[-1] == width:
        return functional.gelu(inner)
    gate, up = inner.chunk(2, -1)
    return functional.silu(gate) * up


def matmul(inputs: Tensor, matrix: Tensor) -> Tensor:
    """Each copy's inputs times its own matrix: (K, B, T, D) × (K, D, E) → (K, B, T, E)."""
    copies, batch, length, width = inputs.shape
    return torch.bmm(inputs.reshape(copies, batch * length, width), matrix).view(copies, batch, length, -1)


def norm(stream: Tensor, gain: Tensor) -> Tensor:
    """Root-mean-square norm, in fp32 at least, with a gain (K, D)."""
    wide = stream.to(torch.promote_types(stream.dtype, torch.float32))
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + NORM_EPSILON)
    return (wide * scale * gain.to(wide.dtype)[:, None, None]).to(stream.dtype)


def convolve(inputs: Tensor, taps: Tensor) -> Tensor:
    """Causal convolution along T, each channel by itself: inputs (K, B, T, D), taps (K, taps, D); tap 0 is now."""
    length = inputs.shape[2]
    total = inputs * taps[:, None, None, 0]
    for back in range(1, taps.shape[1]):
        total = total + functional.pad(inputs, (0, 0, back, 0))[:, :, :length] * taps[:, None, None, back]
    return total


def convolve_step(inputs: Tensor, earlier: deque[Tensor], taps: Tensor) -> Tensor:
    """`convolve` at one place: inputs there, (K, B, 1, D), and at those before, the newest first, which go on."""
    total = inputs * taps[:, None, None, 0]
    for back, past in enumerate(earlier, start=1):
        total = total + past * taps[:, None, None, back]
    earlier.appendleft(inputs)
    return total
