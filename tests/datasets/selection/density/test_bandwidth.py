"""The rates at which documents arrive say how often each is kept."""

import numpy as np
import pytest
from foretrain.datasets.selection.density.bandwidth import edited, race_shares
from foretrain.datasets.selection.quota import best
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.floats(1e-3, 1), min_size=2, max_size=30), st.floats(0.01, 1))
def test_shares_add_up_to_what_is_kept_and_follow_the_rates(rates, keep):
    rates = np.array(rates)
    shares = race_shares(rates, np.ones(len(rates)), keep)
    assert np.isclose(shares.mean(), keep, atol=1e-6)
    assert (np.diff(shares[np.argsort(rates)]) >= 0).all()


def test_draws_keep_documents_as_often_as_that():
    rng = np.random.default_rng(0)
    rates = np.concatenate([np.full(300, 0.05), np.full(300, 1.0)])
    drawn = [best(np.log(rates) + rng.gumbel(size=600), np.ones(600), 0.5, rng) for _ in range(20)]
    often = np.mean(drawn, axis=0)
    assert often[:300].mean() == pytest.approx(race_shares(rates, np.ones(600), 0.5)[0], abs=0.02)


def test_an_edited_text_has_nine_words_in_ten():
    words = [f"word{number}" for number in range(100)]
    changed = edited(words, ["other"], np.random.default_rng(0))
    assert (len(changed), changed.count("other")) == (100, 10)
