"""Boosted trees as plain arrays: LightGBM grows them; numpy keeps, checks and evaluates them.

A tree on disk is arrays like any other, so no file is ever parsed by foreign code, and predictions need no LightGBM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

_MOST_TREES = 5000
_MOST_NODES = 61  # 31 leaves, one bit each of a 32-bit number
_LARGEST_VALUE = 10.0  # log units, of one leaf: keeps sums finite
_CHUNK = 256  # rows evaluated together, so that a block stays in cache


@dataclass(frozen=True)
class Trees:
    """A sum of regression trees, every array `(trees, nodes)`. Node 0 is the root; `feature` −1 makes a node a leaf.

    A row goes to node `left` where its `feature` is at most `threshold`, else to `right`; children come after their
    parent. `value` is what a leaf adds.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    @classmethod
    def grow(
        cls, x: np.ndarray, target: np.ndarray, weights: np.ndarray, settings: Mapping[str, Any], rounds: int
    ) -> Trees:
        """Trees for `target: (n,)` at features `x: (n, d)`, by LightGBM with its own `settings`, one tree a round."""
        from lightgbm import Dataset, train

        grown = train(dict(settings), Dataset(x, target, weight=weights), num_boost_round=rounds)
        trees: list[list[list[float]]] = []
        for tree in grown.dump_model()["tree_info"]:
            trees.append([])
            _add(tree["tree_structure"], trees[-1])
        nodes = max(len(rows) for rows in trees)
        padded = np.array([rows + [_leaf(0.0)] * (nodes - len(rows)) for rows in trees])
        return cls.of({name: padded[..., k] for k, name in enumerate(cls.names())}, x.shape[1])

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(item.name for item in fields(cls))

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, as `of` takes them."""
        return {name: getattr(self, name) for name in self.names()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], features: int) -> Trees:
        """Trees over so many features from arrays of floating-point numbers by name, every part checked.

        Raises KeyError for a missing array, ValueError for numbers that are no trees.
        """
        found = {name: np.asarray(arrays[name], dtype=float) for name in cls.names()}
        shape = found["feature"].shape
        if len(shape) != 2 or not 1 <= shape[0] <= _MOST_TREES or not 1 <= shape[1] <= _MOST_NODES:
            limits = f"expected at most {_MOST_TREES} trees of at most {_MOST_NODES} nodes"
            raise ValueError(f"trees of shape {shape}; {limits}")
        for name, array in found.items():
            if array.shape != shape or not np.all(np.isfinite(array)):
                raise ValueError(f"trees: {name} is not finite, or of another shape than feature")
        if np.any(np.abs(found["value"]) > _LARGEST_VALUE):
            raise ValueError(f"trees: a leaf's value is beyond ±{_LARGEST_VALUE:g}")
        whole = {name: _whole(name, found[name], max(features, shape[1])) for name in ("feature", "left", "right")}
        trees = cls(**{**found, **whole})
        if np.any((trees.feature < -1) | (trees.feature >= features)):
            raise ValueError(f"trees: a node looks at no feature of {features}")
        trees._check_children()
        return trees

    def _check_children(self) -> None:
        """Children come after their parent, and a node has one parent: so every walk ends, and no leaf is met twice."""
        trees, nodes = self.feature.shape
        tree, node = np.nonzero(self.feature >= 0)
        children = np.stack([self.left[tree, node], self.right[tree, node]])
        if np.any((children <= node) | (children >= nodes)):
            raise ValueError("trees: a node points to no later node")
        parents = np.bincount((tree * nodes + children).ravel(), minlength=trees * nodes).reshape(trees, nodes)
        if np.any(parents > 1) or np.any((parents == 0) & (self.feature >= 0) & (np.arange(nodes) > 0)):
            raise ValueError("trees: a node has two parents, or none")

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The sum of all trees at features `x: (n, d)`, `(n,)`."""
        total = np.zeros(len(x))
        for start in range(0, len(x), _CHUNK):
            part = total[start : start + _CHUNK]
            # tree by tree, so that a sum doesn't depend on how many rows there are
            for values in self._compiled.values_at(np.ascontiguousarray(x[start : start + _CHUNK].T)):
                part += values
        return total

    @cached_property
    def _compiled(self) -> _Compiled:
        inner = self.feature >= 0
        trees, nodes = self.feature.shape
        every = np.arange(trees)
        # what a leaf says of its children, nobody has checked
        lefts, rights = np.where(inner, self.left, 0), np.where(inner, self.right, 0)
        below = np.ones((trees, nodes), dtype=np.int64)  # leaves under a node
        for node in reversed(range(nodes)):
            both = below[every, lefts[:, node]] + below[every, rights[:, node]]
            below[:, node] = np.where(inner[:, node], both, 1)
        first = np.zeros((trees, nodes), dtype=np.int64)  # of the leaves under a node, counted from the left
        values = np.zeros((trees, int(below[:, 0].max())))
        values[:, 0] = self.value[:, 0]
        for node in range(nodes):
            at = np.flatnonzero(inner[:, node])
            left, right = self.left[at, node], self.right[at, node]
            first[at, left] = first[at, node]
            first[at, right] = first[at, node] + below[at, left]
            for child in (left, right):  # what an inner node writes here, its leaves overwrite
                values[at, first[at, child]] = self.value[at, child]
        number = np.cumsum(inner, axis=1) - 1  # of an inner node within its tree
        tree, node = np.nonzero(inner)
        shape = (int(number.max(initial=-1)) + 1, trees, 1)
        feature, threshold = np.zeros(shape[:2], dtype=np.int64), np.full(shape, np.inf)
        ruled_out = np.zeros(shape, dtype=np.int32)
        at = number[tree, node], tree
        feature[at], threshold[at] = self.feature[tree, node], self.threshold[tree, node][:, None]
        ruled_out[at] = (((1 << below[tree, self.left[tree, node]]) - 1) << first[tree, node])[:, None]
        start = (every * values.shape[1]).astype(np.int32)[:, None]
        return _Compiled(feature, threshold, ruled_out, values.ravel(), start)


