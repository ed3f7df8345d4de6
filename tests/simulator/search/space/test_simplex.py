"""Shares from independent numbers: within bounds, back again, whatever the order."""

import numpy as np
from foretrain.simulator.search.space.simplex import LEAST_U, from_shares, to_shares
from hypothesis import given, settings
from hypothesis import strategies as st

NUMBERS = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u, lower and upper bounds of some mix that exists."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 18))
    low = rng.dirichlet(np.ones(count)) * rng.uniform(0, 1)
    room = rng.dirichlet(np.ones(count)) * (1 - low.sum()) * rng.uniform(1, 4)
    high = np.ones(count) if rng.random() < 0.3 else np.minimum(low + np.maximum(room, 0), 1)
    if high.sum() < 1:
        high = np.ones(count)
    u = rng.uniform(LEAST_U, 1, count)
    u[rng.random(count) < 0.2] = 1.0  # who is to get nothing
    return u, low, high


@settings(deadline=None, max_examples=300)
@given(NUMBERS)
def test_shares_sum_to_one_within_bounds_and_come_back(seed):
    u, low, high = drawn(seed)
    shares = to_shares(u, low, high)
    assert abs(shares.sum() - 1) < 1e-9
    assert np.all(shares >= low - 1e-9)
    assert np.all(shares <= high + 1e-9)
    back = from_shares(shares, low)
    assert np.all((back >= LEAST_U) & (back <= 1))
    assert np.allclose(to_shares(back, low, high), shares, atol=1e-9)


@settings(deadline=None, max_examples=100)
@given(NUMBERS)
def test_permuting_domains_permutes_shares(seed):
    u, low, high = drawn(seed)
    order = np.random.default_rng(seed).permutation(len(u))
    assert np.allclose(to_shares(u[order], low[order], high[order]), to_shares(u, low, high)[order], atol=1e-12)


def test_uniform_numbers_are_uniform_on_the_simplex():
    """Dirichlet of ones: each share has mean 1/k and variance (k - 1) / (k² (k + 1))."""
    rng, count = np.random.default_rng(0), 4
    shares = np.array([to_shares(rng.uniform(0, 1, count), np.zeros(count), np.ones(count)) for _ in range(20_000)])
    assert np.allclose(shares.mean(axis=0), 1 / count, atol=0.005)
    assert np.allclose(shares.var(axis=0), (count - 1) / (count**2 * (count + 1)), rtol=0.05)


def test_nobody_wanted_means_shared_by_room():
    assert np.allclose(to_shares(np.ones(2), np.zeros(2), np.ones(2)), 0.5)
    assert np.allclose(to_shares(np.array([1.0, 0.5]), np.zeros(2), np.array([1.0, 0.4])), [0.6, 0.4])
