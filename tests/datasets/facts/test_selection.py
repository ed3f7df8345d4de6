"""Published figures on selections of documents: what they say of each step and share."""

import numpy as np
import pytest
from foretrain.datasets.facts.selection import selection_facts, selection_intensity
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

FACTS = selection_facts()
KEEPS = st.floats(0.01, 1.0)


def gain(steps, keep):
    found = FACTS.gain({step: np.array([share]) for step, share in FACTS.keeps(steps, keep).items()})
    return float(found[0][0]), float(found[1][0])


def test_utilities_of_tenths_lie_on_a_line_in_the_score():
    """Goyal et al. 2024: so the mean utility of the best share is in proportion to the mean score of that share."""
    ends = norm.pdf(norm.isf(np.array([0.0, 0.1, 0.2, 0.3, 0.4])))
    scores = np.diff(ends) / 0.1
    r2 = [np.corrcoef(scores, utility)[0, 1] ** 2 for utility in FACTS.facts["tenths"]["utility"]]
    assert np.round(r2, 2).tolist() == [0.94, 1.0]
    sample = np.sort(np.random.default_rng(0).standard_normal(200_000))[::-1]
    for keep in (0.05, 0.3, 0.8):
        assert selection_intensity(keep) == pytest.approx(sample[: int(keep * len(sample))].mean(), abs=0.01)


def test_published_figures_are_met():
    assert np.exp(gain(["judge"], 30 / 260)[0]) == pytest.approx(1.5, rel=0.01)
    low, high = (gain(["judge"], 0.115)[0] + 1.6449 * end * gain(["judge"], 0.115)[1] for end in (-1, 1))
    assert low < 0 < high == pytest.approx(FACTS.facts["most_log_gain"]["value"], abs=0.02)
    ends = FACTS.facts["efficiency"]["by_source"]
    assert ends["penedo2024"] == pytest.approx(2 * 1.09e8 * 15e12 / (6000 * 3600 * 989.4e12), rel=0.01)
    assert FACTS.efficiency == pytest.approx(np.sqrt(np.prod(list(ends.values()))), abs=0.005)


@given(st.lists(st.sampled_from([*FACTS.known, "tarot"]), min_size=1, max_size=5, unique=True), KEEPS, KEEPS)
def test_stricter_selections_gain_more_and_are_more_in_doubt(steps, one, other):
    low, high = sorted((one, other))
    strict, loose = gain(steps, low), gain(steps, high)
    assert strict[0] >= loose[0] - 1e-12
    assert strict[1] >= loose[1] - 1e-12
    assert 0.0 <= strict[0] <= FACTS.facts["most_log_gain"]["value"]
    assert gain(steps, 1.0) == (0.0, 0.0)


def test_several_steps_gain_more_than_each_and_less_than_their_sum():
    for keep in (0.1, 0.5):
        both, judge, dedup = (gain(steps, keep)[0] for steps in (["dedup", "judge", "strata"], ["judge"], ["dedup"]))
        assert max(judge, dedup) < both < judge + dedup


def test_names_and_sources():
    assert [FACTS.step(name) for name in ("Ask-LLM", "minhash", "tarot")] == ["judge", "dedup", "unknown"]
    assert FACTS.judge_params(["dedup", "ask-llm"]) == 3e9
    assert any("2402.09668" in text for text in FACTS.sources(["judge"]))
    assert all(name in FACTS.facts["sources"] for step in FACTS.facts["steps"].values() for name in step["sources"])
