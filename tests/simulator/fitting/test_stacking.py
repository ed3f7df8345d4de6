"""Forms of a law are weighed by what they foretold, and what they disagree on is part of the forecast."""

import numpy as np
import pytest
from foretrain.simulator.fitting import (
    Forms,
    Scores,
    fit_observations,
    public_prior,
    stacked_scores,
    stacking_weights,
)
from foretrain.simulator.laws import get_law
from hypothesis import given, settings
from hypothesis import strategies as st

PRIOR = {"general": 0.75, "chinchilla": 0.24, "kaplan": 0.01}


def scores(errors: list[float], noise: float = 0.004) -> Scores:
    """A run above each cut, missed by so much."""
    n = len(errors)
    return Scores(np.array(errors), np.zeros(n), np.full(n, noise), np.ones(n), np.arange(n))


MISSES = st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(MISSES, MISSES, MISSES)
def test_weights_are_shares_and_no_form_that_foretells_as_well_loses_its_share(one, two, three):
    found = stacking_weights({"general": scores(one), "chinchilla": scores(two), "kaplan": scores(three)}, PRIOR)
    assert sum(found.values()) == pytest.approx(1.0)
    assert min(found.values()) >= 0.0
    alike = stacking_weights({"general": scores(one), "chinchilla": scores(one)}, PRIOR)
    assert alike["chinchilla"] == pytest.approx(0.24 / 0.99)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.0, 0.05), st.floats(0.0, 0.2))
def test_a_form_that_foretells_better_counts_for_more(miss, worse):
    near, far = ({"general": scores([0.02] * 5), "chinchilla": scores([m] * 5)} for m in (miss, miss + worse))
    weights = [stacking_weights(some, PRIOR).get("chinchilla", 0.0) for some in (near, far)]
    assert weights[0] >= weights[1] - 1e-9


def test_without_cuts_the_prior_speaks():
    found = stacking_weights({name: scores([]) for name in PRIOR}, PRIOR)
    assert found == pytest.approx({"general": 0.75 / 0.99, "chinchilla": 0.24 / 0.99})


def test_a_form_that_lacks_a_cut_is_left_out():
    assert set(stacking_weights({"general": scores([0.01] * 3), "chinchilla": scores([0.0] * 2)}, PRIOR)) == {"general"}


def test_the_back_test_of_the_mean_has_the_spread_between_forms():
    both = {"general": scores([0.02, -0.01]), "chinchilla": scores([-0.02, 0.03])}
    found = stacked_scores(both, {"general": 0.5, "chinchilla": 0.5}, "general")
    np.testing.assert_allclose(found.error, [0.0, 0.01])
    np.testing.assert_allclose(found.spread, [0.02, 0.02])


def test_forms_lie_around_their_mean(make_table):
    from foretrain.simulator.fitting import Observations

    observations = Observations.from_table(make_table(24), "loss")
    fits = {name: fit_observations(get_law(name), observations, public_prior()) for name in PRIOR}
    forms = Forms((fits["chinchilla"], fits["kaplan"]), np.array([0.3, 0.1]))
    columns = {"params": np.array([1e9, 7e9, 7e9]), "tokens": np.array([1e11, 1e12, 1e13])}
    own = fits["general"].log_loss(columns)
    shift, apart = forms.apart(columns, own)
    each = np.array([fit.log_loss(columns) for fit in fits.values()])
    weights = np.array([0.6, 0.3, 0.1])
    np.testing.assert_allclose(own + shift, weights @ each, rtol=1e-12)
    np.testing.assert_allclose((apart**2).sum(axis=0), weights @ (each - weights @ each) ** 2, rtol=1e-9, atol=1e-15)
    assert np.all(np.diff(own + shift) < 0)  # larger and longer runs stay lower
