import numpy as np
import pytest
from foretrain.core.errors import ConfigError
from foretrain.simulator.curve.law.multipower import FADE, S_REF, Shape, basis
from foretrain.simulator.curve.rates.path import (
    MAX_BLOCKS,
    Decay,
    RatePath,
    named_path,
    piecewise_path,
    pointwise_path,
    wsd_path,
)
from hypothesis import given, settings
from hypothesis import strategies as st

WAVY = RatePath(np.minimum(1, np.arange(1, 6001) / 300) * (0.55 + 0.45 * np.cos(np.arange(6000) / 400)), 300)


@st.composite
def jagged(draw):
    """Paths of up to 40 stages, up and down, after a warm-up."""
    steps, warmup = draw(st.integers(50, 400)), draw(st.integers(0, 40))
    starts = draw(st.lists(st.integers(41, steps), max_size=40, unique=True))
    return piecewise_path(steps, warmup, {start: draw(st.floats(0.01, 1.0)) for start in starts})


def exact(path, steps, shape):
    """The annealing term, one summand for each step at which the rate changes: the paper's, times what it is worth."""
    _, log_c, beta, gamma = shape
    sums = np.concatenate([[0.0], np.cumsum(path.rate)])
    at = np.flatnonzero(path.gaps)
    found = []
    for step in steps:
        past = at[at < step]
        x = np.exp(log_c) * np.maximum(path.rate[past], 1e-3) ** -gamma * (sums[step] - sums[past])
        worth = path.gaps[past] * (np.maximum(sums[past], 1) / S_REF) ** -FADE
        found.append(-np.sum(worth * (1 - (1 + x) ** -beta)))
    return np.array(found)


@pytest.mark.parametrize(
    "path",
    [
        named_path("cosine", 24000, 2160, 0.1),
        wsd_path(24000, 2160, 20000, 0.1, "exponential"),
        wsd_path(5100, 250, 3650, 0.0),
        wsd_path(5100, 250, 3650, 0.0, "sqrt"),
        piecewise_path(16000, 2160, {8000: 0.3, 12000: 0.6}),
        WAVY,
    ],
)
def test_blocks_agree_with_the_sum_over_every_gap(path):
    """Merged into blocks, a schedule of thousands of changes means almost the same loss: 4e-3 times a B of 0.15."""
    steps = np.linspace(path.warmup + 1, path.steps, 60).astype(int)
    found = basis(Shape().array(), path.decay(steps))[:, 2]
    assert np.max(np.abs(found - exact(path, steps, Shape().array()))) < 4e-3


@given(jagged())
def test_few_gaps_are_kept_one_by_one(path):
    steps = np.arange(path.warmup + 1, path.steps + 1)
    segments = 1 + np.count_nonzero(np.diff(np.sign(path.gaps[path.gaps != 0])))
    assert path.blocks <= MAX_BLOCKS * segments
    if np.count_nonzero(path.gaps) <= 3:
        found = basis(Shape().array(), path.decay(steps))[:, 2]
        np.testing.assert_allclose(found, exact(path, steps, Shape().array()), atol=1e-2)


@given(jagged())
def test_no_block_holds_both_a_fall_and_a_rise(path):
    signs = [np.unique(np.sign(path.gaps[a:b][path.gaps[a:b] != 0])) for a, b in path._edges]
    assert all(len(sign) == 1 for sign in signs)
    assert sum(np.count_nonzero(path.gaps[a:b]) for a, b in path._edges) == np.count_nonzero(path.gaps)


def test_a_wave_has_blocks_for_each_of_its_slopes():
    assert WAVY.blocks > 100


@given(jagged())
def test_the_drops_of_all_blocks_are_the_fall_so_far(path):
    decay = path.decay([path.steps])
    first = path.rate[min(path.warmup, path.steps - 1)]
    assert decay.drop.sum() == pytest.approx(first - path.rate[-1], abs=1e-9)


@given(jagged(), st.floats(1e-6, 1e3))
def test_the_unit_of_the_learning_rate_does_not_matter(path, unit):
    again = RatePath(unit * path.rate, path.warmup)
    np.testing.assert_allclose(again.rate, path.rate, rtol=1e-12)


def test_progress_is_linear_inside_a_step_and_stops_at_the_ends():
    path = RatePath(np.array([0.5, 1.0, 1.0, 0.5]), 1)
    assert path.behind([-1, 0, 0.5, 2, 4, 9]).tolist() == [0.0, 0.0, 0.25, 1.5, 3.0, 3.0]
    assert path.fallen([0, 1, 3, 4]).tolist() == [0.0, 0.0, 0.0, 0.5]


def test_stacked_runs_are_the_runs():
    parts = [path.decay(np.array([500.0, 900.0])) for path in (WAVY, named_path("constant", 1000, 100))]
    together = basis(Shape().array(), Decay.stack(parts))
    np.testing.assert_allclose(together, np.concatenate([basis(Shape().array(), part) for part in parts]), rtol=1e-12)


def test_schedules_by_hand():
    # Hägele et al. 2024 (arXiv:2405.18392), section 3: 1 - sqrt of the part of the decay that lies behind
    assert wsd_path(100, 10, 60, 0.0, "sqrt").rate[[59, 70, 96]] == pytest.approx([1, 0.5, 1 - np.sqrt(0.9)])
    # Hu et al. 2024 (arXiv:2404.06395), section 4.2: the same factor every step
    assert wsd_path(100, 10, 60, 0.01, "exponential").rate[[59, 80, 99]] == pytest.approx([1, 0.1, 0.01 ** (39 / 40)])
    assert piecewise_path(10, 2, {5: 0.3, 8: 0.1}).rate[[0, 1, 4, 5, 7, 8]].tolist() == [0.5, 1, 1, 0.3, 0.3, 0.1]
    assert pointwise_path(10, 2, {0: 0.0, 2: 4.0, 8: 1.0}).rate[[0, 1, 2, 5, 9]].tolist() == [0, 0.5, 1, 0.625, 0.25]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RatePath(np.array([1.0, -1.0])), "step 1: got -1"),
        (lambda: RatePath(np.array([1.0, np.nan])), "step 1: got nan"),
        (lambda: RatePath(np.zeros(3)), "not all zero"),
        (lambda: RatePath(np.ones(3), 4), "warmup: got 4; expected 0 to the run's 3 steps"),
        (lambda: wsd_path(100, 10, 50, 0.0, "exponential"), "never reaches 0"),
        (lambda: wsd_path(100, 10, 5, 0.1), "decay_start: got 5; expected from warm-up 10"),
        (lambda: wsd_path(100, 10, 50, 0.1, "cubic"), "form: got 'cubic'; expected one of linear, exponential, sqrt"),
    ],
)
def test_impossible_rates_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@settings(max_examples=20)
@given(st.integers(1, 300))
def test_runs_of_any_length_have_a_decay(steps):
    for name in ("cosine", "constant", "wsd", "inverse_sqrt"):
        decay = named_path(name, steps, min(3, steps), 0.1).decay(np.arange(steps + 1.0))
        assert all(np.isfinite(part).all() for part in (decay.progress, decay.drop, decay.rate, decay.age))
