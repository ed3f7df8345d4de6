"""The causal HyperMixer as a proxy: `core.model.mixers.members.hyper_mixer` says what it is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ...core.model.mixers.members import hyper_mixer
from ._layered import Layered, matmul, norm
from ._model import Weight
from ._registry import register_model

__all__ = ["HyperMixer"]

_CHUNK = 128  # places whose states are held at a time
_LONGEST_WAVE = 10_000.0  # Vaswani et al. 2017 (arXiv:1706.03762), section 3.5


@register_model("hyper_mixer")
class HyperMixer(Layered):
    """Sums of outer products along the sequence, chunk by chunk, each place reading its own."""

    mixer = "hyper_mixer"

    @property
    def _head_width(self) -> int:
        assert isinstance(self.shape.mixer, hyper_mixer.HyperMixer)
        return self.shape.mixer.head_width

    @override
    def mixer_weights(self):
        width = self.shape.width
        return [
            Weight("rows", (width, 2 * width), "hidden", width**-0.5),
            Weight("values", (width, width), "hidden", width**-0.5),
            Weight("mixed_norm", (width,), "vector", 0.0, 1.0),
            Weight("out", (width, width), "hidden", self.residual_deviation * width**-0.5),
        ]

    @override
    def shared_by_layers(self, weights, length):
        return _waves(length, self.shape.width, weights["norm"])

    @override
    def mix(self, weights, inputs, shared):
        first, second, values = self._written(weights, inputs, shared)
        total, found = None, []
        for start in range(0, inputs.shape[2], _CHUNK):
            here = slice(start, start + _CHUNK)
            states = (first[:, :, here, :, :, None] * values[:, :, here, :, None]).cumsum(2)
            if total is not None:
                states = states + total
            total = states[:, :, -1:]
            found.append(_read(states, second[:, :, here], start))
        return self._projected(weights, torch.cat(found, 2))

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        heads, size = self.shape.width // self._head_width, self._head_width
        return shared, weights["out"].new_zeros(copies, batch, 1, heads, size, size)

    @override
    def mix_step(self, weights, state, inputs, at):
        waves, states = state
        first, second, values = self._written(weights, inputs, waves[at : at + 1])
        states += first[..., None] * values[..., None, :]
        return self._projected(weights, _read(states, second, at))

    def _written(self, weights, inputs: Tensor, waves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each token writes: its row of the first matrix and of the second, its values, (K, B, T, H, R) each."""
        rows = matmul(inputs + waves, weights["rows"]).unflatten(-1, (2, -1, self._head_width))
        values = matmul(inputs, weights["values"]).unflatten(-1, (-1, self._head_width))
        return rows[..., 0, :, :], rows[..., 1, :, :], values

    def _projected(self, weights, mixed: Tensor) -> Tensor:
        """What the mixer adds to the stream, (K, B, T, D), from what places read, (K, B, T, H, R)."""
        return matmul(norm(mixed.flatten(-2), weights["mixed_norm"]), weights["out"])


def _read(states: Tensor, rows: Tensor, start: int) -> Tensor:
    """What the rows of the second matrix, (K, B, T, H, R), read of the inner layer: (K, B, T, H, R).

    `states` are sums of outer products up to each place, (K, B, T, H, R, R), the first of them at place `start`.
    """
    places = torch.arange(start + 1, start + 1 + states.shape[2], device=states.device, dtype=states.dtype)
    inner = functional.gelu(states / places.sqrt()[:, None, None, None])
    return (rows.unsqueeze(-1) * inner).sum(-2)


def _waves(length: int, width: int, like: Tensor) -> Tensor:
    """Sines and cosines of places, (T, D), of wavelengths from 2π to 10,000·2π."""
    place = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    lengths = _LONGEST_WAVE ** (torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width)
    angles = place / lengths
    return torch.cat((angles.sin(), angles.cos()), -1)[:, :width].to(like.dtype)
