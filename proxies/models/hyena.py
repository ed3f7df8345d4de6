"""Hyena as a proxy: `core.model.mixers.members.hyena` says what it is; here is how it is computed."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ...core.model.mixers.members import hyena
from ._layered import Layered, convolve, convolve_step, matmul
from ._long_convolution import long_convolution, long_convolution_step
from ._model import Weight
from ._registry import register_model

__all__ = ["Hyena"]

# How fast windows decay over a context, of the fastest and the slowest channel: to a hundredth after a fraction .3 and
# 1.5 of it (the authors' defaults).
_DECAYS = (math.log(100) / 0.3, math.log(100) / 1.5)
_TAPS_DEVIATION = 0.3


@register_model("hyena")
class Hyena(Layered):
    """Order 2, with implicit filters of each channel."""

    mixer = "hyena"

    @property
    def _settings(self) -> hyena.Hyena:
        assert isinstance(self.shape.mixer, hyena.Hyena)
        return self.shape.mixer

    @override
    def mixer_weights(self):
        width, inner = self.shape.width, self._settings.filter_width
        features, taps = self._settings.features, self._settings.taps
        now = torch.zeros(taps, 3 * width)
        now[0] = 1.0
        decays = torch.linspace(math.log(_DECAYS[0]), math.log(_DECAYS[1]), width)
        return [
            Weight("projections", (width, 3 * width), "hidden", width**-0.5),
            Weight("taps", (taps, 3 * width), "vector", _TAPS_DEVIATION, now),
            Weight("filter_in", (features, inner), "hidden", features**-0.5, fan_in=features),
            Weight("filter_in_bias", (inner,), "vector", 0.0),
            Weight("filter_inner", (inner, inner), "hidden", inner**-0.5, fan_in=inner),
            Weight("filter_inner_bias", (inner,), "vector", 0.0),
            Weight("filter_out", (inner, width), "hidden", (inner / 2) ** -0.5, fan_in=inner),
            Weight("log_decay", (width,), "vector", 0.0, decays),
            Weight("skip", (width,), "vector", 0.0, 1.0),
            Weight("out", (width, width), "hidden", self.residual_deviation * width**-0.5),
        ]

    @override
    def shared_by_layers(self, weights, length):
        return _features(length, self.shape.context_length, self._settings.filter_bands, weights["norm"])

    @override
    def mix(self, weights, inputs, shared):
        projected = convolve(matmul(inputs, weights["projections"]), weights["taps"])
        query, key, value = projected.chunk(3, -1)
        gated = key * value
        mixed = long_convolution(gated, self._filters(weights, shared)) + gated * weights["skip"][:, None, None]
        return matmul(query * mixed, weights["out"])

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        gated = weights["skip"].new_zeros(copies, batch, length, self.shape.width)
        return _State(self._filters(weights, shared), gated, deque(maxlen=self._settings.taps - 1))

    @override
    def mix_step(self, weights, state, inputs, at):
        projected = convolve_step(matmul(inputs, weights["projections"]), state.projected, weights["taps"])
        query, key, value = projected.chunk(3, -1)
        gated = key * value
        state.gated[:, :, at] = gated.squeeze(2)
        mixed = long_convolution_step(state.gated, state.filters, at) + gated * weights["skip"][:, None, None]
        return matmul(query * mixed, weights["out"])

    def _filters(self, weights, features: Tensor) -> Tensor:
        """The filter of each channel, (K, T, D), from features of places (T, F): of norm about 1 at the start."""
        copies = len(weights["skip"])
        inner = torch.bmm(features.expand(copies, -1, -1), weights["filter_in"])
        inner = torch.sin(inner + weights["filter_in_bias"][:, None])
        inner = torch.sin(torch.bmm(inner, weights["filter_inner"]) + weights["filter_inner_bias"][:, None])
        decay = weights["log_decay"].exp()[:, None]  # over a context
        place = features[:, :1]
        # Σ exp(-2·decay·t / T) over t is T / (2·decay)
        window = torch.exp(-decay * place) * (2 * decay / self.shape.context_length).sqrt()
        return torch.bmm(inner, weights["filter_out"]) * window


@dataclass
class _State:
    """What a layer keeps of the tokens so far: filters (K, T, D), inputs of the long convolution (K, B, T, D), and the
    last ones of the short one, the newest first."""

    filters: Tensor
    gated: Tensor
    projected: deque[Tensor]


def _features(length: int, context_length: int, bands: int, like: Tensor) -> Tensor:
    """What the network sees of a context's first places: their share of it, sines and cosines, (T, 1 + 2·bands).

    Frequencies rise geometrically from one period in a context to one in four places.
    """
    place = torch.arange(length, device=like.device, dtype=torch.float64)[:, None] / context_length
    steps = torch.arange(bands, device=like.device, dtype=torch.float64) / max(1, bands - 1)
    angles = 2 * math.pi * place * max(1.0, context_length / 4) ** steps
    return (
        torch.cat((place, angles.sin(), angles.cos()), -1)
        .to(torch.promote_types(like.dtype, torch.float32))
        .to(like.dtype)
    )
