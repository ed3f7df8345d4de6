import numpy as np
import pytest
from foretrain.datasets.tokens.interleave import MAX_TURNS, Interleave
from hypothesis import given, settings
from hypothesis import strategies as st

WEIGHTS = st.lists(st.floats(1e-6, 1), min_size=1, max_size=30)
MANY = settings(deadline=None, max_examples=200)


def order(weights, seed, turns):
    return Interleave(weights, np.random.default_rng(seed)).turns(np.arange(turns))


def discrepancy(weights, seed, turns=1500):
    party, _ = order(weights, seed, turns)
    had = np.cumsum(np.eye(len(weights))[party], axis=0)
    due = np.arange(1, turns + 1)[:, None] * (np.array(weights) / np.sum(weights))
    return np.abs(had - due).max()


@MANY
@given(WEIGHTS, st.integers(0, 2**32))
def test_every_party_is_within_two_turns_of_its_share_at_all_times(weights, seed):
    assert discrepancy(weights, seed) < 2


@pytest.mark.parametrize("parties", range(1, 41))
def test_equal_and_steep_weights_stay_within_two_turns(parties):
    for weights in (np.ones(parties), 0.5 ** np.arange(parties), np.r_[parties, np.ones(parties)]):
        assert discrepancy(weights.tolist(), parties) < 2


def test_the_error_does_not_grow_with_the_run():
    weights = np.random.default_rng(0).dirichlet(np.ones(12))
    turns = Interleave(weights.tolist(), np.random.default_rng(1))
    for count in (10**3, 10**6, 10**9, MAX_TURNS):
        counts = turns.counts(count)
        assert counts.sum() == count
        assert np.abs(counts - count * weights).max() < 2.5  # shares are rounded to 2^-32


@MANY
@given(WEIGHTS, st.integers(0, 99), st.integers(0, 300))
def test_counts_are_those_of_the_turns(weights, seed, turns):
    party, before = order(weights, seed, turns)
    counts = Interleave(weights, np.random.default_rng(seed)).counts(turns)
    np.testing.assert_array_equal(counts, np.bincount(party, minlength=len(weights)))
    for number in range(len(weights)):
        np.testing.assert_array_equal(before[party == number], np.arange(counts[number]))


def test_a_late_turn_is_exact_and_the_same_for_whoever_asks():
    turns = Interleave([0.1, 0.2, 0.3, 0.4], np.random.default_rng(3))
    last = np.arange(MAX_TURNS - 100, MAX_TURNS)
    party, before = turns.turns(last)
    np.testing.assert_array_equal(before[party == 2], np.arange((party == 2).sum()) + before[party == 2][0])
    assert before[party == 2][-1] + 1 == turns.counts(MAX_TURNS)[2]
    alone = [int(turns.turns(np.array([turn]))[0][0]) for turn in last]
    assert party.tolist() == alone


def test_seeds_give_different_orders_and_one_seed_the_same():
    weights = np.random.default_rng(0).dirichlet(np.ones(12)).tolist()
    orders = {tuple(order(weights, seed, 100)[0].tolist()) for seed in range(10)}
    assert len(orders) == 10
    np.testing.assert_array_equal(order(weights, 4, 100), order(weights, 4, 100))
