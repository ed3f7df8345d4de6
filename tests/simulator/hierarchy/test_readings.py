"""Half of a table's draws are around its robust fit."""

import numpy as np
import pytest
from foretrain.simulator.hierarchy.coordinates import REFERENCE, from_law, log_loss, to_law
from foretrain.simulator.hierarchy.posterior import posterior
from foretrain.simulator.hierarchy.readings import with_robust_reading
from foretrain.simulator.laws import Reference, get_law
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-1.0, 1.0)] * 6).map(np.array), st.floats(1e7, 1e11), st.floats(1e9, 1e13))
def test_a_law_at_another_reference_point_is_the_same_law(off, params, tokens):
    theta = np.array([1.0, -0.5, 0.0, 0.35, 0.35, 0.0]) + off * [0.3, 1, 1, 0.2, 0.2, 0.5]
    reference, law = Reference({"params": params, "tokens": tokens}), get_law("general")
    columns = {"params": np.array([1e8, 1e9, 7e10]), "tokens": np.array([2e9, 1e12, 3e11])}
    moved = from_law(theta, reference)
    there = np.log(law.loss(theta[None], law.prepare(columns, reference)))
    assert log_loss(np.append(moved, 0.0)[None], columns) == pytest.approx(there, abs=1e-9)
    again = from_law(to_law(np.append(moved, 0.0)[None])[0], REFERENCE)
    assert again == pytest.approx(moved, abs=1e-9)


def test_few_runs_have_one_reading(usual, make_runs):
    runs = make_runs(usual.mean, 5)
    components = posterior(runs, usual)
    assert with_robust_reading(components, runs) == components
    one_size = make_runs(usual.mean, 12).take(np.zeros(12, dtype=int))
    components = posterior(one_size, usual)
    assert with_robust_reading(components, one_size) is components


def test_many_runs_have_two_of_the_same_weight(usual, make_runs):
    runs = make_runs(usual.mean, 16, noise=0.002)
    components = posterior(runs, usual)
    both = with_robust_reading(components, runs)
    assert len(both) == 2 * len(components)
    assert sum(part.weight for part in both) == pytest.approx(1)
    centres = {part.belief.mean[:6].tobytes() for part in both[1::2]}
    assert len(centres) == 1, "the robust fit is one, whatever the spread of errors"
    assert all(
        np.array_equal(one.belief.covariance, part.belief.covariance)
        for one, part in zip(both[::2], both[1::2], strict=True)
    )
