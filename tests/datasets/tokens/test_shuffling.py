import numpy as np
from foretrain.datasets.tokens.shuffling import MAX_SIZE, shuffle_key, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st

KEYS = st.integers(0, 2**64 - 1)


def permutation(size, key):
    return shuffled(np.arange(size), np.full(size, size), np.full(size, key, np.uint64))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 3000), KEYS)
def test_it_is_a_bijection(size, key):
    np.testing.assert_array_equal(np.sort(permutation(size, key)), np.arange(size))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 500), KEYS, st.integers(1, 500), KEYS)
def test_sizes_and_keys_are_each_number_s_own(size, key, other_size, other_key):
    numbers = np.r_[np.arange(size), np.arange(other_size)]
    sizes = np.repeat([size, other_size], [size, other_size])
    keys = np.repeat(np.array([key, other_key], np.uint64), [size, other_size])
    expected = np.r_[permutation(size, key), permutation(other_size, other_key)]
    np.testing.assert_array_equal(shuffled(numbers, sizes, keys), expected)


def test_a_part_of_a_huge_permutation_is_cheap_distinct_and_spread():
    for size in (10**9 + 7, MAX_SIZE):
        part = shuffled(np.arange(20_000), np.full(20_000, size), np.full(20_000, 5, np.uint64))
        assert len(np.unique(part)) == 20_000
        assert part.min() >= 0
        assert part.max() < size
        counts = np.histogram(part, bins=10, range=(0, size))[0]
        assert np.abs(counts - 2000).max() < 250  # five standard deviations and more


def test_it_looks_random():
    """Places, steps and pairs of keys are as uncorrelated as those of a stored shuffle of this size."""
    size = 10_000
    one, two = permutation(size, 1), permutation(size, 2)
    bound = 5 / np.sqrt(size)
    assert abs(np.corrcoef(one, np.arange(size))[0, 1]) < bound
    assert abs(np.corrcoef(one, two)[0, 1]) < bound
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < bound
    assert (one == np.arange(size)).sum() < 10


def test_small_sizes_reach_every_order_about_equally_often():
    orders = [tuple(permutation(3, key).tolist()) for key in range(6000)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert max(counts) < 1.3 * min(counts)


def test_keys_depend_on_every_part():
    assert len({shuffle_key("a", 1, "x"), shuffle_key("a", 1, "y"), shuffle_key("a", 2, "x"), shuffle_key("b")}) == 4
    assert shuffle_key("order", 0, "ü") == shuffle_key("order", 0, "ü") < 2**64
