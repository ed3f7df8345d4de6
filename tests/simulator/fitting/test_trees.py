"""Boosted trees as arrays: what LightGBM says, whatever the order of the nodes, and nothing that isn't a tree."""

from collections.abc import Mapping

import numpy as np
import pytest
from foretrain.simulator.fitting.trees import Trees
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = {"objective": "regression", "num_leaves": 15, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
SMALL = {
    "feature": [[0, -1, 1, -1, -1]],
    "threshold": [[0.5, 0, 2.0, 0, 0]],
    "left": [[1, 0, 3, 0, 0]],
    "right": [[2, 0, 4, 0, 0]],
    "value": [[0, 0.1, 0, 0.2, 0.3]],
}


def arrays(changes: Mapping[str, object] | None = None) -> dict[str, np.ndarray]:
    return {name: np.array(value, dtype=float) for name, value in {**SMALL, **(changes or {})}.items()}


def sample(rows: int = 300, features: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Features `(rows, features)` in steps, so that some rows lie right at a threshold, and a target of many cliffs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)).round(1)
    return x, np.sin(7 * x[:, 0]) * 0.02 + 0.01 * (x[:, 1] > x[:, 2]) + 0.001 * rng.standard_normal(rows)


def walked(trees: Trees, row: np.ndarray) -> float:
    """The sum of all trees at one row, node by node."""
    total = 0.0
    for tree in range(len(trees.feature)):
        node = 0
        while trees.feature[tree, node] >= 0:
            right = row[trees.feature[tree, node]] > trees.threshold[tree, node]
            node = (trees.right if right else trees.left)[tree, node]
        total += trees.value[tree, node]
    return total


@pytest.mark.parametrize("leaves", [2, 8, 15, 31])
def test_trees_say_what_lightgbm_says(leaves):
    import lightgbm

    x, y = sample()
    asked = {**SETTINGS, "num_leaves": leaves}
    theirs = lightgbm.train(asked, lightgbm.Dataset(x, y, weight=np.ones(len(y))), 200)
    ours = Trees.grow(x, y, np.ones(len(y)), asked, 200)
    for rows in (x, np.random.default_rng(1).normal(scale=3.0, size=(1000, 4)), x[:1], x[:0]):
        expected = theirs.predict(rows) if len(rows) else np.zeros(0)
        np.testing.assert_allclose(ours.predict(rows), expected, rtol=1e-12, atol=1e-12)


def test_nothing_to_learn_gives_the_mean():
    """LightGBM then returns trees without a comparison."""
    x, _ = sample()
    trees = Trees.grow(x, np.full(len(x), 0.25), np.ones(len(x)), SETTINGS, 5)
    np.testing.assert_allclose(trees.predict(x), 0.25)


def test_a_prediction_is_the_same_bits_alone_and_among_others():
    x, y = sample(700)
    trees = Trees.grow(x, y, np.ones(len(y)), SETTINGS, 100)
    alone = np.concatenate([trees.predict(x[at : at + 1]) for at in range(len(x))])
    np.testing.assert_array_equal(trees.predict(x), alone)
    np.testing.assert_array_equal(alone[:50], [walked(trees, row) for row in x[:50]])


def test_a_row_at_the_threshold_goes_left():
    trees = Trees.of(arrays(), 2)
    rows = np.array([[0.5, 9.0], [0.6, 2.0], [0.6, 2.1]])
    np.testing.assert_array_equal(trees.predict(rows), [0.1, 0.2, 0.3])


@st.composite
def any_trees(draw) -> Trees:
    """Trees whose nodes lie in any order in which children come after their parent, with gaps between them."""
    trees, nodes = draw(st.integers(1, 3)), draw(st.integers(1, 61))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = {name: np.zeros((trees, nodes)) for name in Trees.names()}
    found["feature"][:] = -1
    found["value"][:] = rng.normal(size=(trees, nodes))
    for tree in range(trees):
        leaves, used = [0], {0}
        while rng.random() < 0.95:
            node = leaves.pop(rng.integers(len(leaves)))
            free = [later for later in range(node + 1, nodes) if later not in used]
            if len(free) < 2:
                break
            children = rng.choice(free, 2, replace=False).tolist()
            found["feature"][tree, node] = rng.integers(3)
            found["threshold"][tree, node] = rng.normal()
            found["left"][tree, node], found["right"][tree, node] = children
            leaves += children
            used |= set(children)
    return Trees.of(found, 3)


@given(any_trees())
@settings(max_examples=60, deadline=None)
def test_any_order_of_nodes_gives_what_a_walk_gives(trees):
    x = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_array_equal(trees.predict(x), [walked(trees, row) for row in x])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"feature": [[2, -1, 1, -1, -1]]}, "no feature of 2"),
        ({"feature": [[-2, -1, 1, -1, -1]]}, "no feature of 2"),
        ({"feature": [[0.5, -1, 1, -1, -1]]}, "whole"),
        ({"left": [[1e30, 0, 3, 0, 0]]}, "whole ones in range"),
        ({"left": [[0, 0, 3, 0, 0]]}, "no later node"),
        ({"left": [[5, 0, 3, 0, 0]]}, "no later node"),
        ({"right": [[2, 0, 2, 0, 0]]}, "no later node"),
        ({"right": [[1, 0, 4, 0, 0]]}, "two parents"),
        ({"left": [[1, 0, 4, 0, 0]]}, "two parents"),
        ({"left": [[3, 0, 4, 0, 0]], "right": [[4, 0, 3, 0, 0]]}, "two parents, or none"),
        ({"left": [[1, 0, 3, 0]]}, "another shape"),
        ({"threshold": [[np.nan, 0, 2.0, 0, 0]]}, "not finite"),
        ({"value": [[0, np.inf, 0, 0.2, 0.3]]}, "not finite"),
        ({"value": [[0, 10.1, 0, 0.2, 0.3]]}, "beyond"),
        ({"feature": [0, -1, -1]}, "shape"),
        ({"feature": [[]]}, "shape"),
        ({"feature": np.full((1, 62), -1)}, "61 nodes"),
        ({"feature": np.full((5001, 1), -1)}, "5000 trees"),
    ],
)
def test_what_is_no_tree_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Trees.of(arrays(changes), 2)


@pytest.mark.parametrize("name", Trees.names())
def test_a_missing_array_is_refused(name):
    with pytest.raises(KeyError, match=name):
        Trees.of({key: value for key, value in arrays().items() if key != name}, 2)


def test_growing_the_same_again_gives_the_same_bits():
    x, y = sample()
    one, two = (Trees.grow(x, y, np.ones(len(y)), {**SETTINGS, "seed": 3}, 50).arrays() for _ in range(2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
