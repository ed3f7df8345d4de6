"""The residual's kernel: the published Matérn, its gradient, and hyperparameters as one vector and back."""

import numpy as np
import pytest
from foretrain.simulator.surrogate._kernel import (
    Block,
    Hyper,
    matern,
    matern_and_slope,
    noise_variance,
    scaled,
    squared_distances,
)
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 2))
"""Shares, other features, causes of bad luck."""


def hyper_of(shares: int, others: int, run_noise: int, seed: int = 0) -> Hyper:
    rng = np.random.default_rng(seed)
    return Hyper.of(rng.normal(0, 0.5, 2 * shares + others + run_noise + 2), shares, run_noise)


def features(n: int, shares: int, others: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.hstack([rng.random((n, shares)), rng.standard_normal((n, others))])


@given(SIZES)
def test_hyperparameters_survive_as_one_vector(sizes):
    shares, others, run_noise = sizes
    vector = np.arange(2.0 * shares + others + run_noise + 2)
    hyper = Hyper.of(vector, shares, run_noise)
    assert (len(hyper.lengths), len(hyper.offsets), len(hyper.run_noise)) == (shares + others, shares, run_noise)
    assert hyper.signal == vector[0]
    np.testing.assert_array_equal(hyper.vector(), vector)


def test_shares_enter_as_logs_with_their_own_offset():
    hyper = Hyper(0.0, np.log([2.0, 4.0]), np.log([0.01]), 0.0, np.zeros(0))
    x = np.array([[0.0, 8.0], [0.09, -4.0]])
    np.testing.assert_allclose(scaled(x, hyper), [[np.log(0.01) / 2, 2.0], [np.log(0.1) / 2, -1.0]])
    np.testing.assert_array_equal(x, [[0.0, 8.0], [0.09, -4.0]])  # the caller's own are left alone


@pytest.mark.parametrize("d", [0, 1, 5])
def test_squared_distances_are_those_of_the_definition(d):
    rng = np.random.default_rng(d)
    a, b = rng.standard_normal((7, d)), rng.standard_normal((4, d))
    expected = ((a[:, None] - b[None]) ** 2).sum(-1)
    np.testing.assert_allclose(squared_distances(a, b), expected, atol=1e-12)
    far = 1e6 + a  # where rounding would make some of them negative
    assert (squared_distances(far, far) >= 0).all()


def test_the_kernel_is_scikit_learns_matern():
    from sklearn.gaussian_process.kernels import Matern

    hyper = hyper_of(2, 2, 0)
    a, b = (scaled(features(n, 2, 2, seed=n), hyper) for n in (30, 20))
    np.testing.assert_allclose(matern(squared_distances(a, b)), Matern(1.0, nu=2.5)(a, b), rtol=1e-10)


def test_the_slope_is_the_derivative_and_the_value_the_same():
    squared = np.geomspace(1e-6, 50, 60)
    value, slope = matern_and_slope(squared)
    np.testing.assert_allclose(value, matern(squared), rtol=1e-14)
    step = 1e-4 * squared
    expected = (matern(squared + step) - matern(squared - step)) / (2 * step)
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-12)
    assert matern(np.zeros(1))[0] == 1.0
    assert (np.diff(value) < 0).all()


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(0, 1000))
def test_the_gradient_equals_central_differences(sizes, seed):
    shares, others, _ = sizes
    hyper, x = hyper_of(shares, others, 0, seed), features(9, shares, others, seed)
    weight = np.random.default_rng(seed).standard_normal((9, 9))
    weight += weight.T

    def total(vector):
        h = Hyper.of(vector, shares, 0)
        return float(np.sum(weight * np.exp(h.signal) * Block.of(x, h).correlation))

    vector, step = hyper.vector(), 1e-5
    moves = step * np.eye(len(vector))[:-1]  # all but the noise, which is not the kernel's
    expected = [(total(vector + move) - total(vector - move)) / (2 * step) for move in moves]
    np.testing.assert_allclose(Block.of(x, hyper).gradient(x, weight), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("order", [[1, 0, 2, 3], [0, 1, 3, 2], [1, 0, 3, 2]])
def test_the_order_of_features_is_irrelevant(order):
    hyper, x = hyper_of(2, 2, 0), features(8, 2, 2)
    moved = Hyper(hyper.signal, hyper.lengths[order], hyper.offsets[order[:2]], hyper.noise, hyper.run_noise)
    one, other = Block.of(x, hyper), Block.of(x[:, order], moved)
    np.testing.assert_allclose(other.correlation, one.correlation, atol=1e-12)


def test_correlations_are_one_with_oneself_and_symmetrical():
    block = Block.of(features(20, 3, 1), hyper_of(3, 1, 0))
    np.testing.assert_array_equal(np.diag(block.correlation), 1.0)
    np.testing.assert_allclose(block.correlation, block.correlation.T, atol=1e-14)
    assert np.linalg.eigvalsh(block.correlation).min() > 0


def test_without_features_all_runs_are_alike():
    block = Block.of(np.zeros((5, 0)), hyper_of(0, 0, 0))
    np.testing.assert_array_equal(block.correlation, np.ones((5, 5)))
    assert block.gradient(np.zeros((5, 0)), np.eye(5)).shape == (1,)


def test_noise_grows_with_what_makes_runs_unlucky():
    hyper = Hyper(0.0, np.zeros(1), np.zeros(0), np.log(0.3), np.array([2.0]))
    np.testing.assert_allclose(noise_variance(np.log([[1.0], [2.0]]), hyper), [0.3, 1.2])
    alike = Hyper(0.0, np.zeros(1), np.zeros(0), np.log(0.3), np.zeros(0))
    np.testing.assert_allclose(noise_variance(np.zeros((4, 0)), alike), 0.3)
