"""The weights of all copies in one flat buffer, so that one tensor operation updates everything.

Each weight starts at a multiple of 16 numbers, the alignment that compiled kernels assume.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..models import ProxyModel, Weight

__all__ = ["WeightLayout"]

_ALIGNMENT = 16


class WeightLayout:
    """Where each weight of a model lies in a flat buffer of shape (copies, size)."""

    def __init__(self, model: ProxyModel) -> None:
        self.weights = tuple(model.weights)
        self.sizes = [-(-weight.size // _ALIGNMENT) * _ALIGNMENT for weight in self.weights]
        self.size = sum(self.sizes)
        self._model = model

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views into `flat` by name, each (copies, *shape of the weight). Differentiable."""
        parts = flat.split(self.sizes, 1)
        return {
            weight.name: (part if part.shape[1] == weight.size else part[:, : weight.size]).unflatten(1, weight.shape)
            for weight, part in zip(self.weights, parts, strict=True)
        }

    def initial(self, seeds: list[int]) -> Tensor:
        """Return initial weights, (copies, size) fp32; those of a copy depend on its own seed alone."""
        flat = torch.zeros(len(seeds), self.size)
        for copy, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            for weight, part in zip(self.weights, flat[copy].split(self.sizes), strict=True):
                drawn = torch.randn(weight.size, generator=generator)
                part[: weight.size] = weight.start + weight.deviation * drawn
        return flat

    def learning_rate_scales(self) -> Tensor:
        """Return what multiplies the learning rate of each number, (size,)."""
        return self._spread(lambda weight: self._model.learning_rate_scale(weight.role))

    def decays(self) -> Tensor:
        """Return 1 for numbers that weight decay applies to and 0 for vectors (gains, convolutions), (size,)."""
        return self._spread(lambda weight: float(weight.role != "vector"))

    def _spread(self, value: Callable[[Weight], float]) -> Tensor:
        return torch.cat([torch.full((size,), value(w)) for w, size in zip(self.weights, self.sizes, strict=True)])
