"""What is learned on top of the step-time model: boosted trees on where the time goes, clipped, shrunk far from home.

Trees are fitted by LightGBM (`fit_residual`, used where the shipped figures are made) and kept as plain arrays, so that
a prediction needs numpy only and no file of theirs is ever parsed by foreign code. Features are shares of the step and
shapes of the layout, never raw sizes of the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ....core.errors import InputError
from .parts import StepTime
from .steps import Steps

__all__ = ["FEATURES", "LARGEST_CORRECTION", "Residual", "features", "fit_residual"]

_SHARES = (
    "matmul", "attention", "elementwise", "launch", "recompute", "output_head", "gradients", "tensor_parallel",
    "context_parallel", "expert_parallel", "pipeline", "bubble", "data_parallel", "optimizer",
)  # fmt: skip
_SHAPES = ("micro_tokens", "width_per_tp", "head_width", "tp", "pp", "vpp", "rounds_per_stage", "context", "visited")
FEATURES = (*(f"share.{name}" for name in _SHARES), *_SHAPES)
"""What the trees look at, logarithms all."""

_LEAST_SHARE = 1e-4
LARGEST_CORRECTION = 0.15
"""Log units: no correction beyond it, either way."""
# Corrections fade from all of them when every feature is within what was seen, to none when three in ten are outside.
_OUTSIDE_AT_MOST = 0.3
_MAX_NODES, _MAX_TREES = 21, 5000  # ten comparisons make a table of a thousand values
_CHUNK = 256  # rows walked together
_LARGEST_VALUE = 10.0  # log units, of one leaf: keeps sums finite
# Settings by leave-one-source-out and by the ranking of layouts on held-out rows; flat around these.
_TREES = 250
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
    "deterministic": True,
    "num_threads": 1,
    "verbose": -1,
}


def features(steps: Steps, time: StepTime) -> np.ndarray:
    """What the trees look at, in the order of FEATURES. (n, features)"""
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
class _Tables:
    """Comparisons `(trees, k)` and what they lead to: 2^k values for each tree, those of one tree from `first` on."""

    feature: np.ndarray
    threshold: np.ndarray
    value: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class Residual:
    """Boosted trees as arrays of shape (trees, nodes). A node with `feature` −1 is a leaf; node 0 is the root."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    lowest: np.ndarray
    """(features,) where what was seen begins."""
    highest: np.ndarray

    def log_factor(self, x: np.ndarray) -> np.ndarray:
        """By how much log time is corrected at features (n, features). (n,)"""
        inside = ((x >= self.lowest) & (x <= self.highest)).mean(axis=-1)
        trust = np.clip(1.0 - (1.0 - inside) / _OUTSIDE_AT_MOST, 0.0, 1.0)
        return np.clip(self._sum(x), -LARGEST_CORRECTION, LARGEST_CORRECTION) * trust

    def _sum(self, x: np.ndarray) -> np.ndarray:
        """The sum of all trees. (n,)"""
        tables = self._tables
        total = np.zeros(len(x))
        for start in range(0, len(x), _CHUNK):
            part = np.ascontiguousarray(x[start : start + _CHUNK].T)
            entry = np.repeat(tables.first[:, None], part.shape[1], axis=1)
            for bit, (feature, threshold) in enumerate(zip(tables.feature.T, tables.threshold.T, strict=True)):
                entry += (part[feature] > threshold[:, None]).astype(np.int32) << bit
            for values in tables.value.take(
                entry
            ):  # one by one, so that a sum doesn't depend on how many rows there are
                total[start : start + _CHUNK] += values
        return total

    @cached_property
    def _tables(self) -> _Tables:
        """Trees as tables: which of a tree's comparisons hold says where a row ends; far faster than walking."""
        inner = self.feature >= 0
        trees, most = len(inner), int(inner.sum(axis=1).max(initial=0))
        number = np.maximum(np.cumsum(inner, axis=1) - 1, 0)  # of an inner node within its tree
        feature, threshold = np.zeros((trees, most), dtype=np.int64), np.full((trees, most), np.inf)
        tree, node = np.nonzero(inner)
        feature[tree, number[tree, node]] = self.feature[tree, node]
        threshold[tree, number[tree, node]] = self.threshold[tree, node]
        held, tree = np.arange(2**most)[None], np.arange(trees)[:, None]
        node = np.zeros((trees, 2**most), dtype=np.int64)
        for _ in range(most):
            right = (held >> number[tree, node]) & 1 == 1
            node = np.where(inner[tree, node], np.where(right, self.right[tree, node], self.left[tree, node]), node)
        first = (np.arange(trees) * 2**most).astype(np.int32)
        return _Tables(feature, threshold, self.value[tree, node].ravel(), first)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON."""
        names = ("feature", "threshold", "left", "right", "value", "lowest", "highest")
        rounded = {name: np.round(getattr(self, name), 5).tolist() for name in names}
        return {"features": list(FEATURES), **rounded}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Residual:
        """Read what `to_dict` wrote. Raises `InputError` where it isn't a set of trees over FEATURES."""
        if not isinstance(plain, Mapping) or plain.get("features") != list(FEATURES):
            raise InputError("residual: features differ from those of this version; make the file again")
        whole = {
            name: _numbers(plain, name, max(_MAX_NODES, len(FEATURES))).astype(np.int64)
            for name in ("feature", "left", "right")
        }
        real = {name: _numbers(plain, name) for name in ("threshold", "lowest", "highest")}
        found = cls(**whole, **real, value=_numbers(plain, "value", _LARGEST_VALUE))
        found._check()
        return found

    def _check(self) -> None:
        """Refuse shapes that don't agree, and trees whose children don't come after them, so that walks end."""
        shape = self.feature.shape
        if len(shape) != 2 or not 1 <= shape[0] <= _MAX_TREES or not 1 <= shape[1] <= _MAX_NODES:
            expected = f"expected at most {_MAX_TREES} trees of at most {_MAX_NODES} nodes"
            raise InputError(f"residual: got trees of shape {shape}; {expected}")
        if any(getattr(self, name).shape != shape for name in ("threshold", "left", "right", "value")):
            raise InputError("residual: arrays of trees differ in shape")
        nodes, inner = np.arange(shape[1]), self.feature >= 0
        children = (self.left > nodes) & (self.right > nodes) & (self.left < shape[1]) & (self.right < shape[1])
        if np.any(inner & ~children) or np.any((self.feature >= len(FEATURES)) | (self.feature < -1)):
            raise InputError("residual: a node points to no later node, or to no feature")
        if self.lowest.shape != (len(FEATURES),) or self.highest.shape != (len(FEATURES),):
            raise InputError("residual: lowest and highest are not one per feature")


