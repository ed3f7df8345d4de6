import numpy as np
import pytest
from foretrain.simulator.curve.law.prior import generic_prior
from foretrain.simulator.curve.prefix import condition
from foretrain.simulator.curve.tracking import LEAST, first_shift, scan, standing


@pytest.mark.parametrize("name", ["cosine", "constant", "two_stage", "wsd"])
def test_a_run_that_follows_its_law_raises_no_alarm(make_curve, name):
    curve = make_curve(name, noise=3e-3)
    assert first_shift(curve.path, generic_prior(3.4), curve.step, curve.loss) is None


@pytest.mark.parametrize("size", [0.02, 0.05])
def test_a_regression_is_flagged_and_measured(make_curve, size):
    curve = make_curve("cosine", noise=2e-3)
    shift = first_shift(
        curve.path, generic_prior(3.4), curve.step, curve.loss * np.where(curve.step > 3000, 1 + size, 1)
    )
    assert shift is not None
    assert 3000 <= shift.noticed <= 3600
    assert shift.size == pytest.approx(size, abs=0.3 * size)
    assert shift.z == shift.size / shift.sd > 4.5


def test_an_improvement_is_no_alarm(make_curve):
    curve = make_curve("cosine", noise=2e-3)
    better = curve.loss * np.where(curve.step > 3000, 0.97, 1.0)
    assert first_shift(curve.path, generic_prior(3.4), curve.step, better) is None


def test_a_spike_is_no_alarm(make_curve):
    curve = make_curve("cosine", noise=2e-3)
    spiked = curve.loss * np.where(np.arange(len(curve.loss)) == 60, 1.3, 1.0)
    assert first_shift(curve.path, generic_prior(3.4), curve.step, spiked) is None


def test_a_regression_too_small_to_matter_is_no_alarm(make_curve):
    curve = make_curve("cosine", noise=3e-4)
    worse = curve.loss * np.where(curve.step > 3000, 1 + 0.5 * LEAST, 1.0)
    assert first_shift(curve.path, generic_prior(3.4), curve.step, worse) is None


def test_a_short_log_has_nothing_to_scan(make_curve):
    curve = make_curve("cosine")
    assert scan(curve.path, generic_prior(3.4), curve.step[:5], curve.loss[:5]) == []
    assert scan(curve.path, generic_prior(3.4), curve.step[:0], curve.loss[:0]) == []


def test_cuts_before_a_step_are_not_looked_at_again(make_curve):
    curve = make_curve("cosine", noise=2e-3)
    worse = curve.loss * np.where(curve.step > 2000, 1.03, 1.0)
    found = scan(curve.path, generic_prior(3.4), curve.step, worse, since=3000)
    assert min(shift.since for shift in found) >= 3000


def test_standing_against_a_plan(make_curve):
    curve = make_curve("cosine", noise=1e-3)
    seen = curve.until(4500)
    belief = condition(curve.path, generic_prior(3.4), seen.step, seen.loss)
    end = curve.loss[-1]
    assert standing(belief, end).verdict == "on track"
    assert standing(belief, 0.95 * end).verdict == "behind"
    assert standing(belief, 1.05 * end).verdict == "ahead"
    assert standing(belief, 0.95 * end, plan_log_sd=0.1).verdict == "on track"
    assert standing(belief, 0.95 * end).z > 0 > standing(belief, 1.05 * end).z
