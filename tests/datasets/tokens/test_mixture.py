from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError, UsageError
from foretrain.datasets.tokens.mixture import DomainUse, Mixture, validation_rows
from foretrain.datasets.tokens.store import Windows
from hypothesis import given, settings
from hypothesis import strategies as st

CONTEXT = 8


class FakeStore:
    """What a mixture asks of a store; token values say domain and place, so that a row says where it comes from."""

    digest = "0" * 64

    def __init__(self, tokens):
        self.tokens = dict(tokens)
        self.domains = tuple(self.tokens)

    def count(self, domain, split):
        return self.tokens[domain] if split == "train" else self.tokens[domain] // 4

    def windows(self, domain, split, context_length, selection=None):
        start = 10**6 * (1 + self.domains.index(domain))
        tokens = start + np.arange(self.count(domain, split))
        # Two shards, the first of an odd length.
        return Windows([tokens[: len(tokens) // 3], tokens[len(tokens) // 3 :]], context_length)


STORE = FakeStore({"books": 1000, "code": 3000, "web": 500})
WEIGHTS = {"books": 0.5, "code": 0.3, "web": 0.2}


def origins(rows, store=STORE):
    """The domain and the first token of each row."""
    return [(store.domains[int(first) // 10**6 - 1], int(first)) for first in rows[:, 0]]


@st.composite
def runs(draw):
    shares = np.array(draw(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.1)))
    weights = dict(zip(STORE.domains, (shares / shares.sum()).tolist(), strict=True))
    stocks = draw(st.dictionaries(st.sampled_from(STORE.domains), st.integers(CONTEXT, 400)))
    return Mixture(STORE, weights, CONTEXT, draw(st.integers(1, 600)), draw(st.integers(0, 2**40)), stocks)


@settings(deadline=None, max_examples=100)
@given(runs(), st.data())
def test_a_resumed_run_reads_what_the_straight_one_would_have(mixture, data):
    straight = mixture.rows(0, mixture.sequences)
    assert straight.shape == (mixture.sequences, CONTEXT + 1)
    assert straight.dtype == np.int64
    stops = data.draw(st.lists(st.integers(0, mixture.sequences), max_size=4))
    bounds = [0, *sorted(stops), mixture.sequences]
    parts = [mixture.rows(start, stop) for start, stop in pairwise(bounds)]
    np.testing.assert_array_equal(np.concatenate(parts), straight)


@settings(deadline=None, max_examples=100)
@given(runs(), st.data())
def test_the_account_is_what_was_read(mixture, data):
    done = data.draw(st.integers(0, mixture.sequences))
    read = Counter(domain for domain, _ in origins(mixture.rows(0, done))) if done else Counter()
    for domain, use in mixture.account(done).items():
        assert use.tokens == read[domain] * CONTEXT
        assert use.epochs == use.tokens / use.unique_tokens
    assert sum(use.tokens for use in mixture.account(done).values()) == done * CONTEXT


@settings(deadline=None, max_examples=100)
@given(runs())
def test_each_window_comes_once_per_epoch(mixture):
    read = origins(mixture.rows(0, mixture.sequences))
    for domain, use in mixture.account().items():
        firsts = [first for owner, first in read if owner == domain]
        stock = use.unique_tokens // CONTEXT
        epochs = [firsts[start : start + stock] for start in range(0, len(firsts), stock)]
        for epoch in epochs:
            assert len(set(epoch)) == len(epoch)
            assert set(epoch) <= set(epochs[0])


def test_rows_are_runs_of_tokens_and_never_cross_shards():
    rows = Mixture(STORE, WEIGHTS, CONTEXT, 500, 0).rows(0, 500)
    assert (np.diff(rows, axis=1) == 1).all()
    assert {first for domain, first in origins(rows) if domain == "web"} == {
        *range(3_000_000, 3_000_000 + 166 - CONTEXT, CONTEXT),
        *range(3_000_166, 3_000_500 - CONTEXT, CONTEXT),
    }


def test_epochs_differ_in_order_and_seeds_in_all():
    only = {"web": 1.0}
    mixture = Mixture(STORE, only, CONTEXT, 183, 0)
    first, second, third = (mixture.rows(start, start + 61) for start in (0, 61, 122))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
    np.testing.assert_array_equal(np.sort(first[:, 0]), np.sort(second[:, 0]))
    assert not np.array_equal(first, Mixture(STORE, only, CONTEXT, 183, 1).rows(0, 61))
    np.testing.assert_array_equal(first, Mixture(STORE, only, CONTEXT, 183, 0).rows(0, 61))


def test_a_stock_is_the_same_for_every_seed_and_part_of_a_larger_one():
    def stock(tokens, seed):
        mixture = Mixture(STORE, {"code": 1}, CONTEXT, 400, seed, {"code": tokens})
        return set(origins(mixture.rows(0, 400)))

    assert stock(160, 0) == stock(160, 1)
    assert len(stock(160, 0)) == 20
    assert stock(160, 0) < stock(801, 0)
    assert len(stock(801, 0)) == 100


def test_another_domain_beside_it_changes_no_order():
    alone = origins(Mixture(STORE, {"web": 1}, CONTEXT, 60, 7).rows(0, 60))
    mixed = [o for o in origins(Mixture(STORE, WEIGHTS, CONTEXT, 300, 7).rows(0, 300)) if o[0] == "web"]
    assert mixed == alone[: len(mixed)] + mixed[len(alone) :]


def test_weights_are_renormalised_and_zeros_left_out():
    mixture = Mixture(STORE, {"web": 0.504, "code": 0, "books": 0.504}, CONTEXT, 100, 0)
    assert mixture.domains == ("books", "web")
    assert mixture.weights == {"books": 0.5, "web": 0.5}
    assert mixture.account() == {"books": DomainUse(400, 992, 400 / 992), "web": DomainUse(400, 488, 400 / 488)}


@pytest.mark.parametrize(
    ("change", "error", "fragment"),
    [
        ({"weights": {"books": 0.5}}, ConfigError, r"weights: sum to 0\.5; expected 1"),
        ({"weights": {}}, ConfigError, "weights: sum to 0;"),
        ({"weights": {"boks": 1}}, ConfigError, "no domain 'boks'; the domains are books, code, web"),
        ({"weights": {"books": 1.5, "web": -0.5}}, ConfigError, "'web': got -0.5"),
        ({"weights": {"books": float("nan")}}, ConfigError, "'books': got nan"),
        ({"sequences": 0}, ConfigError, "sequences: got 0"),
        ({"sequences": 2**31}, ConfigError, "sequences: got 2147483648; expected 1 to 2147483647"),
        ({"seed": -1}, ConfigError, "seed: got -1"),
        ({"context_length": 0}, ConfigError, "context_length: got 0"),
        ({"context_length": 400}, CorpusError, "'web': its training text holds no window of 401"),
        ({"unique_tokens": {"web": 7}}, ConfigError, "'web': got 7; expected at least the context of 8"),
        ({"unique_tokens": {"wb": 7}}, ConfigError, "unique_tokens: there is no domain 'wb'"),
        ({"max_epochs": {"wb": 7}}, ConfigError, "max_epochs: there is no domain 'wb'"),
        ({"max_epochs": {"web": 1.2}}, CorpusError, "'web': the run needs 1.64 epochs of its 488 tokens.* allows 1.2"),
        (
            {"unique_tokens": {"web": 1e9}},
            CorpusError,
            "'web': the run needs 800 tokens of a stock of 1.00B.*holds 488",
        ),
    ],
)
def test_what_can_not_be_run_is_refused(change, error, fragment):
    given = {"weights": WEIGHTS, "context_length": CONTEXT, "sequences": 500, "seed": 0, **change}
    with pytest.raises(error, match=fragment):
        Mixture(STORE, **given)


def test_a_stock_larger_than_the_store_is_fine_while_nothing_repeats():
    use = Mixture(STORE, WEIGHTS, CONTEXT, 100, 0, {"code": 1e12}, {"code": 1}).account()["code"]
    assert use.epochs < 1
    assert use.unique_tokens == 2984


def test_rows_outside_the_run_are_refused():
    mixture = Mixture(STORE, WEIGHTS, CONTEXT, 100, 0)
    assert mixture.rows(100, 100).shape == (0, CONTEXT + 1)
    for bounds in ((-1, 5), (5, 4), (0, 101)):
        with pytest.raises(UsageError, match="the run has sequences 0 to 100"):
            mixture.rows(*bounds)
    with pytest.raises(UsageError, match="account: got 101"):
        mixture.account(101)


def test_validation_rows_are_evenly_spread_and_fixed():
    everything = validation_rows(STORE, "code", CONTEXT, 10**9)
    assert len(everything) == len(STORE.windows("code", "valid", CONTEXT)) == 93
    some = validation_rows(STORE, "code", CONTEXT, 10 * CONTEXT + 3)
    assert some.shape == (10, CONTEXT + 1)
    np.testing.assert_array_equal(some, everything[np.arange(10) * 93 // 10])


def test_validation_says_what_it_lacks():
    with pytest.raises(CorpusError, match="max_tokens: got 7; expected at least the context of 8"):
        validation_rows(STORE, "code", CONTEXT, 7)
    with pytest.raises(CorpusError, match="'web': its 125 validation tokens hold no window of 201"):
        validation_rows(STORE, "web", 200, 10**6)