def _numbers(plain: Mapping[str, Any], name: str, largest: float | None = None) -> np.ndarray:
    """An array of finite numbers. Raises `InputError` for anything else."""
    try:
        values = np.array(plain[name], dtype=float)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"residual: {name} is missing or not an array of numbers") from None
    if not np.all(np.isfinite(values)) or (largest is not None and np.any(np.abs(values) > largest)):
        raise InputError(f"residual: {name} holds numbers out of range")
    return values


def fit_residual(x: np.ndarray, log_errors: np.ndarray, weights: np.ndarray, seed: int = 0) -> Residual:
    """Fit trees to log errors (n,) at features (n, features); LightGBM, deterministic for a seed."""
    import lightgbm

    data = lightgbm.Dataset(x, log_errors, weight=weights, params={"verbose": -1})
    booster = lightgbm.train({**_SETTINGS, "seed": seed}, data, _TREES)
    trees = [_Flat(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
    width = max(len(tree.feature) for tree in trees)
    columns = {name: _padded([getattr(tree, name) for tree in trees], width) for name in _Flat.names}
    columns["feature"][np.arange(width) >= np.array([[len(tree.feature)] for tree in trees])] = -1
    edges = np.quantile(x, [0.005, 0.995], axis=0) + np.array([[-1e-6], [1e-6]])
    return Residual(**columns, lowest=edges[0], highest=edges[1])


def _padded(lists: list[list[float]], width: int) -> np.ndarray:
    kind = np.int64 if all(isinstance(item, int) for one in lists for item in one) else float
    return np.array([one + [0] * (width - len(one)) for one in lists], dtype=kind)


class _Flat:
    """One of LightGBM's trees as lists, nodes in order of a walk from the root."""

    names = ("feature", "threshold", "left", "right", "value")

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.feature: list[int] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.threshold: list[float] = []
        self.value: list[float] = []
        self._add(root)

    def _add(self, node: Mapping[str, Any]) -> int:
        place = len(self.feature)
        leaf = "leaf_value" in node
        self.feature.append(-1 if leaf else int(node["split_feature"]))
        self.threshold.append(0.0 if leaf else float(node["threshold"]))
        self.value.append(float(node["leaf_value"]) if leaf else 0.0)
        self.left.append(0)
        self.right.append(0)
        if not leaf:
            self.left[place] = self._add(node["left_child"])
            self.right[place] = self._add(node["right_child"])
        return place
