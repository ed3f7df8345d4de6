"""Known figures on synthetic text: what they say of regimes, shares, generations and writers."""

import math

import numpy as np
import pytest
from foretrain.datasets.facts.synthetic import UNKNOWN_KIND, synthetic_facts
from foretrain.simulator.laws import get_law
from hypothesis import given
from hypothesis import strategies as st

FACTS = synthetic_facts()
HARMFUL = ("replace", "accumulate", "accumulate_fixed", "subsample")
KINDS = (*FACTS.known, UNKNOWN_KIND)
ONE = np.ones(1)


def rise(regime, share, generation, kind="self"):
    found = FACTS.rise(regime, kind, share * ONE, generation * ONE)
    return float(found[0][0]), float(found[1][0])


@given(st.sampled_from(HARMFUL), st.integers(1, 30), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_more_generations_and_larger_shares_never_do_less_harm(regime, generation, one, other):
    most = 1.0 if regime == "replace" else generation / (generation + 1)
    small, large = sorted((one * most, other * most))
    values = [rise(regime, share, generation)[0] for share in (small, large)]
    assert 0.0 < values[0] <= values[1] < FACTS.facts["most_log_loss"]["value"]
    assert rise(regime, small, generation + 1)[0] >= values[0] or regime != "replace"
    assert rise(regime, large, generation)[1] >= FACTS.facts["least_log_sd"]


def test_a_chain_is_in_the_interval_of_every_set_up_behind_it():
    """Under replace and accumulate at generation 3, as published and as measured, log of the loss over the first."""
    seen = {
        "replace": (math.log(1.8513 / 1.5021), math.log(1 + 0.325 / 1.974), math.log(2.2138 / 1.0645)),
        "accumulate": (math.log(1.5021 + 0.132) - math.log(1.5021), math.log(1.106 / 1.0645)),
    }
    for regime, logs in seen.items():
        share = 1.0 if regime == "replace" else 0.75
        middle, log_sd = rise(regime, share, 3)
        assert all(abs(math.log(one / middle)) < 1.6449 * log_sd for one in logs)
        assert min(logs) < middle < max(logs)


def test_nothing_synthetic_does_nothing():
    for regime, share, generation in (("replace", 0.0, 3), ("replace", 0.5, 0), ("fresh", 0.5, 3)):
        assert rise(regime, share, generation) == (0.0, 0.0)


@given(st.sampled_from(KINDS), st.floats(0.0, 1.0))
def test_gains_are_those_of_the_best_share_at_most(kind, share):
    gain, sd = (float(one[0]) for one in FACTS.gain(kind, share * ONE))
    best = float(FACTS.gain(kind, 0.3 * ONE)[0][0])
    assert 0.0 <= gain <= best + 1e-12
    assert sd >= 0.0
    assert share or (gain, sd) == (0.0, 0.0)


def test_published_figures_are_met():
    ends = FACTS.facts["efficiency"]["by_source"]
    assert ends["deepseek2025"] == pytest.approx(2 * 37e9 * 14800 / (8 * 989.4e12), abs=0.001)
    assert ends["cosmopedia2024"] == pytest.approx(2 * 12.9e9 * 25e9 / (1e4 * 3600 * 989.4e12), abs=0.001)
    assert FACTS.efficiency == pytest.approx(math.sqrt(math.prod(ends.values())), abs=0.005)
    assert math.sqrt(ends["deepseek2025"] / ends["cosmopedia2024"]) == pytest.approx(
        math.exp(1.6449 * FACTS.efficiency_log_sd), rel=0.02
    )
    bands = {1.0: 0.025, 0.85: 0.1551, 0.555: 0.205, 0.255: 0.2586, 0.055: 0.0987}  # of Ahrefs, by the middle of each
    assert sum(share * pages for share, pages in bands.items()) == pytest.approx(0.34, abs=0.01)
    assert set(FACTS.facts["evidence"]) == set(FACTS.facts["sources"])
    assert set(FACTS.facts["evidence"].values()) == {"read", "recalled", "measured"}


def test_the_law_of_synthetic_text_starts_from_the_same_figures():
    law = get_law("general+synthetic", (), {"generator": ("none", "self"), "regime": ("real", *HARMFUL)})
    priors = {one.name.removeprefix("synthetic_"): one for one in law.parameters}
    for own, name in (
        ("share", "share_power"),
        ("growth", "growth"),
        ("memory", "memory"),
        ("decay", "decay.subsample"),
    ):
        assert FACTS.facts["powers"][own] == [priors[name].mean, priors[name].sd]
    assert [FACTS.facts["tail"]["log_worth"], FACTS.facts["tail"]["sd"]] == pytest.approx(
        [priors["log_tail"].mean, priors["log_tail"].sd], abs=1e-3
    )
    harms = {regime: np.log(np.expm1(list(FACTS.set_ups(regime).values()))) for regime in HARMFUL}
    assert math.exp(priors["log_harm.replace"].mean) == pytest.approx(math.exp(harms["replace"].mean()), rel=0.15)
    others = np.concatenate([harms[regime] for regime in HARMFUL[1:]])
    for regime in HARMFUL[1:]:
        assert math.exp(priors[f"log_harm.{regime}"].mean) == pytest.approx(math.exp(others.mean()), rel=0.15)
