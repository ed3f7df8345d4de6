"""The coordinates of tables: what they mean, and their derivatives."""

import numpy as np
import pytest
from foretrain.simulator.fitting import Fit
from foretrain.simulator.hierarchy.coordinates import (
    LAW,
    LEVEL,
    NAMES,
    PARAMS,
    REFERENCE,
    SIZE,
    TOKENS,
    UNFINISHED,
    clipped,
    linearised,
    log_loss,
    to_law,
)
from foretrain.simulator.predictor.textbook_parameters import textbook_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

AT_REFERENCE = {name: np.array([value]) for name, value in REFERENCE.values.items()}
theta_values = st.tuples(
    st.floats(0.2, 1.5),
    st.floats(-2.0, 1.0),
    st.floats(-2.0, 2.0),
    st.floats(-2.0, -0.4),
    st.floats(-2.0, -0.4),
    st.floats(-1.0, 1.0),
    st.floats(0.0, 0.2),
).map(np.array)
sizes = st.floats(1e7, 1e12)


def test_each_coordinate_has_a_name_and_a_place():
    assert len(NAMES) == SIZE
    assert (NAMES[LEVEL], NAMES[PARAMS], NAMES[UNFINISHED]) == ("level", "params", "unfinished")


@settings(max_examples=40, deadline=None)
@given(theta_values)
def test_at_the_reference_point_the_level_is_the_log_loss(theta):
    assert log_loss(theta[None], AT_REFERENCE)[0, 0] == pytest.approx(theta[LEVEL], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(theta_values)
def test_the_law_of_coordinates_gives_them_back(theta):
    parameters = to_law(theta[None])[0]
    assert np.log(parameters[[PARAMS, TOKENS]]) == pytest.approx(theta[[PARAMS, TOKENS]])
    others = [place for place in range(UNFINISHED) if place not in (PARAMS, TOKENS)]
    assert parameters[others] == pytest.approx(theta[others])


@settings(max_examples=40, deadline=None)
@given(theta_values)
def test_the_reducible_share_is_what_endless_compute_removes(theta):
    parameters = textbook_parameters(Fit(LAW, REFERENCE, to_law(theta[None])[0], to_law(theta[None]), 0.01, 0.0))
    reducible = 1 / (1 + np.exp(-theta[1]))
    assert parameters["E"] == pytest.approx((1 - reducible) * np.exp(theta[LEVEL]), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(theta_values, sizes, st.floats(1e8, 1e14), st.floats(0, 1))
def test_slopes_are_the_derivatives(theta, params, tokens, unfinished):
    columns, early = {"params": np.array([params]), "tokens": np.array([tokens])}, np.array([unfinished])
    value, slope = linearised(theta, columns, early)
    assert value == pytest.approx(log_loss(theta[None], columns, early)[0])
    for place in range(SIZE):
        step = np.zeros(SIZE)
        step[place] = 1e-5
        ends = log_loss(np.array([theta - step, theta + step]), columns, early)[:, 0]
        assert slope[0, place] == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-4, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(theta_values, sizes, st.floats(1e8, 1e14), st.floats(1.01, 100))
def test_more_never_raises_the_loss_and_the_way_there_lies_above(theta, params, tokens, factor):
    columns = {
        "params": np.array([params, params * factor, params]),
        "tokens": np.array([tokens, tokens, tokens * factor]),
    }
    here, larger, longer = log_loss(theta[None], columns)[0]
    assert max(larger, longer) <= here + 1e-12
    assert np.all(log_loss(theta[None], columns, np.full(3, 0.5))[0] >= [here, larger, longer])


def test_coordinates_are_kept_where_the_arithmetic_is_finite():
    far = clipped(np.array([np.full(SIZE, 1e6), np.full(SIZE, -1e6)]))
    assert np.isfinite(log_loss(far, {"params": np.array([1e6, 1e13]), "tokens": np.array([1e6, 1e15])})).all()