@dataclass(frozen=True)
class _Compiled:
    """Trees for evaluation without walking. A tree's leaves are numbered from the left, a bit each.

    Who goes right at an inner node can't end under its left child: `ruled_out` holds those leaves. The first leaf that
    no node rules out is where a row ends, whatever the order of the nodes (Lucchese et al. 2015, QuickScorer). Inner
    nodes come first: `feature: (k, trees)`, `threshold, ruled_out: (k, trees, 1)`; those of leaves are in `values`, a
    tree's from `start: (trees, 1)` on.
    """

    feature: np.ndarray
    threshold: np.ndarray
    ruled_out: np.ndarray
    values: np.ndarray
    start: np.ndarray

    def values_at(self, columns: np.ndarray) -> np.ndarray:
        """What each tree says of features `columns: (d, n)`, `(trees, n)`."""
        out = np.zeros((len(self.start), columns.shape[1]), dtype=np.int32)
        for feature, threshold, ruled_out in zip(self.feature, self.threshold, self.ruled_out, strict=True):
            out |= (columns[feature] > threshold) * ruled_out
        leaf = np.bitwise_count(out & ~(out + 1))  # how many ones it ends in
        return self.values.take(self.start + leaf)


def _whole(name: str, array: np.ndarray, most: int) -> np.ndarray:
    if np.any(np.abs(array) > most) or np.any(array != np.round(array)):
        raise ValueError(f"trees: {name} holds other numbers than whole ones in range")
    return array.astype(np.int64)


def _leaf(value: float) -> list[float]:
    return [-1, 0.0, 0, 0, value]


def _add(node: Mapping[str, Any], rows: list[list[float]]) -> int:
    """Append one of LightGBM's nodes and all below it, in the order of a walk; rows are as `Trees.names()` says."""
    place = len(rows)
    if "leaf_value" in node:
        rows.append(_leaf(node["leaf_value"]))
        return place
    rows.append([node["split_feature"], node["threshold"], 0, 0, 0.0])
    rows[place][2:4] = _add(node["left_child"], rows), _add(node["right_child"], rows)
    return place
