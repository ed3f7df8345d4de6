"""AdamW with gradient clipping and weight averaging, for all copies at once, each with settings of its own.

Everything is (copies, size) or broadcasts to it. A copy whose gradient isn't finite is left as it was, for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..runs import ProxyRun

__all__ = ["Moments", "StepSizes", "update"]

_EPSILON = 1e-8  # Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1


@dataclass(frozen=True, slots=True)
class Moments:
    """What training changes: weights, AdamW's moments, averaged weights, the step at which a copy died (or -1)."""

    master: Tensor
    first: Tensor
    second: Tensor
    average: Tensor
    died: Tensor

    @classmethod
    def start(cls, master: Tensor) -> Moments:
        """Return the state before the first step."""
        zeros = torch.zeros_like(master)
        died = torch.full((len(master), 1), -1, dtype=torch.int64, device=master.device)
        return cls(master, zeros, zeros.clone(), master.clone(), died)


class StepSizes:
    """The numbers that each step needs, by copy: made once for the whole run, handed out as one small tensor a step."""

    def __init__(self, runs: Sequence[ProxyRun], device: str) -> None:
        step = np.arange(runs[0].steps)
        rows = [self._of(run, step) for run in runs]
        self._table = torch.from_numpy(np.stack(rows, axis=2)).to(device, torch.float32)

    @staticmethod
    def _of(run: ProxyRun, step: np.ndarray) -> np.ndarray:
        """Return (steps, 8) numbers of one run, in the order in which `update` unpacks them."""
        recipe = run.recipe
        rate = recipe.lr * run.schedule.at(step)
        ones = np.ones(len(step))
        return np.stack(
            [
                rate,
                rate * recipe.weight_decay,
                recipe.beta1 * ones,
                recipe.beta2 * ones,
                1 - recipe.beta1 ** (step + 1.0),
                1 - recipe.beta2 ** (step + 1.0),
                recipe.clip_norm * ones,
                # The average's memory grows with the run, so that it is the same share of it at every evaluation.
                1 / (1 + recipe.averaging * step),
            ],
            axis=1,
        )

    def at(self, step: int) -> Tensor:
        """Return the numbers of a step, (8, copies, 1)."""
        return self._table[step].unsqueeze(-1)


def update(state: Moments, gradient: Tensor, sizes: Tensor, scales: Tensor, decays: Tensor, step: Tensor) -> None:
    """Take one step in place; `sizes` as `StepSizes.at` gives them, `scales` and `decays` (size,) by weight."""
    rate, decay, beta1, beta2, correction1, correction2, clip, blend = sizes.unbind(0)
    norm = gradient.square().sum(1, keepdim=True).sqrt()
    state.died.copy_(torch.where((state.died < 0) & ~norm.isfinite(), step, state.died))
    alive = state.died < 0
    clipped = torch.where(alive, gradient * (clip / norm).clamp(max=1.0), 0.0)
    first = beta1 * state.first + (1 - beta1) * clipped
    second = beta2 * state.second + (1 - beta2) * clipped.square()
    direction = (first / correction1) / ((second / correction2).sqrt() + _EPSILON)
    moved = state.master - rate * scales * direction - decay * decays * state.master
    master = torch.where(alive, moved, state.master)
    state.first.copy_(first)
    state.second.copy_(second)
    state.average.copy_(torch.lerp(state.average, master, torch.where(alive, blend, 0.0)))
    state.master.copy_(master)
