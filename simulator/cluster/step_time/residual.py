"""The learned residual of the step-time model: boosted trees, clipped, and shrunk to 0 outside the training range.

Trees are grown where the shipped figures are made (`fit_residual`). Features are shares of the step and shapes of the
layout, never raw sizes of the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import InputError
from ...fitting.trees import Trees
from .parts import StepTime
from .steps import Steps

__all__ = ["FEATURES", "LARGEST_CORRECTION", "Residual", "features", "fit_residual"]

_SHARES = (
    "matmul", "attention", "elementwise", "launch", "recompute", "output_head", "gradients", "tensor_parallel",
    "context_parallel", "expert_parallel", "pipeline", "bubble", "data_parallel", "optimizer",
)  # fmt: skip
_SHAPES = ("micro_tokens", "width_per_tp", "head_width", "tp", "pp", "vpp", "rounds_per_stage", "context", "visited")
FEATURES = (*(f"share.{name}" for name in _SHARES), *_SHAPES)
"""Features of the trees, all logarithms."""

_LEAST_SHARE = 1e-4
LARGEST_CORRECTION = 0.15
"""Log units: no correction beyond it, either way."""
# Corrections fade from all of them when every feature is within what was seen, to none when one in seven is outside.
_OUTSIDE_AT_MOST = 0.15
# Settings by leave-one-source-out and by the ranking of layouts on held-out rows; flat around these.
_ROUNDS = 225
# A faster network shrinks shares of communication and lets the others grow: the correction then falls, so that a plan
# is never slower for it.
_COMMUNICATION = ("tensor_parallel", "context_parallel", "expert_parallel", "pipeline", "data_parallel")
_MONOTONE = [*(1 if name in _COMMUNICATION else 0 for name in _SHARES), *(0 for _ in _SHAPES)]
_SETTINGS = {
    "objective": "huber",
    "alpha": 0.1,
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 15,
    "lambda_l2": 5.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "monotone_constraints": _MONOTONE,
    "deterministic": True,
    "num_threads": 1,
    "verbose": -1,
}


def features(steps: Steps, time: StepTime) -> np.ndarray:
    """The features of the trees, in the order of FEATURES. (n, features)"""
    models, layouts = steps.models, steps.layouts
    shares = [np.log(np.maximum(time.parts[name] / time.total_s, _LEAST_SHARE)) for name in _SHARES]
    shapes = [
        np.log(steps.micro_tokens),
        np.log(models.width / layouts.tp),
        np.log(models.key_width),
        np.log2(layouts.tp),
        np.log2(layouts.pp),
        np.log2(layouts.vpp),
        np.log2(layouts.accumulation / layouts.pp),
        np.log2(models.context_length),
        np.log1p(models.experts_per_token),
    ]
    size = np.shape(time.total_s)
    return np.stack([np.broadcast_to(column, size) for column in (*shares, *shapes)], axis=-1)


@dataclass(frozen=True)
class Residual:
    """Trees over FEATURES, and the range of each feature that they were grown on."""

    trees: Trees
    lowest: np.ndarray
    """(features,) lower ends of the training range."""
    highest: np.ndarray

    def log_factor(self, x: np.ndarray) -> np.ndarray:
        """By how much log time is corrected at features (n, features). (n,)"""
        inside = ((x >= self.lowest) & (x <= self.highest)).mean(axis=-1)
        trust = np.clip(1.0 - (1.0 - inside) / _OUTSIDE_AT_MOST, 0.0, 1.0)
        return np.clip(self.trees.predict(x), -LARGEST_CORRECTION, LARGEST_CORRECTION) * trust

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON."""
        arrays = {**self.trees.arrays(), "lowest": self.lowest, "highest": self.highest}
        return {"features": list(FEATURES), **{name: np.round(array, 5).tolist() for name, array in arrays.items()}}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Residual:
        """Read what `to_dict` wrote. Raises `InputError` where it isn't a set of trees over FEATURES."""
        if not isinstance(plain, Mapping) or plain.get("features") != list(FEATURES):
            raise InputError("residual: features differ from those of this version; make the file again")
        lowest, highest = _numbers(plain, "lowest"), _numbers(plain, "highest")
        for edge in (lowest, highest):
            if edge.shape != (len(FEATURES),) or not np.all(np.isfinite(edge)):
                raise InputError("residual: lowest and highest are not one finite number per feature")
        try:
            trees = Trees.of({name: _numbers(plain, name) for name in Trees.names()}, len(FEATURES))
        except ValueError as error:
            raise InputError(f"residual: {error}") from None
        return cls(trees, lowest, highest)


def _numbers(plain: Mapping[str, Any], name: str) -> np.ndarray:
    """An array of numbers. Raises `InputError` for anything else."""
    try:
        return np.array(plain[name], dtype=float)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"residual: {name} is missing or not an array of numbers") from None


def fit_residual(x: np.ndarray, log_errors: np.ndarray, weights: np.ndarray, seed: int = 0) -> Residual:
    """Fit trees to log errors (n,) at features (n, features); deterministic for a seed."""
    trees = Trees.grow(x, log_errors, weights, {**_SETTINGS, "seed": seed}, _ROUNDS)
    edges = np.quantile(x, [0.005, 0.995], axis=0) + np.array([[-1e-4], [1e-4]])  # more than files round
    return Residual(trees, lowest=edges[0], highest=edges[1])
