"""Over-training: a smaller model on more tokens than is compute-optimal, its cost in loss and its inference savings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.quantity import Quantity
from ..figures import around
from .optimum import Optimum, find_optimum, root_between
from .surface import LossSurface

__all__ = ["FACTORS", "OverTraining", "over_trained", "over_training_of"]

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_MOST_GROWTH = math.log(1e3)  # of params and of tokens, in search of the compute that makes up for the ratio
_GROWTH_POINTS = 701
_ROUNDING = 1e-12  # of log loss


@dataclass(frozen=True)
class OverTraining:
    """A run whose tokens per parameter are `factor` times those of the compute-optimal run of equal compute."""

    factor: float
    params: float
    tokens: float
    loss_nats: float
    """As the forecast of that run has it, with what was learned on top of the law."""
    penalty_nats: Quantity
    """Loss beyond that of the optimum by the law; intervals by its draws, both runs by the same ones."""
    compute_factor: float | None
    """Compute over the optimum's that reaches the optimum's loss at this ratio; None where none up to 1e6 does."""
    inference_saved: float
    """Share of the FLOPs of a generated token (two for each parameter) saved against the optimum; negative: more."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "penalty_nats": self.penalty_nats.to_dict()}


def over_trained(surface: LossSurface, best: Optimum, factors: Sequence[float] = FACTORS) -> list[OverTraining]:
    """Runs of the optimum's compute at other ratios of tokens to parameters."""
    root = np.sqrt(np.asarray(factors, dtype=float))
    params, tokens = best.params / root, best.tokens * root
    at = (np.append(params, best.params), np.append(tokens, best.tokens))
    loss, drawn = np.exp(surface.log_loss(*at)), np.exp(surface.log_loss_draws(*at))
    predicted = surface.predict(params, tokens).loss_nats
    rows = []
    for i, factor in enumerate(factors):
        penalty = around(float(loss[i] - loss[-1]), drawn[:, i] - drawn[:, -1])
        more = _compute_factor(surface, float(params[i]), float(tokens[i]), best.log_loss)
        saved = 1.0 - float(params[i]) / best.params
        rows.append(
            OverTraining(float(factor), float(params[i]), float(tokens[i]), float(predicted[i]), penalty, more, saved)
        )
    return rows


def over_training_of(surface: LossSurface, params: float, tokens: float) -> OverTraining:
    """How far a run is from the compute-optimal one of equal compute. `params` as the law counts them."""
    best = find_optimum(surface, float(surface.compute(np.array(params), np.array(tokens))))
    return over_trained(surface, best, [tokens / params * best.params / best.tokens])[0]


def _compute_factor(surface: LossSurface, params: float, tokens: float, wanted: float) -> float | None:
    """Compute over that of (params, tokens), both grown alike, at which the log loss is first `wanted`."""
    growth = np.linspace(0.0, _MOST_GROWTH, _GROWTH_POINTS)
    reached = surface.log_loss(params * np.exp(growth), tokens * np.exp(growth)) <= wanted + _ROUNDING
    first = int(reached.argmax())
    if not reached[first] or first == 0:
        return 1.0 if reached[0] else None

    def above(by: float) -> float:
        return float(surface.log_loss(params * np.exp([by]), tokens * np.exp([by]))[0]) - wanted - _ROUNDING

    return math.exp(2.0 * root_between(above, growth[first - 1], growth[first]))
