"""A learner on a fitted law: what it adds on mixes and settings it hasn't seen, and how sure it says it is."""

from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.fitting import Fit, Observations, public_prior
from foretrain.simulator.surrogate import Correction, Surrogate, _surrogate, _trees

PRIOR = public_prior()
NOISE = 0.004


def with_trees(surrogate: Surrogate, observations: Observations, fit: Fit, kind) -> Surrogate:
    """The same learner with trees grown on the fit's residuals."""
    residual = np.log(observations.loss) - fit.log_loss(observations.columns)
    trees = _trees.grow(surrogate.process.inputs.x, residual, surrogate.process.trust, seed=0)
    return replace(surrogate, kind=kind, trees=trees)


@pytest.fixture(scope="module")
def mixed(make_mixed, fit_mixed):
    """A hundred runs, the law fitted to them, and the joint process on it."""
    observations = make_mixed(100)
    fit = fit_mixed(observations)
    return observations, fit, Surrogate.learn(fit, observations, PRIOR)


def error(fit: Fit, surrogate: Surrogate, observations: Observations, truth) -> float:
    """Mean absolute error of log loss against the truth."""
    predicted = fit.log_loss(observations.columns) + surrogate.correct(fit, observations.columns).log_loss
    return float(np.abs(predicted - truth).mean())


# mixes


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_what_a_law_leaves_over_is_learned(seed, joint, make_mixed, fit_mixed, mixed_log_loss):
    observations, new = make_mixed(100, seed), make_mixed(400, seed + 100)
    truth = mixed_log_loss(new.columns)
    fit = fit_mixed(observations)
    bare = float(np.abs(fit.log_loss(new.columns) - truth).mean())
    assert error(fit, Surrogate.learn(fit, observations, PRIOR, joint=joint), new, truth) < 0.7 * bare


@pytest.mark.parametrize("seed", range(3))
def test_where_the_law_is_right_the_correction_is_negligible(seed, make_mixed, fit_mixed):
    observations = make_mixed(100, seed, wiggle=0.0)
    fit = fit_mixed(observations)
    learned = Surrogate.learn(fit, observations, PRIOR).correct(fit, make_mixed(300, 7).columns)
    assert np.abs(learned.log_loss).mean() < 0.4 * NOISE
    assert np.sqrt(learned.noise_variance.mean()) == pytest.approx(NOISE, rel=0.4)


@pytest.mark.parametrize("seed", range(3))
def test_the_stated_variances_are_those_of_the_errors(seed, make_mixed, fit_mixed, mixed_log_loss):
    observations, new = make_mixed(100, seed), make_mixed(400, seed + 100)
    fit = fit_mixed(observations)
    learned = Surrogate.learn(fit, observations, PRIOR).correct(fit, new.columns)
    off = fit.log_loss(new.columns) + learned.log_loss - mixed_log_loss(new.columns)
    ratio = np.sqrt(np.mean(off**2 / learned.variance))
    assert 0.6 < ratio < 1.6


@pytest.mark.parametrize("seed", range(3))
def test_a_few_runs_far_off_hardly_move_predictions(seed, make_mixed, fit_mixed, mixed_log_loss):
    """A run that diverged a little, or was read off a wrong log: 5 % of runs off by ten sds of the noise."""
    observations, new = make_mixed(100, seed), make_mixed(400, seed + 100)
    truth = mixed_log_loss(new.columns)
    rows = np.random.default_rng(seed).choice(100, 5, replace=False)
    loss = observations.loss.copy()
    loss[rows] *= np.exp(10 * NOISE)
    spoilt = replace(observations, loss=loss)
    clean, moved = ((fit := fit_mixed(o), Surrogate.learn(fit, o, PRIOR)) for o in (observations, spoilt))
    assert error(*moved, new, truth) < error(*clean, new, truth) + 0.25 * NOISE
    trust = moved[1].process.trust
    assert trust[rows].max() < 0.5 < np.median(np.delete(trust, rows))


def test_domains_in_another_order_change_nothing(mixed, make_mixed, fit_mixed, mix_domains):
    """The fit stops within a ten-thousandth of its optimum, and the rest follows it."""
    observations, fit, surrogate = mixed
    other = fit_mixed(observations, mix_domains[::-1])
    turned = Surrogate.learn(other, observations, PRIOR)
    assert turned.features.shares == surrogate.features.shares[::-1]
    columns = make_mixed(50, 5).columns
    one, two = surrogate.correct(fit, columns), turned.correct(other, columns)
    difference = other.log_loss(columns) + two.log_loss - fit.log_loss(columns) - one.log_loss
    assert np.abs(difference).max() < 0.1 * NOISE
    np.testing.assert_allclose(two.variance, one.variance, rtol=0.1)


def test_runs_in_another_order_change_nothing(mixed, make_mixed, fit_mixed):
    observations, fit, surrogate = mixed
    order = np.random.default_rng(0).permutation(100)
    again = Surrogate.learn(fit, observations.take(order), PRIOR)
    columns = make_mixed(50, 5).columns
    one, two = surrogate.correct(fit, columns), again.correct(fit, columns)
    np.testing.assert_allclose(two.log_loss, one.log_loss, atol=0.01 * NOISE)
    np.testing.assert_allclose(two.variance, one.variance, rtol=0.01)


def test_the_same_runs_give_the_same_bits(mixed, make_mixed):
    observations, fit, surrogate = mixed
    again = Surrogate.learn(fit, observations, PRIOR)
    columns = make_mixed(50, 5).columns
    for name in ("log_loss", "variance", "noise_variance"):
        one, two = (getattr(s.correct(fit, columns), name) for s in (surrogate, again))
        np.testing.assert_array_equal(one, two)


