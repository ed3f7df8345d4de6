"""H3 as a proxy: `core.model.mixers.members.h3` says what it is; here is how it is computed."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ...core.model.mixers.members import h3
from ._layered import Layered, convolve, convolve_step, matmul
from ._long_convolution import long_convolution
from ._model import Weight
from ._registry import register_model

__all__ = ["H3"]

# Steps of channels are spread evenly in log between these when training starts (S4D, section 4.4), which makes
# memories of about 10 to 1,000 places.
_STEPS = (0.001, 0.1)
_TAPS_DEVIATION = 0.3


@register_model("h3")
class H3(Layered):
    """Shift and diagonal state-space models; in training as convolutions, when sampling as recurrences."""

    mixer = "h3"

    @property
    def _settings(self) -> h3.H3:
        assert isinstance(self.shape.mixer, h3.H3)
        return self.shape.mixer

    @override
    def mixer_weights(self):
        width, taps, states = self.shape.width, self._settings.taps, self._settings.states
        log_steps = torch.linspace(math.log(_STEPS[0]), math.log(_STEPS[1]), width)
        # S4D-Lin: decays of 1/2, rotations of π·n for the states n = 0, 1, …
        log_decays = torch.full((states, width), math.log(0.5))
        rotations = (math.pi * torch.arange(states, dtype=torch.float32))[:, None].repeat(1, width)
        return [
            Weight("projections", (width, 3 * width), "hidden", width**-0.5),
            Weight("shift", (taps, width), "vector", _TAPS_DEVIATION),
            Weight("shift_skip", (width,), "vector", 0.0, 1.0),
            Weight("log_step", (width,), "vector", 0.0, log_steps),
            Weight("log_decay", (states, width), "vector", 0.0, log_decays),
            Weight("rotation", (states, width), "vector", 0.0, rotations),
            Weight("outputs", (2, states, width), "vector", states**-0.5),
            Weight("diagonal_skip", (width,), "vector", 0.0, 1.0),
            Weight("out", (width, width), "hidden", self.residual_deviation * width**-0.5),
        ]

    @override
    def mix(self, weights, inputs, shared):
        query, key, value = matmul(inputs, weights["projections"]).chunk(3, -1)
        shifted = convolve(key, weights["shift"]) + key * _channels(weights["shift_skip"])
        gated = shifted * value
        mixed = long_convolution(gated, _filter(weights, inputs.shape[2])) + gated * _channels(weights["diagonal_skip"])
        return matmul(query * mixed, weights["out"])

    @override
    def mixer_state(self, weights, copies, batch, length, shared):
        states = weights["log_decay"].new_zeros(copies, batch, *weights["log_decay"].shape[1:])
        return _State(deque(maxlen=self._settings.taps - 1), states, states.clone())

    @override
    def mix_step(self, weights, state, inputs, at):
        query, key, value = matmul(inputs, weights["projections"]).chunk(3, -1)
        shifted = convolve_step(key, state.keys, weights["shift"]) + key * _channels(weights["shift_skip"])
        gated = shifted * value
        state.turn(*_transition(weights), gated)
        real, imaginary = _outputs(weights)
        seen = (real[:, None] * state.real - imaginary[:, None] * state.imaginary).sum(2, keepdim=True)
        return matmul(query * (seen + gated * _channels(weights["diagonal_skip"])), weights["out"])


@dataclass
class _State:
    """What a layer keeps of the tokens so far: the last keys, the newest first, and the diagonal model's states, real
    and imaginary parts (K, B, N, D) each."""

    keys: deque[Tensor]
    real: Tensor
    imaginary: Tensor

    def turn(self, decay: Tensor, angle: Tensor, inputs: Tensor) -> None:
        """Decay and rotate the states by log factors and angles (K, N, D), and add inputs (K, B, 1, D)."""
        size = decay.exp()[:, None]
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        real = size * (cos * self.real - sin * self.imaginary) + inputs
        self.imaginary = size * (sin * self.real + cos * self.imaginary)
        self.real = real


def _channels(weight: Tensor) -> Tensor:
    """A number for each channel, (K, D), against (K, B, T, D)."""
    return weight[:, None, None]


def _transition(weights) -> tuple[Tensor, Tensor]:
    """The log of what a state decays by from one place to the next, and the angle it turns by, (K, N, D) each."""
    step = weights["log_step"].exp()[:, None]
    return -weights["log_decay"].exp() * step, weights["rotation"] * step


def _outputs(weights) -> tuple[Tensor, Tensor]:
    """What real and imaginary parts of the states count for, (K, N, D) each: √step keeps slow channels from being loud.

    The states' sum of a steady input grows as 1 / step, that of noise as 1 / √step.
    """
    scale = (0.5 * weights["log_step"]).exp()[:, None]
    return weights["outputs"][:, 0] * scale, weights["outputs"][:, 1] * scale


def _filter(weights, length: int) -> Tensor:
    """The convolution that the diagonal model is, (K, T, D): Σ_n Re(c_n · exp((decay + i·angle)·t))."""
    decay, angle = _transition(weights)
    real, imaginary = _outputs(weights)
    place = torch.arange(length, device=decay.device, dtype=decay.dtype)[:, None, None]
    size, turned = torch.exp(decay.unsqueeze(1) * place), angle.unsqueeze(1) * place
    return (size * (real.unsqueeze(1) * turned.cos() - imaginary.unsqueeze(1) * turned.sin())).sum(2)
