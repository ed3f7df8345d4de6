import numpy as np
import pytest
from foretrain.simulator.curve.smoothing import MAX_POINTS, noise_of, smooth, spikes
from hypothesis import given
from hypothesis import strategies as st


def test_spikes_are_dropped_and_counted():
    step = np.arange(100.0)
    loss = 3.0 + np.exp(-step / 30)
    loss[50] = 9.0
    points = smooth(step, loss)
    assert points.spikes == 1
    assert points.loss.max() < 5
    assert 50 not in points.step


def test_a_fall_is_no_spike():
    """A drop of the rate lets the loss fall at once; that is what the law is for."""
    log_loss = np.where(np.arange(60) < 30, 1.2, 1.1)
    assert not spikes(log_loss, 1e-3).any()


@pytest.mark.parametrize("sd", [1e-3, 1e-2, 5e-2])
def test_noise_is_measured_whatever_the_trend(sd):
    rng = np.random.default_rng(3)
    trend = 1.2 * np.exp(-np.arange(2000) / 700)
    assert noise_of(trend + sd * rng.standard_normal(2000)) == pytest.approx(sd, rel=0.15)


@given(st.integers(0, 3000))
def test_any_number_of_points_becomes_a_few(n):
    step = np.arange(n, dtype=float)
    points = smooth(step, np.full(n, 3.0))
    assert len(points.step) <= MAX_POINTS
    assert points.count.sum() == n
    np.testing.assert_allclose(points.loss, 3.0)
    assert (np.diff(points.step) > 0).all()
    assert (points.spread > 0).all()


def test_neighbours_that_err_together_average_out_less():
    rng = np.random.default_rng(0)
    white = 0.01 * rng.standard_normal(4000)
    slow = np.convolve(white, np.ones(40) / np.sqrt(40), "same")
    step = np.arange(4000.0)
    independent, together = smooth(step, np.exp(1 + white)), smooth(step, np.exp(1 + slow))
    assert np.median(together.spread) > 1.5 * np.median(independent.spread)


def test_points_before_the_first_are_left_out():
    points = smooth(np.arange(100.0), np.full(100, 3.0), first=60)
    assert points.step.min() == 60
    end = points.with_end(200, 2.5, 0.01)
    assert (end.step[-1], end.loss[-1], end.spread[-1]) == (200, 2.5, 0.01)
    np.testing.assert_allclose(points.calmer(0.5).spread, 0.5 * points.spread)
