import json
from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.errors import DataWarning, FitError
from foretrain.simulator.curve.law.fitting import CurveFit, annealed, fit_curves
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.rates.path import named_path
from hypothesis import given, settings
from hypothesis import strategies as st

FITTED = ("cosine", "constant", "two_stage")


@settings(max_examples=10, deadline=None)
@given(st.floats(1.5, 5.0), st.floats(0.1, 0.8), st.floats(0.03, 0.05))
def test_a_fit_recovers_the_law_of_its_own_curves(make_curve, floor, a, share):
    level = (floor, a, share * floor)
    fit = fit_curves([make_curve(name, level) for name in FITTED])
    np.testing.assert_allclose(fit.level["made/1e+08"], level, rtol=0.05)  # the priors pull B a little
    unseen = make_curve("wsd", level)
    np.testing.assert_allclose(fit.loss(unseen.path, unseen.step), unseen.loss, rtol=1e-3)
    assert fit.residual_sd < 1e-3


def test_sizes_share_the_shape_and_keep_their_levels(make_curve):
    levels = {2.5e7: (3.2, 0.3, 0.15), 1e8: (2.9, 0.28, 0.14)}
    fit = fit_curves([make_curve(name, level, size) for size, level in levels.items() for name in FITTED])
    assert list(fit.level) == ["made/2.5e+07", "made/1e+08"]
    for size, level in levels.items():
        np.testing.assert_allclose(fit.level[f"made/{size:g}"], level, rtol=0.02)


@settings(max_examples=10, deadline=None)
@given(st.permutations(["cosine", "constant", "two_stage", "wsd"]))
def test_the_order_of_curves_changes_nothing(make_curve, order):
    usual = fit_curves([make_curve(name, noise=1e-3) for name in ("cosine", "constant", "two_stage", "wsd")])
    fit = fit_curves([make_curve(name, noise=1e-3) for name in order])
    np.testing.assert_allclose(fit.shape, usual.shape, rtol=1e-4)
    np.testing.assert_allclose(fit.level["made/1e+08"], usual.level["made/1e+08"], rtol=1e-4)


def test_a_fit_survives_json_to_the_bit(make_curve):
    fit = fit_curves([make_curve(name, noise=1e-3, size=size) for size in (1e8, 2e7) for name in FITTED])
    again = CurveFit.from_dict(json.loads(json.dumps(fit.to_dict(), sort_keys=True)))
    curve = make_curve("wsd")
    for group in fit.level:
        assert np.array_equal(again.loss(curve.path, curve.step, group), fit.loss(curve.path, curve.step, group))
        assert np.array_equal(again.log_sd(curve.path, curve.step, group), fit.log_sd(curve.path, curve.step, group))


def test_single_points_that_are_far_off_hardly_move_a_fit(make_curve):
    curves = [make_curve(name) for name in FITTED]
    spoilt = curves[0].loss.copy()
    spoilt[40] *= 1.5
    fit = fit_curves([replace(curves[0], loss=spoilt), *curves[1:]])
    np.testing.assert_allclose(fit.loss(curves[0].path, curves[0].step), curves[0].loss, rtol=1e-3)


def test_constant_rates_alone_are_warned_of_or_refused(make_curve, paths):
    constant = [make_curve("constant", noise=1e-3)]
    assert annealed(constant) == 0
    with pytest.warns(DataWarning, match="can't tell what a decay does"):
        fit = fit_curves(constant)
    assert not fit.identified
    before, after = fit.log_sd(paths["wsd"], np.array([4800.0, 6000.0]))
    assert after > 5 * before
    with pytest.raises(FitError, match="add a curve with a decay"):
        fit_curves(constant, strict=True)


def spoilt(curve, step=None, loss=None):
    made = {"step": curve.step.copy(), "loss": curve.loss.copy()}
    for name, value in (("step", step), ("loss", loss)):
        if value is not None:
            made[name][3] = value
    return replace(curve, **made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": np.nan}, "made_1e.08_cosine, step 500, loss nan: loss is not a number of nats above 0"),
        ({"loss": -1.0}, "step 500, loss -1: loss is not"),
        ({"step": 450.0}, "step 450, loss .*: step does not rise"),
        ({"step": 400.0}, "step does not rise"),
        ({"step": -5.0}, "step -5, loss .*: step lies outside the run's 6000 steps"),
        ({"step": 6001.0}, "step 6001, loss .*: step lies outside"),
        ({"step": np.nan}, "step nan"),
    ],
)
def test_bad_points_are_named_by_run_and_step(make_curve, change, message):
    with pytest.raises(FitError, match=message):
        fit_curves([make_curve("constant"), spoilt(make_curve("cosine"), **change)])


def test_too_little_to_fit(make_curve):
    with pytest.raises(FitError, match="no curves to fit"):
        fit_curves([])
    with pytest.raises(FitError, match="4 points in all; expected at least 8"):
        fit_curves([make_curve("cosine", path=named_path("cosine", 250, 0, 0.1)).until(200)])
    curve = make_curve("cosine")
    with pytest.raises(FitError, match="expected as many of one as of the other"):
        fit_curves([replace(curve, step=curve.step[1:])])


# the public curves


def public_runs(public, size, names):
    return [public[f"mpl_{size}_{name}"] for name in names]


TRAIN = ("cosine_24000", "constant_24000", "wsdcon_9")
TEST = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdcon_18", "wsdcon_3", "wsdld_20000_24000")


@pytest.mark.parametrize("size", ["25m", "100m"])
def test_three_schedules_tell_six_others(public, size):
    """The publishers' own split: R² at least .999 and a mean error of at most .0030 nats."""
    train = public_runs(public, size, TRAIN)
    fit = fit_curves(train)
    rows = []
    for curve in public_runs(public, size, TEST):
        miss = curve.loss - fit.loss(curve.path, curve.step)
        rows.append((1 - miss @ miss / np.sum((curve.loss - curve.loss.mean()) ** 2), np.abs(miss).mean()))
    r2, mae = np.mean(rows, axis=0)
    assert r2 >= 0.999
    assert mae <= 0.003


@pytest.mark.parametrize("loss", [np.full(8, 3.0), np.linspace(3.2, 3.0, 8), np.where(np.arange(8) % 2, 1e-9, 1e9)])
@pytest.mark.parametrize("first", [0.0, 292.0, 5992.0])
def test_eight_neighbours_are_a_curve(first, loss, paths):
    """Steps of the warm-up make no progress: their weights were 0/0, and wild losses there ended in LinAlgError."""
    step = first + np.arange(8.0)
    with pytest.warns(DataWarning, match="hardly falls"):
        fit = fit_curves([Curve("early", "made", 1e8, paths["constant"], step, loss)])
    assert np.all(np.isfinite(fit.shape))
    assert np.all(np.isfinite(fit.covariance))
    assert np.all(np.isfinite(fit.loss(paths["constant"], np.array([3000.0, 6000.0]))))


def test_a_logged_warm_up_bends_no_exponent(make_curve, paths):
    """Curves that began at step 50, at 9 nats, made exponents of .3 where the rest of each run says .5."""
    curves = [make_curve(name) for name in FITTED]
    warm = np.arange(50.0, 300.0, 50.0)
    early = [
        replace(c, step=np.append(warm, c.step), loss=np.append(9.0 - 3 * np.log10(warm / 50), c.loss)) for c in curves
    ]
    np.testing.assert_allclose(fit_curves(early).shape, fit_curves(curves).shape, rtol=1e-6)
