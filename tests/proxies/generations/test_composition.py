"""What a generation's corpus is made of: shares and limits, whatever the regime."""

import math

import pytest
from foretrain.proxies.generations.composition import composition
from hypothesis import given
from hypothesis import strategies as st

REGIMES = ("replace", "accumulate", "accumulate_fixed", "subsample", "fresh")


@given(st.sampled_from(REGIMES), st.floats(0, 0.99), st.integers(1, 200))
def test_shares_sum_to_1_and_follow_what_is_distinct(regime, real_share, generation):
    made = composition(regime, real_share, generation)
    assert math.fsum([made.real, *made.texts.values()]) == pytest.approx(1)
    assert made.texts.keys() == made.distinct.keys() <= set(range(1, generation + 1))
    amounts = [made.distinct_real, *made.distinct.values()]
    assert all(0 <= amount <= 1 for amount in amounts)
    # every distinct token is drawn as often as any other
    for share, amount in zip([made.real, *made.texts.values()], amounts, strict=True):
        assert share * math.fsum(amounts) == pytest.approx(amount)


@given(st.sampled_from(REGIMES), st.integers(1, 200))
def test_only_accumulate_trains_longer_and_only_the_accumulating_hold_more(regime, generation):
    made = composition(regime, 0.0, generation)
    held = made.distinct_real + math.fsum(made.distinct.values())
    assert made.tokens == (generation + 1 if regime == "accumulate" else 1)
    assert held == pytest.approx(generation + 1 if regime.startswith("accumulate") else 1)
    assert generation in made.texts
    assert len(made.texts) == (1 if regime in ("replace", "fresh") else generation)
