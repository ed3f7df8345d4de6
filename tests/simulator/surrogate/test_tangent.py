"""The law's part in a process: a prior around the fit, and the law's gradient in its units."""

import numpy as np
import pytest
from foretrain.simulator.fitting import fit_observations, public_prior, weak_prior
from foretrain.simulator.laws import Law, members
from foretrain.simulator.surrogate._tangent import Tangent


@pytest.fixture(scope="module")
def mixed(make_mixed, fit_mixed):
    observations = make_mixed(40, size=(5e7, 2e8))
    return fit_mixed(observations), observations


@pytest.mark.parametrize("prior", [public_prior(), weak_prior()], ids=lambda prior: prior.name)
def test_the_root_is_that_of_the_priors_covariance(prior, mixed):
    fit, _ = mixed
    tangent = Tangent.of(fit, prior)
    mean, precision = prior.for_law(fit.law, fit.reference)
    covariance = tangent.root @ tangent.root.T
    told = np.diag(precision) > 0
    assert told.sum() == len(mean) - 1  # all but the level
    expected = np.linalg.inv(precision[np.ix_(told, told)])
    np.testing.assert_allclose(covariance[np.ix_(told, told)], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(tangent.offset[told], (fit.theta - mean)[told])
    assert covariance[0, 0] == pytest.approx(1.0), "the level is open by a factor of e"
    assert tangent.offset[0] == 0
    np.testing.assert_allclose(covariance[0, 1:], 0, atol=1e-12)


def test_without_a_prior_the_generic_spreads_are_doubled(mixed):
    fit, _ = mixed
    tangent = Tangent.of(fit, None)
    assert not tangent.offset.any()
    sds = np.array([2 * p.sd for p in fit.law.parameters])
    sds[0] = 1.0
    np.testing.assert_allclose(tangent.root, np.diag(sds))


def test_held_at_its_fit_a_law_has_no_part(mixed):
    fit, observations = mixed
    tangent = Tangent.none(fit)
    assert not tangent.root.any()
    assert not tangent.offset.any()
    assert tangent.gradient(fit, observations.columns).shape == (40, len(fit.theta))


def test_the_gradient_is_that_of_log_loss(mixed):
    fit, observations = mixed
    columns, law = observations.columns, fit.law
    found = Tangent.none(fit).gradient(fit, columns)
    features = law.prepare(columns, fit.reference)
    for place in range(len(fit.theta)):
        move = 1e-5 * np.eye(len(fit.theta))[place]
        high, low = (np.log(law.loss((fit.theta + sign * move)[None], features)[0]) for sign in (1, -1))
        np.testing.assert_allclose(found[:, place], (high - low) / 2e-5, rtol=1e-4, atol=1e-8)


def test_a_parameter_held_by_the_user_stays_where_it_is(make_mixed):
    observations = make_mixed(40)
    law = Law(members()["general"], [observations.law("general+mixture").terms[0]], {"E": 1.2})
    fit = fit_observations(law, observations, public_prior())
    tangent = Tangent.of(fit, public_prior())
    assert not tangent.gradient(fit, observations.columns)[:, ~law.free].any()
    assert not tangent.offset[~law.free].any()
    assert np.isfinite(tangent.root).all()
