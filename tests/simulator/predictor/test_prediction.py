"""Predicted losses: which calibration counts where, and that intervals, chances and draws tell the same story."""

import numpy as np
import pytest
from foretrain.simulator.predictor.calibration import GRID, Calibration, public_calibration
from foretrain.simulator.predictor.prediction import LossPrediction
from hypothesis import given, settings
from hypothesis import strategies as st

LEVELS = (0.1, 0.5, 0.8, 0.9, 0.95, 0.985)
BEYOND = public_calibration()
WITHIN = Calibration(0.4 * BEYOND.quantiles + 0.1 * GRID, 7, 70)
GAPS = np.array([0.0, 0.05, 0.15, 0.3, 2.0])


def prediction(gap=GAPS, scale: float = 0.01, within: Calibration | None = WITHIN) -> LossPrediction:
    gap = np.atleast_1d(np.asarray(gap, float))
    return LossPrediction(np.log(np.linspace(2.0, 3.0, len(gap))), np.full(len(gap), scale), gap, BEYOND, within)


def widths(of: LossPrediction, level: float) -> np.ndarray:
    """Half-widths of the interval in units of the scale."""
    low, high = of.interval(level)
    return 0.5 * np.log(high / low) / of.scale


@pytest.mark.parametrize("level", LEVELS)
def test_the_fitted_runs_own_calibration_fades_with_the_gap(level):
    found = widths(prediction(), level)
    inside, outside = WITHIN.width(level), BEYOND.width(level)
    share = np.array([0.0, 1 / 6, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(found, (1 - share) * inside + share * outside, rtol=1e-9)


def test_without_one_of_their_own_all_runs_count_as_extrapolated():
    np.testing.assert_allclose(widths(prediction(within=None), 0.9), BEYOND.width(0.9))


def test_the_centre_is_the_median_and_inside_every_interval():
    every = prediction()
    np.testing.assert_allclose(every.loss_nats, np.linspace(2.0, 3.0, 5))
    inner = np.zeros(5)
    for level in LEVELS:
        low, high = every.interval(level)
        np.testing.assert_allclose(np.sqrt(low * high), every.loss_nats)
        assert (high / low > np.exp(inner)).all()
        inner = np.log(high / low)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(LEVELS), st.floats(0, 0.6), st.floats(1e-4, 0.1), st.booleans())
def test_chances_undo_intervals(level, gap, scale, own):
    one = prediction(gap, scale, WITHIN if own else None)
    (low,), (high,) = one.interval(level)
    assert one.probability_at_most(low)[0] == pytest.approx(0.5 - level / 2, abs=1e-6)
    assert one.probability_at_most(high)[0] == pytest.approx(0.5 + level / 2, abs=1e-6)


def test_chances_rise_from_none_to_all():
    every = prediction()
    chances = np.array([every.probability_at_most(loss) for loss in np.geomspace(1.0, 6.0, 200)])
    assert (np.diff(chances, axis=0) >= 0).all()
    np.testing.assert_allclose(chances[0], 0, atol=1e-6)
    np.testing.assert_allclose(chances[-1], 1, atol=1e-6)
    for place, loss in enumerate(every.loss_nats):
        assert every.probability_at_most(float(loss))[place] == pytest.approx(0.5)


def test_draws_fall_into_intervals_as_often_as_stated():
    every = prediction()
    drawn = every.sample(np.random.default_rng(0), 40_000)
    assert drawn.shape == (40_000, 5)
    for level in LEVELS:
        low, high = every.interval(level)
        np.testing.assert_allclose(np.mean((low <= drawn) & (drawn <= high), axis=0), level, atol=0.01)
    np.testing.assert_allclose(np.median(drawn, axis=0), every.loss_nats, rtol=5e-4)


def test_runs_share_the_luck_of_a_draw():
    """Two plans are compared under the same law: where it errs for one, it errs for the other."""
    every = prediction()
    high = every.sample(np.random.default_rng(1), 500) > every.loss_nats
    assert (high == high[:, :1]).all()


def test_the_same_seed_gives_the_same_draws():
    one, other = (prediction().sample(np.random.default_rng(2), 20) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_no_runs():
    none = prediction(gap=np.zeros(0))
    assert none.interval(0.9)[0].shape == none.probability_at_most(3.0).shape == (0,)


# blending


def test_blending_is_level_by_level():
    half = WITHIN.blended(BEYOND, 0.5)
    np.testing.assert_allclose(half.quantiles, 0.5 * (WITHIN.quantiles + BEYOND.quantiles))
    assert (half.own_cuts, half.own_scores) == (7, 70)
    np.testing.assert_array_equal(WITHIN.blended(BEYOND, 0.0).quantiles, WITHIN.quantiles)
    np.testing.assert_allclose(WITHIN.blended(BEYOND, 1.0).quantiles, BEYOND.quantiles)
