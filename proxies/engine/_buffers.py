"""The weights of all copies in one flat buffer, so that one tensor operation updates everything.

Letters in shapes: K copies, P numbers in the weights of one copy, padding included: each weight starts at a multiple of
16 numbers, the alignment that compiled kernels assume.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models import ProxyModel

__all__ = ["WeightLayout"]

_ALIGNMENT = 16


class WeightLayout:
    """Where each weight of a model lies in a flat buffer of shape (K, P).

    `sizes` says how many numbers each weight takes there, padding included; `size` is their sum P.
    """

    def __init__(self, model: ProxyModel) -> None:
        self.weights = tuple(model.weights)
        self.sizes = []
        for weight in self.weights:
            blocks = math.ceil(weight.size / _ALIGNMENT)
            self.sizes.append(blocks * _ALIGNMENT)
        self.size = sum(self.sizes)
        self._model = model

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views into `flat` (K, P) by name, each (K, *shape of the weight). Differentiable."""
        views = {}
        for weight, part in zip(self.weights, flat.split(self.sizes, 1), strict=True):
            if weight.size < part.shape[1]:
                part = part[:, : weight.size]  # without the padding
            views[weight.name] = part.unflatten(1, weight.shape)
        return views

    def initial(self, seeds: list[int]) -> Tensor:
        """Return initial weights, (K, P) fp32; those of a copy depend on its own seed alone."""
        flat = torch.zeros(len(seeds), self.size)
        for copy, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            for weight, part in zip(self.weights, flat[copy].split(self.sizes), strict=True):
                drawn = torch.randn(weight.size, generator=generator)
                start = weight.start.flatten() if isinstance(weight.start, Tensor) else weight.start
                part[: weight.size] = start + weight.deviation * drawn
        return flat

    def learning_rate_scales(self) -> Tensor:
        """Return what multiplies the learning rate of each number, (P,)."""
        parts = []
        for weight, size in zip(self.weights, self.sizes, strict=True):
            scale = self._model.learning_rate_scale(weight)
            parts.append(torch.full((size,), scale))
        return torch.cat(parts)

    def decays(self) -> Tensor:
        """Return 1 for numbers that weight decay applies to and 0 for vectors (gains, convolutions), (P,)."""
        parts = []
        for weight, size in zip(self.weights, self.sizes, strict=True):
            decays = 0.0 if weight.role == "vector" else 1.0
            parts.append(torch.full((size,), decays))
        return torch.cat(parts)
