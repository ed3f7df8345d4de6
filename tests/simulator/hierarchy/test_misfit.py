"""Predictions from a posterior: its draws, what stays open beside them, and errors that runs share."""

import numpy as np
import pytest
from foretrain.simulator.fitting import Fit
from foretrain.simulator.hierarchy.coordinates import LAW, LEVEL, REFERENCE
from foretrain.simulator.hierarchy.errors import Runs
from foretrain.simulator.hierarchy.misfit import drawn, posterior_scale, predicted
from foretrain.simulator.hierarchy.posterior import posterior
from hypothesis import given, settings
from hypothesis import strategies as st

plans = st.lists(st.tuples(st.floats(1e6, 1e13), st.floats(1e8, 1e15)), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def drawn_from(usual, make_runs):
    """`drawn_from(n)`: runs of the usual law, with a draw of 80 from their posterior: the fit and its misfit."""

    def draw(n: int, seed: int = 0):
        runs = make_runs(usual.mean, n, noise=0.004) if n else Runs.none()
        theta, draws, misfit = drawn(posterior(runs, usual), runs, 80, seed)
        return Fit(LAW, REFERENCE, theta, draws, misfit.noise, objective=0.0), misfit

    return draw


@pytest.fixture(scope="module")
def known(drawn_from):
    return {n: drawn_from(n) for n in (0, 1, 12)}


@settings(max_examples=25, deadline=None)
@given(plans, st.sampled_from([0, 1, 12]))
def test_scales_are_positive_and_shared_parts_smaller(known, pairs, n):
    fit, misfit = known[n]
    params, tokens = np.array(pairs).T
    columns = {"params": params, "tokens": tokens}
    centre, covariance = predicted(fit, misfit, columns)
    common, scale = posterior_scale(covariance, misfit.noise, columns)
    assert np.isfinite(centre).all()
    assert np.all(scale > 0)
    assert np.all(np.diag(common) <= scale**2)
    assert common == pytest.approx(common.T)
    assert np.linalg.eigvalsh(common).min() > -1e-9


@settings(max_examples=25, deadline=None)
@given(st.floats(1e6, 1e13), st.floats(1e8, 1e15), st.sampled_from([0, 1, 12]))
def test_a_plan_shares_nearly_all_with_itself(known, params, tokens, n):
    fit, misfit = known[n]
    twice = {"params": np.full(2, params), "tokens": np.full(2, tokens)}
    common, scale = posterior_scale(predicted(fit, misfit, twice)[1], misfit.noise, twice)
    assert common[0, 1] == pytest.approx(common[0, 0])
    assert 0.3 < common[0, 1] / (scale[0] * scale[1]) <= 1


def test_nothing_known_leaves_nearly_all_to_the_level(known):
    """Two plans that nobody has run differ in what is common to them, and hardly in their noise."""
    fit, misfit = known[0]
    columns = {"params": np.array([1e9, 3e9]), "tokens": np.array([1e11, 1e11])}
    common, scale = posterior_scale(predicted(fit, misfit, columns)[1], misfit.noise, columns)
    assert common[0, 1] / (scale[0] * scale[1]) > 0.9


def test_runs_narrow_the_misfit_where_they_are_and_not_far_away(known):
    near = {"params": np.array([1e9]), "tokens": np.array([2e10])}
    far = {"params": np.array([1e13]), "tokens": np.array([1e15])}
    without, few = known[0][1], known[12][1]
    largest = max(spread.misfit for spread in few.spreads)
    assert few.covariance(near)[0, 0] < 0.2 * without.covariance(near)[0, 0]
    assert few.covariance(near)[0, 0] < few.covariance(far)[0, 0] <= largest**2
    assert without.covariance(near)[0, 0] == pytest.approx(without.covariance(far)[0, 0])


def test_same_seed_same_draws_and_all_in_single_precision(drawn_from):
    (one, _), (again, _), (other, _) = drawn_from(3), drawn_from(3), drawn_from(3, seed=1)
    assert np.array_equal(one.draws, again.draws)
    assert np.array_equal(one.draws, one.draws.astype(np.float32))
    assert not np.array_equal(one.draws, other.draws)
    assert one.draws[:, LEVEL].mean() == pytest.approx(other.draws[:, LEVEL].mean(), abs=0.01)


def test_draws_centre_on_the_largest_run(usual, make_runs):
    """Whatever the law leaves over there is part of every draw, not only of the interval."""
    runs = make_runs(usual.mean, 10)
    log_loss = runs.log_loss.copy()
    log_loss[-1] += 0.01
    moved = Runs.finished(runs.params, runs.tokens, log_loss)
    theta, draws, misfit = drawn(posterior(moved, usual), moved, 200, 0)
    fit = Fit(LAW, REFERENCE, theta, draws, misfit.noise, objective=0.0)
    last = {name: values[-1:] for name, values in moved.columns.items()}
    assert predicted(fit, misfit, last)[0][0] == pytest.approx(log_loss[-1], abs=0.008)
