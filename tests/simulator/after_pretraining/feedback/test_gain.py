"""The forms of the gain: nothing at the start, a peak that nothing beats, and the KL of the best of n."""

import numpy as np
import pytest
from foretrain.simulator.after_pretraining.feedback.gain import FORMS, best_of_n_kl, samples_of_kl
from hypothesis import given
from hypothesis import strategies as st

METHODS = pytest.mark.parametrize("method", FORMS)
COEFFICIENTS = st.floats(0.01, 3.0), st.floats(0.05, 3.0)


@METHODS
@given(alpha=st.floats(-3, 3), beta=st.floats(-3, 3))
def test_the_start_gains_nothing(method, alpha, beta):
    assert FORMS[method].gain(np.array(0.0), np.array(alpha), np.array(beta)) == 0.0


@METHODS
@given(*COEFFICIENTS, st.floats(0.0, 1e4))
def test_nothing_gains_more_than_the_peak(method, alpha, beta, d):
    form = FORMS[method]
    alpha, beta = np.array([alpha]), np.array([beta])
    peak = form.peak(alpha, beta)
    best = form.gain(peak, alpha, beta)
    assert form.gain(np.array([d]), alpha, beta) <= best + 1e-9 * (1 + abs(best))


@METHODS
@given(*COEFFICIENTS)
def test_the_derivative_is_0_at_the_peak(method, alpha, beta):
    form = FORMS[method]
    alpha, beta = np.array([alpha]), np.array([beta])
    peak = form.peak(alpha, beta)
    step = 1e-4 * peak
    slope = (form.gain(peak + step, alpha, beta) - form.gain(peak - step, alpha, beta)) / (2 * step)
    assert slope == pytest.approx(0.0, abs=1e-5 * float(alpha[0] + beta[0]))


@METHODS
def test_gains_that_never_turn_or_only_fall(method):
    alpha, beta = np.array([0.5, -0.5, -0.5]), np.array([-0.1, 0.1, -0.1])
    assert FORMS[method].peak(alpha, beta).tolist() == [np.inf, 0.0, 0.0]


@METHODS
@given(alpha=st.floats(-3, 3), beta=st.floats(-3, 3), d=st.floats(0, 50))
def test_the_gain_is_linear_in_its_coefficients(method, alpha, beta, d):
    form = FORMS[method]
    by_basis = form.basis(np.array([d])) @ np.array([alpha, beta])
    assert form.gain(np.array([d]), np.array(alpha), np.array(beta)) == pytest.approx(by_basis, abs=1e-9)


@given(n=st.floats(1.001, 1e9))
def test_samples_and_kl_are_inverse(n):
    assert samples_of_kl(float(best_of_n_kl(n))) == pytest.approx(n, rel=1e-5)


def test_the_kl_of_the_best_of_n_is_that_of_its_distribution():
    """By its definition: the best of n has density n u^(n−1) at quantile u of the reward, whatever the reward is."""
    u = (np.arange(200_000) + 0.5) / 200_000
    for n in (2, 7, 50):
        density = n * u ** (n - 1)
        assert float(best_of_n_kl(n)) == pytest.approx(np.mean(density * np.log(density)), abs=1e-3)