# how it is evaluated


@pytest.mark.parametrize("kind", ["gp", "trees", "gp+trees"])
def test_chunks_are_the_whole(kind, mixed, make_mixed, monkeypatch):
    observations, fit, surrogate = mixed
    surrogate = surrogate if kind == "gp" else with_trees(surrogate, observations, fit, kind)
    columns = make_mixed(50, 6).columns
    whole = surrogate.correct(fit, columns)
    monkeypatch.setattr(_surrogate, "_CHUNK", 7)
    parts = surrogate.correct(fit, columns)
    np.testing.assert_allclose(parts.log_loss, whole.log_loss, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts.variance, whole.variance, rtol=1e-3)  # single precision inside
    np.testing.assert_allclose(parts.noise_variance, whole.noise_variance, rtol=1e-12)


def test_one_run_and_none(mixed):
    _, fit, surrogate = mixed
    columns = mixed[0].columns
    every = surrogate.correct(fit, columns)
    one = surrogate.correct(fit, {name: values[17:18] for name, values in columns.items()})
    assert one.log_loss[0] == pytest.approx(every.log_loss[17], rel=1e-9)
    assert one.variance[0] == pytest.approx(every.variance[17], rel=1e-3)
    none = surrogate.correct(fit, {name: values[:0] for name, values in columns.items()})
    assert (none.log_loss.shape, none.variance.shape, none.noise_variance.shape) == ((0,), (0,), (0,))


def test_trees_correct_alone_or_by_half(mixed, make_mixed):
    observations, fit, surrogate = mixed
    columns = make_mixed(60, 8).columns
    process, trees, both = (
        (surrogate if kind == "gp" else with_trees(surrogate, observations, fit, kind)).correct(fit, columns)
        for kind in ("gp", "trees", "gp+trees")
    )
    np.testing.assert_allclose(both.log_loss, 0.5 * (process.log_loss + trees.log_loss))
    for learned in (trees, both):  # the process always says how sure it is
        np.testing.assert_array_equal(learned.variance, process.variance)
    assert not np.allclose(trees.log_loss, process.log_loss)


def test_covariances_are_those_of_the_corrections(mixed, make_mixed):
    _, fit, surrogate = mixed
    columns, others = make_mixed(40, 9).columns, make_mixed(15, 10).columns
    own = surrogate.covariance(fit, columns, columns)
    np.testing.assert_allclose(np.diag(own), surrogate.correct(fit, columns).variance, rtol=1e-3)
    assert np.linalg.eigvalsh(0.5 * (own + own.T)).min() > -1e-10
    across = surrogate.covariance(fit, columns, others)
    assert across.shape == (40, 15)
    np.testing.assert_allclose(surrogate.covariance(fit, others, columns), across.T, rtol=1e-6, atol=1e-14)
    limit = np.sqrt(np.outer(np.diag(own), np.diag(surrogate.covariance(fit, others, others))))
    assert (np.abs(across) <= limit * (1 + 1e-9)).all()


def test_the_spread_of_a_joint_process_is_the_larger_of_its_own_and_the_laws(mixed):
    _, _, surrogate = mixed
    learned = Correction(np.zeros(3), np.array([4.0, 4.0, 4.0]), np.array([0.0, 1.0, 9.0]))
    law = np.array([0.0, 3.0, 1.0])
    np.testing.assert_allclose(surrogate.spread(law, learned) ** 2, [4.0, 10.0, 13.0])
    held = replace(surrogate, joint=False)
    np.testing.assert_allclose(held.spread(law, learned) ** 2, [4.0, 14.0, 14.0])


# scale and settings


def test_a_correction_fades_far_beyond_the_fitted_runs(make_mixed, fit_mixed):
    """A process that is held on its law says nothing forty decades off; there the law alone speaks."""
    observations = make_mixed(90, size=(5e7, 1e8, 2e8))
    fit = fit_mixed(observations)
    surrogate = Surrogate.learn(fit, observations, PRIOR, joint=False)
    far = {**observations.columns, "params": np.full(90, 1e28), "tokens": np.full(90, 1e29)}
    near, off = (np.abs(surrogate.correct(fit, columns).log_loss).mean() for columns in (observations.columns, far))
    assert off < 0.02 * near


def test_settings_that_are_not_stated_are_taken_as_the_best(tuned):
    observations, fit = tuned
    surrogate = Surrogate.learn(fit, observations, PRIOR)
    bare = {name: observations.columns[name] for name in ("params", "tokens")}
    learned = surrogate.correct(fit, bare)
    best = 1.7 + 480 * bare["params"] ** -0.35 + 2100 * bare["tokens"] ** -0.37
    np.testing.assert_allclose(np.exp(fit.log_loss(bare) + learned.log_loss), best, rtol=0.02)
    assert (learned.variance > 0).all()


def test_tables_larger_than_a_process_are_thinned(make_mixed, fit_mixed, monkeypatch, mixed_log_loss):
    monkeypatch.setattr(_surrogate, "MOST_ROWS", 60)
    observations = make_mixed(150)
    fit = fit_mixed(observations)
    surrogate = Surrogate.learn(fit, observations, PRIOR)
    assert len(surrogate.process.z) == 60
    new = make_mixed(200, 3)
    truth = mixed_log_loss(new.columns)
    assert error(fit, surrogate, new, truth) < float(np.abs(fit.log_loss(new.columns) - truth).mean())
