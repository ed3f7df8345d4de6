"""Bytes that training keeps of one parameter: its weight, gradient, master weight and the optimizer's states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....datasets.facts.optimizers import ADAMW, OPTIMIZERS, optimizer_states
from ..step_time.steps import States, Steps

__all__ = ["ParameterBytes", "parameter_bytes", "states_of"]

_WIDE = 4.0  # bytes of a 32-bit value


@dataclass(frozen=True)
class ParameterBytes:
    """Bytes per parameter. Arrays (n,)."""

    weight: np.ndarray
    """What the forward pass reads, with its 8-bit or 4-bit copy."""
    gradient: np.ndarray
    master: np.ndarray
    """32-bit copies beside narrower weights, of the gradients too where the software makes them; 0 where there are
    none."""
    matrix_states: np.ndarray
    """The optimizer's, of a layer's matrices."""
    other_states: np.ndarray
    """The same of vocabulary tables."""

    @property
    def shard_is_weight(self) -> np.ndarray:
        """Whether the weights that the optimizer changes are those that the forward pass reads: nothing is wider."""
        return self.master == 0


def states_of(optimizer: str, master_weights: bool = True) -> States:
    """The states of an optimizer by name; AdamW's for one that isn't known."""
    known = optimizer_states(optimizer) or OPTIMIZERS[ADAMW]
    values = (known.matrix_values, known.other_values, float(known.eight_bit), float(master_weights))
    return States(*map(np.array, values))


def parameter_bytes(steps: Steps, constants: Mapping[str, np.ndarray]) -> ParameterBytes:
    """Bytes per parameter of each step, with its software's `constants` by name."""
    machines, states = steps.machines, steps.states
    value = machines.value_bytes
    narrow_copy = np.where(machines.narrow_bytes < value, machines.narrow_bytes, 0.0)  # 8-bit or 4-bit operands
    wide, mastered = value >= _WIDE, (value < _WIDE) & (states.master > 0)
    half = machines.half > 0
    beside_master = np.where(half, constants["gradient_bytes_fp16"], constants["gradient_bytes"])
    copies = np.where(half, constants["gradient_copies_fp16"], 0.0)
    state = np.where(states.eight_bit > 0, 1.0, np.where(wide | mastered, _WIDE, value))
    return ParameterBytes(
        weight=value + narrow_copy,
        gradient=np.where(mastered, beside_master, value),
        master=np.where(mastered, _WIDE + copies, 0.0),
        matrix_states=states.matrix_values * state,
        other_states=states.other_values * state,
    )
