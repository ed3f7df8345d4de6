import copy
import json

import numpy as np
import pytest
from foretrain.core.errors import InputError
from foretrain.simulator.cluster.step_time.residual import FEATURES, Residual, fit_residual
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.fitting.trees import Trees
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS = 300


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Features (n, features) and log errors (n,) that follow two of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, len(FEATURES)))
    return x, 0.05 * np.sign(x[:, 0]) + 0.04 * np.tanh(x[:, 3]) + 0.005 * rng.normal(size=ROWS)


@pytest.fixture(scope="module")
def fitted(data) -> Residual:
    return fit_residual(*data, np.ones(ROWS))


def test_it_learns_and_is_the_same_again(data, fitted):
    x, y = data
    assert np.std(y - fitted.log_factor(x)) < 0.5 * np.std(y)
    again = fit_residual(*data, np.ones(ROWS))
    assert json.dumps(again.to_dict()) == json.dumps(fitted.to_dict())


def leaf(value: float) -> Trees:
    """One tree without a comparison."""
    none = np.zeros((1, 1))
    return Trees.of({**dict.fromkeys(Trees.names(), none), "feature": none - 1, "value": none + value}, len(FEATURES))


def test_corrections_are_clipped():
    size = len(FEATURES)
    for value, expected in ((3.0, 0.15), (-3.0, -0.15), (0.1, 0.1)):
        one = Residual(leaf(value), np.full(size, -1.0), np.full(size, 1.0))
        np.testing.assert_allclose(one.log_factor(np.zeros((4, size))), expected)


def test_corrections_fade_with_every_feature_outside():
    size = len(FEATURES)
    one = Residual(leaf(0.1), np.full(size, -1.0), np.full(size, 1.0))
    x = np.zeros((size + 1, size))
    for outside in range(size + 1):
        x[outside, :outside] = 5.0
    sizes = one.log_factor(x)
    assert sizes[0] == pytest.approx(0.1)
    assert np.all(np.diff(sizes) <= 0)
    assert np.all(sizes[np.arange(size + 1) >= 0.3 * size] == 0)


def test_plain_values_come_back(data, fitted):
    plain = json.loads(json.dumps(fitted.to_dict()))
    again = Residual.from_dict(plain)
    assert again.to_dict() == plain
    # thresholds are rounded, so that a row right at one may go the other way
    apart = np.abs(again.log_factor(data[0]) - fitted.log_factor(data[0]))
    assert np.quantile(apart, 0.95) < 1e-3


# damage


@pytest.fixture(scope="module")
def plain() -> dict:
    full = StepTimeModel.shipped().residual.to_dict()
    return {name: value[:5] if name in Trees.names() else value for name, value in full.items()}


def damaged(plain: dict, **changed) -> dict:
    return {**copy.deepcopy(plain), **changed}


@pytest.mark.parametrize("what", [None, [], "trees", 3, {}, {"features": list(FEATURES)}, {"features": None}])
def test_what_is_no_residual_is_refused(what):
    with pytest.raises(InputError, match="residual"):
        Residual.from_dict(what)


@pytest.mark.parametrize("name", ["feature", "left", "right", "value", "threshold", "lowest", "highest"])
@pytest.mark.parametrize("value", [None, "x", 5, [], [[]], [[1, 2], [3]], {}, [[[0]]], [float("nan")], [10**400]])
def test_damaged_arrays_are_refused(plain, name, value):
    with pytest.raises(InputError, match="residual"):
        Residual.from_dict(damaged(plain, **{name: value}))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("feature", len(FEATURES)), ("feature", -2), ("feature", 1e9), ("left", 0), ("right", 0), ("left", -1),
        ("right", 15), ("left", 10**9), ("threshold", float("inf")), ("threshold", float("nan")),
        ("value", float("nan")), ("value", float("-inf")), ("value", 1e300),
    ],
)  # fmt: skip
def test_a_damaged_root_is_refused(plain, name, cell):
    changed = copy.deepcopy(plain[name])
    changed[0][0] = cell
    with pytest.raises(InputError, match="residual"):
        Residual.from_dict(damaged(plain, **{name: changed}))


def test_a_cycle_is_refused(plain):
    """Children that come before their parent would make walks endless."""
    left, inner = copy.deepcopy(plain["left"]), [k for k, f in enumerate(plain["feature"][0]) if f >= 0]
    left[0][inner[-1]] = inner[0]
    with pytest.raises(InputError, match="no later node"):
        Residual.from_dict(damaged(plain, left=left))


def test_too_many_trees_are_refused(plain):
    many = {name: np.zeros((5001, 1)) - (name == "feature") for name in Trees.names()}
    with pytest.raises(InputError, match="at most 5000 trees"):
        Residual.from_dict(damaged(plain, **many))


SMALL = {
    "feature": [[0, -1, -1]], "threshold": [[0.5, 0, 0]], "left": [[1, 0, 0]], "right": [[2, 0, 0]],
    "value": [[0.0, 0.1, -0.1]],
}  # fmt: skip
NUMBER = st.one_of(st.integers(-3, 40), st.floats(), st.none(), st.text(max_size=2))


@given(
    st.sampled_from(sorted(SMALL)),
    st.one_of(st.lists(st.lists(NUMBER, max_size=4), max_size=3), st.lists(NUMBER, max_size=3), NUMBER),
)
@settings(max_examples=100, deadline=None)
def test_damage_is_refused_or_harmless(name, value):
    edges = {"lowest": [-9.0] * len(FEATURES), "highest": [9.0] * len(FEATURES)}
    try:
        found = Residual.from_dict({"features": list(FEATURES), **SMALL, **edges, name: value})
    except InputError:
        return
    factor = found.log_factor(np.zeros((2, len(FEATURES))))
    assert np.all(np.abs(factor) <= 0.15)
