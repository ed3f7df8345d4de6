import itertools
import math

import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.corpus.synthetic import MarkovSource, SyntheticConfig, ZipfSource, build_source
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError


def chain(**settings) -> MarkovSource:
    source = build_source(SyntheticConfig(kind="zipf_markov", **settings))
    assert isinstance(source, MarkovSource)
    return source


def matrix(source: MarkovSource) -> np.ndarray:
    """Transition matrix, (vocab_size, vocab_size), rows sum to 1."""
    table = np.zeros((source.vocab_size, source.vocab_size))
    np.put_along_axis(table, source.successors, np.tile(source.probabilities, (source.vocab_size, 1)), axis=1)
    return table


@settings(max_examples=40, deadline=None)
@given(vocab=st.integers(2, 40), branching=st.integers(2, 12), exponent=st.floats(0, 2), seed=st.integers(0, 2**32 - 1))
def test_the_entropy_rate_is_that_of_the_transition_matrix(vocab, branching, exponent, seed):
    source = chain(vocab_size=vocab, branching=min(vocab, branching), exponent=exponent, seed=seed)
    table = matrix(source)
    assert np.allclose(table.sum(axis=1), 1)  # the successors of a state are distinct
    # the stationary distribution once more, from linear equations
    equations = np.vstack([table.T - np.eye(vocab), np.ones(vocab)])
    stationary = np.linalg.lstsq(equations, np.r_[np.zeros(vocab), 1], rcond=None)[0]
    assert np.allclose(stationary, source.stationary, atol=1e-9)
    rows = -np.where(table > 0, table * np.log(np.where(table > 0, table, 1)), 0).sum(axis=1)
    assert math.isclose(stationary @ rows, source.entropy_nats, abs_tol=1e-9)
    assert source.entropy_nats <= source.unigram_entropy_nats + 1e-9


def test_every_token_is_reached_from_every_other():
    source = chain(vocab_size=300, branching=2, exponent=3, seed=5)
    assert all(state + 1 in row for state, row in enumerate(source.successors[:-1].tolist()))
    assert source.stationary.min() > 0


def test_counts_of_a_long_sample_give_the_entropy():
    source = chain(vocab_size=64, branching=8, seed=1)
    tokens = source.sample(np.random.default_rng(0), 1_000_000).astype(np.int64)
    pairs = np.bincount(tokens[:-1] * 64 + tokens[1:], minlength=64 * 64).reshape(64, 64)
    assert ((pairs > 0) <= (matrix(source) > 0)).all()  # no step that the table doesn't have
    joint = pairs[pairs > 0] / pairs.sum()
    single = np.bincount(tokens, minlength=64) / len(tokens)
    unigram = -(single[single > 0] * np.log(single[single > 0])).sum()
    conditional = -(joint * np.log(joint)).sum() - unigram
    assert abs(conditional - source.entropy_nats) < 0.003
    assert abs(unigram - source.unigram_entropy_nats) < 0.003
    assert np.abs(single - source.stationary).max() < 0.003


def test_a_chain_has_no_seams_between_the_parts_it_is_drawn_in(monkeypatch):
    monkeypatch.setattr("foretrain.datasets.corpus.synthetic._TOKENS_AT_ONCE", 7)
    source = chain(vocab_size=200, branching=2)
    tokens = source.sample(np.random.default_rng(0), 100)
    assert all(after in source.successors[before] for before, after in itertools.pairwise(tokens))


def test_independent_tokens():
    source = build_source(SyntheticConfig(kind="zipf", vocab_size=1000, exponent=1.2, seed=3))
    assert isinstance(source, ZipfSource)
    weights = np.arange(1, 1001) ** -1.2
    expected = -(weights / weights.sum() * np.log(weights / weights.sum())).sum()
    assert math.isclose(source.entropy_nats, expected, rel_tol=1e-12)
    counts = np.bincount(source.sample(np.random.default_rng(0), 500_000), minlength=1000) / 500_000
    assert np.allclose(np.sort(counts)[::-1][:10], (weights / weights.sum())[:10], atol=0.003)
    assert math.isclose(source.unigram_entropy_nats, source.entropy_nats)


@pytest.mark.parametrize("kind", ["zipf", "zipf_markov"])
def test_equal_seeds_give_equal_tokens(kind):
    config = SyntheticConfig(kind=kind, vocab_size=50, seed=7)
    first, second = (build_source(config).sample(np.random.default_rng(1), 1000) for _ in range(2))
    assert first.dtype == np.uint16
    assert (first == second).all()
    other = build_source(config.model_copy(update={"seed": 8})).sample(np.random.default_rng(1), 1000)
    assert (first != other).any()
    assert len(build_source(config).sample(np.random.default_rng(1), 0)) == 0


def test_largest_vocabulary_fits_16_bits():
    tokens = build_source(SyntheticConfig(kind="zipf", vocab_size=65_536, exponent=0)).sample(
        np.random.default_rng(0), 200_000
    )
    assert tokens.max() > 65_000


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"kind": "zipf_markov", "vocab_size": 10_000}, "at most 8192"),
        ({"kind": "zipf_markov", "vocab_size": 4, "branching": 5}, "at most vocab_size 4"),
        ({"kind": "zipf", "vocab_size": 70_000}, "65536"),
        ({"kind": "zipf", "vocab_size": 1}, "greater than or equal to 2"),
        ({"kind": "zipf", "exponent": float("nan")}, "finite"),
        ({"kind": "zipf", "tokens": 0}, "greater than 0"),
        ({"kind": "other"}, "zipf_markov"),
    ],
)
def test_wrong_settings_are_refused(settings, fragment):
    with pytest.raises(ValidationError, match=fragment):
        SyntheticConfig(**settings)


def test_a_chain_that_does_not_settle_is_refused(monkeypatch):
    monkeypatch.setattr("foretrain.datasets.corpus.synthetic._STATIONARY_STEPS", 3)
    with pytest.raises(ConfigError, match="raise branching or lower exponent"):
        chain(vocab_size=500, branching=2)
