"""AdamW with gradient clipping and weight averaging, for all copies at once, each with settings of its own.

Letters in shapes: K copies, P numbers in the weights of one copy (padding included). Everything is (K, P) or
broadcasts to it. A copy whose gradient isn't finite is left as it was, for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..runs import ProxyRun

__all__ = ["ALIVE", "Moments", "StepSizes", "update"]

ALIVE = -1
"""In `Moments.died`: the copy hasn't diverged."""
_EPSILON = 1e-8  # Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1


@dataclass(frozen=True, slots=True)
class Moments:
    """What training changes, in place. All but `died` are (K, P) fp32."""

    master: Tensor
    """The weights."""
    first: Tensor
    """AdamW's first moment: the decaying mean of the gradient."""
    second: Tensor
    """AdamW's second moment: the decaying mean of the squared gradient."""
    average: Tensor
    """The weights averaged over the last part of the run, which are the ones that are validated."""
    died: Tensor
    """The step at which a copy diverged, ALIVE while it hasn't: (K, 1) int64."""

    @classmethod
    def start(cls, master: Tensor) -> Moments:
        """Return the state before the first step, from initial weights (K, P)."""
        zeros = torch.zeros_like(master)
        died = torch.full((len(master), 1), ALIVE, dtype=torch.int64, device=master.device)
        return cls(master, zeros, zeros.clone(), master.clone(), died)


class StepSizes:
    """The numbers that each step needs, by copy: made once for the whole run, handed out as one small tensor a step."""

    def __init__(self, runs: Sequence[ProxyRun], device: str) -> None:
        step = np.arange(runs[0].steps)
        ones = np.ones(len(step))
        tables = []
        for run in runs:
            recipe = run.recipe
            rate = recipe.lr * run.schedule.at(step)
            # In the order in which `update` unpacks them.
            columns = [
                rate,  # learning rate: warm-up, then the schedule
                rate * recipe.weight_decay,  # decay is decoupled from the gradient, but follows the learning rate
                recipe.beta1 * ones,  # how much of the first moment stays from step to step
                recipe.beta2 * ones,  # the same of the second moment
                1 - recipe.beta1 ** (step + 1.0),  # corrects the first moment for having started at zero
                1 - recipe.beta2 ** (step + 1.0),  # the same for the second moment
                recipe.clip_norm * ones,  # longest gradient that is taken as it is
                # The average's memory grows with the run, so that it is the same share of it at every evaluation.
                1 / (1 + recipe.averaging * step),
            ]
            tables.append(np.stack(columns, axis=1))  # (steps, 8)
        table = np.stack(tables, axis=2)  # (steps, 8, K)
        self._table = torch.from_numpy(table).to(device, torch.float32)

    def at(self, step: int) -> Tensor:
        """Return the numbers of a step, (8, K, 1)."""
        return self._table[step].unsqueeze(-1)

    def of_copy(self, copy: int) -> Tensor:
        """Return the numbers of one copy, dense: (steps, 8)."""
        return self._table[:, :, copy].contiguous()


def update(state: Moments, gradient: Tensor, sizes: Tensor, scales: Tensor, decays: Tensor, step: Tensor) -> None:
    """Take one step of every copy, in place.

    Args:
        state: What the step changes.
        gradient: (K, P) fp32.
        sizes: The numbers of this step, (8, K, 1), as `StepSizes.at` gives them.
        scales: What multiplies the learning rate of each number, (P,).
        decays: 1 for numbers that weight decay applies to, else 0, (P,).
        step: The number of the step, counted from 0: a scalar.
    """
    rate, decay, beta1, beta2, correction1, correction2, clip, blend = sizes.unbind(0)  # (K, 1) each

    # Copies whose gradient isn't finite die here.
    norm = gradient.square().sum(1, keepdim=True).sqrt()  # (K, 1)
    dies_now = (state.died == ALIVE) & ~norm.isfinite()
    state.died.copy_(torch.where(dies_now, step, state.died))
    alive = state.died == ALIVE

    # Clip the gradient to its longest norm.
    shrink = (clip / norm).clamp(max=1.0)
    clipped = torch.where(alive, gradient * shrink, 0.0)

    # AdamW: the direction is the mean gradient over its root mean square, both corrected for their start at zero.
    first = beta1 * state.first + (1 - beta1) * clipped
    second = beta2 * state.second + (1 - beta2) * clipped.square()
    mean_gradient = first / correction1
    root_mean_square = (second / correction2).sqrt()
    direction = mean_gradient / (root_mean_square + _EPSILON)
    moved = state.master - rate * scales * direction - decay * decays * state.master
    master = torch.where(alive, moved, state.master)

    state.first.copy_(first)
    state.second.copy_(second)
    share_of_new = torch.where(alive, blend, 0.0)
    state.average.copy_(torch.lerp(state.average, master, share_of_new))
    state.master.copy_(master)
