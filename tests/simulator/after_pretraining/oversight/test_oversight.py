"""Nested oversight: chances that fall with gap and favour, the best number of levels, and what is published."""

import numpy as np
import pytest
from foretrain.datasets.facts.after_pretraining.oversight import oversight_facts
from foretrain.simulator.after_pretraining.oversight.nested import MOST_LEVELS, best_levels, favour_of, success
from foretrain.simulator.after_pretraining.oversight.outlook import PUBLISHED, oversight_outlook
from foretrain.simulator.config.run_config import RunConfig
from hypothesis import given
from hypothesis import strategies as st

GAPS, LEVELS = st.floats(0, 2_000), st.integers(1, MOST_LEVELS)
SLOPES, FAVOURS = st.floats(0.1, 5.0), st.floats(-800, 800)


@given(GAPS, LEVELS, SLOPES, FAVOURS)
def test_chances_fall_with_gap_and_favour(gap, levels, slope, favour):
    slope, favour = np.array([slope]), np.array([favour])
    chance = success(gap, levels, slope, favour)
    assert 0 <= chance <= 1
    assert success(gap + 50, levels, slope, favour) <= chance
    assert success(gap, levels, slope, favour + 50) <= chance


@given(GAPS, LEVELS, SLOPES, FAVOURS)
def test_no_number_of_levels_beats_the_best(gap, levels, slope, favour):
    slope, favour = np.array([slope]), np.array([favour])
    best = best_levels(gap, slope, favour)
    assert success(gap, best, slope, favour) >= success(gap, levels, slope, favour)


@given(st.floats(0.02, 0.95), st.floats(10, 1_000), SLOPES)
def test_the_favour_gives_back_the_chance(chance, gap, slope):
    slope = np.array([slope])
    favour = favour_of(np.array([chance]), gap, slope)
    assert success(gap, best_levels(gap, slope, favour), slope, favour) == pytest.approx(chance, abs=1e-6)


def outlook(label_hours=None, **stated):
    plan = {"model": {"params": "7B"}, "data": {"tokens": "2T"}, "oversight": {"kind": "debate", **stated}}
    return oversight_outlook(RunConfig.from_mapping(plan), label_hours)


@pytest.mark.parametrize("kind", oversight_facts().kinds)
def test_at_the_published_gap_the_published_chance_is_the_middle(kind):
    found = outlook(kind=kind, elo_gap=400)
    assert found.success.median == pytest.approx(oversight_facts().success(kind), abs=0.01)
    assert PUBLISHED in found.sentence
    assert found.to_dict()["evidence"] == PUBLISHED
    assert any("2504.18530" in source for source in found.sources)


def test_beyond_the_published_gap_the_interval_is_wider():
    widths = []
    for beyond in (400, 1600):
        low, high = np.array(outlook(elo_gap=beyond, levels=3, allow_extrapolation=True).success.intervals[0.9])
        widths.append(np.log(high / (1 - high)) - np.log(low / (1 - low)))
    assert widths[1] > 1.5 * widths[0]
    assert any("beyond the published" in note for note in outlook(elo_gap=800, allow_extrapolation=True).notes)


def test_levels_that_are_stated_never_beat_the_best_ones():
    for levels in (1, 2, 5, 20):
        found = outlook(elo_gap=400, levels=levels)
        assert found.success.median <= found.best_success.median
