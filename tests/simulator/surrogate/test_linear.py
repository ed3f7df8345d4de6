"""Roots of covariances against plain numpy."""

import numpy as np
import pytest
from foretrain.simulator.surrogate._linear import any_root, half_inverse, inverse_root, lower_root, solve, whiten


@pytest.fixture
def covariance() -> np.ndarray:
    factor = np.random.default_rng(0).standard_normal((12, 20))
    return factor @ factor.T


def test_roots_are_numpys(covariance):
    expected = np.linalg.cholesky(covariance)
    for root in (lower_root(covariance.copy()), any_root(covariance.copy())):
        assert root is not None
        np.testing.assert_allclose(root, expected, atol=1e-12)


def test_what_is_solved_with_them(covariance):
    root, right = np.linalg.cholesky(covariance), np.random.default_rng(1).standard_normal((12, 3))
    np.testing.assert_allclose(solve(root, right), np.linalg.solve(covariance, right), rtol=1e-8)
    np.testing.assert_allclose(solve(root, right[:, 0]), np.linalg.solve(covariance, right[:, 0]), rtol=1e-8)
    np.testing.assert_allclose(whiten(root, right), np.linalg.solve(root, right), rtol=1e-8)
    np.testing.assert_allclose(inverse_root(root), np.linalg.inv(root), atol=1e-10)
    half = half_inverse(np.asfortranarray(root))
    np.testing.assert_allclose(half, np.tril(np.linalg.inv(covariance)), atol=1e-10)


def test_what_has_no_root(covariance):
    flat = np.ones((4, 4)) - 1e-3 * np.eye(4)
    assert any_root(flat.copy()) is None
    with pytest.raises(np.linalg.LinAlgError):
        lower_root(flat)
