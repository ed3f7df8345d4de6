"""The loss of several plans predicted together, so that they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...core.columns import level_of
from ..config.run_config import RunConfig
from ..laws import Columns
from ..predictor.prediction import LossPrediction
from ..predictor.predictor import Predictor
from .law_inputs import planned, run_columns

__all__ = ["predict_together"]


def predict_together(configs: Sequence[RunConfig], predictor: Predictor, target: str) -> LossPrediction:
    """Predict one target of n plans, with the correlation of their errors.

    Each plan's own loss and scale are exactly those of its forecast. What only some plans state and has no neutral
    value for the others, a learning rate say, is left out where the correlation is found.

    Args:
        configs: The plans.
        predictor: The predictor.
        target: The target.

    Raises:
        InputError: The predictor does not apply to one of them.
    """
    model = predictor.models[target]
    columns = [run_columns(config, predictor, []) for config in configs]
    alone = [planned(config, model, its)[0] for config, its in zip(configs, columns, strict=True)]
    allowing = next((config for config in configs if config.data.allow_new_domains), configs[0])
    joint, _ = planned(allowing, model, _side_by_side(columns), joint=True)
    return replace(
        joint,
        log_loss=np.concatenate([one.log_loss for one in alone]),
        scale=np.concatenate([one.scale for one in alone]),
        extrapolation_decades=np.concatenate([one.extrapolation_decades for one in alone]),
    )


def _side_by_side(plans: Sequence[Mapping[str, np.ndarray]]) -> Columns:
    """The columns of single plans `(1,)` as columns `(n,)`, those that a plan lacks at the value that means the same."""
    found = {}
    for name in dict.fromkeys(name for plan in plans for name in plan):
        values = [plan[name] if name in plan else _neutral(name, plan) for plan in plans]
        if not any(value is None for value in values):
            found[name] = np.concatenate([value for value in values if value is not None])
    return found


def _neutral(name: str, plan: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """What a column is for a plan that doesn't have it; None where no value means that."""
    if name == "unique_tokens":
        return plan["tokens"]
    if name.startswith("unique_tokens."):
        return np.array([np.inf])
    if name == "num_experts":
        return np.ones(1)
    if name.startswith("mix.") or level_of(name) is not None:
        return np.zeros(1)
    return None
