"""Systems that may be singular: numpy's bits where numpy has an answer, a useful answer where it has none."""

import numpy as np
import pytest
from foretrain.simulator.fitting.linear import inverse, solve
from hypothesis import given, settings
from hypothesis import strategies as st

SINGULAR = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])


def stack(count: int, size: int = 3, seed: int = 0) -> np.ndarray:
    half = np.random.default_rng(seed).normal(size=(count, size, size))
    return half @ half.transpose(0, 2, 1) + 0.1 * np.eye(size)


def test_regular_systems_keep_numpys_bits():
    matrices, right = stack(20, 7), np.random.default_rng(1).normal(size=(20, 7, 1))
    np.testing.assert_array_equal(solve(matrices, right), np.linalg.solve(matrices, right))
    np.testing.assert_array_equal(inverse(matrices[0]), np.linalg.inv(matrices[0]))


@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_singular_member_changes_no_other(at):
    matrices, right = stack(6), np.random.default_rng(1).normal(size=(6, 3, 1))
    expected = np.linalg.solve(matrices, right)
    matrices[at] = SINGULAR
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.solve(matrices, right)
    found, others = solve(matrices, right), np.arange(6) != at
    np.testing.assert_array_equal(found[others], expected[others])
    assert np.all(np.isfinite(found[at]))


@pytest.mark.parametrize("unit", [1.0, 1e-8, 1e12])
def test_what_a_singular_system_does_determine_is_solved(unit):
    """Whatever the parameters' units are: here the third, and the sum of the first two."""
    scale = np.array([1.0, 1.0, unit])
    x = solve(SINGULAR * np.outer(scale, scale), (np.array([[3.0], [3.0], [4.0]]) * scale[:, None]))[:, 0] * scale
    assert x[0] + x[1] == pytest.approx(3.0)
    assert x[2] == pytest.approx(2.0)


def test_one_right_side_may_be_a_vector():
    np.testing.assert_array_equal(solve(SINGULAR, np.ones(3)), solve(SINGULAR, np.ones((3, 1)))[:, 0])


def test_nothing_at_all_is_known():
    assert np.all(solve(np.zeros((2, 2)), np.zeros((2, 1))) == 0)
    assert np.all(np.isfinite(inverse(np.diag([2.0, 0.0]))))


def test_what_is_not_finite_gives_nan_and_spares_the_others():
    matrices = np.stack([np.array([[0.0, 0.0], [0.0, np.nan]]), np.zeros((2, 2)), np.eye(2)])
    found = solve(matrices, np.ones((3, 2, 1)))
    assert np.all(np.isnan(found[0]))
    np.testing.assert_array_equal(found[2], 1.0)


@given(st.integers(1, 6), st.integers(0, 6), st.integers(-12, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_no_sum_of_few_runs_raises(size, runs, power, seed):
    """As a fit's: the outer products of fewer gradients than there are parameters, at any scale."""
    gradients = np.random.default_rng(seed).integers(-2, 3, (runs, size)) * 10.0**power
    right = gradients.T @ np.ones((runs, 1))
    found = solve(gradients.T @ gradients, right)
    assert np.all(np.isfinite(found))
