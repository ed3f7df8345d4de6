"""Differences of two predicted losses: signs, marginals, and what runs share of their errors."""

import numpy as np
import pytest
from foretrain.core.errors import UsageError
from foretrain.simulator.fitting import public_prior
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.fit.loss_fit import fit_loss_model
from foretrain.simulator.predictor.prediction import LossPrediction
from foretrain.simulator.predictor.storage.folder import load
from hypothesis import given, settings
from hypothesis import strategies as st

DENSE = {"params": np.array([1e9, 1e9, 1.02e9, 7e9]), "tokens": np.array([5e10, 5e10, 5.1e10, 2e12])}


@st.composite
def joint_predictions(draw) -> LossPrediction:
    """Three runs with any centres, scales and distances, and any correlation there can be."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    root = rng.standard_normal((3, draw(st.integers(1, 4)))) + draw(st.floats(0.0, 3.0))
    covariance = root @ root.T
    sd = np.sqrt(np.diag(covariance))
    return LossPrediction(
        np.log(rng.uniform(1.5, 4.0, 3)), rng.uniform(1e-3, 0.2, 3), rng.uniform(0.0, 2.0, 3), public_calibration(),
        correlation=covariance / np.outer(sd, sd),
    )  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(joint_predictions())
def test_a_difference_turned_round_is_its_negative(joint):
    there, back = joint.difference(1, 0), joint.difference(0, 1)
    assert there.nats == -back.nats == joint.loss_nats[1] - joint.loss_nats[0]
    assert there.interval(0.9) == pytest.approx([-end for end in back.interval(0.9)[::-1]])
    assert there.probability_below_zero == pytest.approx(1.0 - back.probability_below_zero)


@settings(deadline=None, max_examples=40)
@given(joint_predictions())
def test_a_run_does_not_differ_from_itself(joint):
    same = joint.difference(2, 2)
    assert (same.nats, same.probability_below_zero) == (0.0, 0.5)
    np.testing.assert_allclose(same.interval(0.9), 0.0, atol=1e-7)


@settings(deadline=None, max_examples=15)
@given(joint_predictions())
def test_joint_draws_have_each_runs_own_intervals(joint):
    drawn = joint.sample(np.random.default_rng(0), 20_000)
    for level in (0.5, 0.9):
        low, high = joint.interval(level)
        inside = ((drawn >= low) & (drawn <= high)).mean(axis=0)
        np.testing.assert_allclose(inside, level, atol=0.015)


@settings(deadline=None, max_examples=15)
@given(joint_predictions())
def test_matched_draws_are_the_difference_itself(joint):
    difference = joint.difference(1)
    drawn = joint.sample(np.random.default_rng(0), 20_000)
    apart = drawn[:, 1] - drawn[:, 0]
    matched = difference.matched(apart)
    assert (np.argsort(matched, kind="stable") == np.argsort(apart, kind="stable")).all()
    np.testing.assert_allclose(
        np.quantile(matched, [0.05, 0.95]), difference.interval(0.9), atol=2e-3 * np.ptp(matched)
    )
    assert (matched < 0).mean() == pytest.approx(difference.probability_below_zero, abs=1e-3)
    assert difference.summary().intervals[0.5] == difference.interval(0.5)


def test_draws_of_one_run_are_those_without_a_correlation():
    """A forecast's chance of all targets must not move because runs can be compared."""
    one = LossPrediction(np.log([2.0]), np.array([0.01]), np.array([0.4]), public_calibration())
    drawn = one.sample(np.random.default_rng(3), 50)[:, 0]
    rng = np.random.default_rng(3)
    sign = np.where(rng.random(50) < 0.5, -1.0, 1.0)
    np.testing.assert_array_equal(drawn, np.exp(np.log(2.0) + sign * one.calibration.width(rng.random(50)) * 0.01))


def test_a_level_outside_is_refused():
    with pytest.raises(UsageError, match="interval level"):
        load("olmo-c4").models["loss"].predict(DENSE, joint=True).difference(1).interval(1.0)


@pytest.mark.parametrize("name", ["web-text", "olmo-c4", "chinchilla-massivetext", "steplaw"])
def test_shipped_laws_know_what_runs_share(name):
    model = load(name).models["loss"]
    alone, joint = model.predict(DENSE), model.predict(DENSE, joint=True)
    for part in ("log_loss", "scale", "extrapolation_decades"):
        np.testing.assert_array_equal(getattr(alone, part), getattr(joint, part))
    assert alone.correlation is None
    correlation = joint.correlation
    np.testing.assert_array_equal(np.diag(correlation), 1.0)
    np.testing.assert_allclose(correlation, correlation.T)
    assert np.linalg.eigvalsh(correlation)[0] > -1e-9
    # two runs of one plan differ by their luck alone; near plans share nearly all, far ones less
    same, near, far = correlation[0, 1:]
    assert same == pytest.approx(near, abs=0.01)
    assert 1.0 > near > far > 0.0
    again = joint.difference(1)
    low, high = again.interval(0.9)
    assert (again.nats, again.probability_below_zero) == (0.0, 0.5)
    assert low < 0.0 < high < 0.06, "nats between two runs of one plan"
    same, near, far = (joint.difference(place).scale_nats for place in (1, 2, 3))
    assert same == pytest.approx(near, rel=0.05)
    assert far > near
    assert joint.row(0).correlation is None


@pytest.fixture(scope="module")
def chain(make_mixed):
    """A law of the mix with what was learned on top of it, fitted to runs of three sizes."""
    model = fit_loss_model(make_mixed(120, 1, size=(5e7, 1e8, 4e8)), "auto", public_prior())
    assert model.surrogate is not None
    return model


def test_differences_of_new_mixes_hold(chain, make_mixed):
    new = make_mixed(40, 9, size=4e8)
    joint = chain.predict(new.columns, joint=True)
    np.testing.assert_array_equal(joint.scale, chain.predict(new.columns).scale)
    assert np.linalg.eigvalsh(joint.correlation)[0] > -1e-9
    inside = []
    for place in range(1, 40):
        low, high = joint.difference(place).interval(0.9)
        inside.append(low <= new.loss[place] - new.loss[0] <= high)
        low, high = joint.difference(place, place - 1).interval(0.9)
        inside.append(low <= new.loss[place] - new.loss[place - 1] <= high)
    assert np.mean(inside) > 0.75


def test_equal_mixes_share_what_opposite_ones_do_not(chain, make_mixed):
    """What a mix does far out is known to a factor, the same for all mixes."""
    runs = make_mixed(40, 9, size=4e8)
    lowest, highest = np.argsort(runs.loss)[[0, -1]]
    far = {name: values[[lowest, lowest, highest]] for name, values in runs.columns.items()}
    far["params"], far["tokens"] = 100.0 * far["params"], 100.0 * far["tokens"]
    correlation = chain.predict(far, joint=True).correlation
    assert correlation[0, 1] > correlation[0, 2]
