"""The process against textbook formulas written out, against scikit-learn, and what learning finds in known data."""

from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.surrogate._kernel import Hyper, matern, noise_variance, scaled, squared_distances
from foretrain.simulator.surrogate._process import Inputs, Process, _evidence, learn
from hypothesis import given, settings
from hypothesis import strategies as st

SHARES, OTHERS, LUCK, LAW = 2, 2, 1, 3
UNIT = 0.01
LENGTHS = np.array([1.5, 0.7])  # prior centres of the log lengths of one share and one other feature
SEEDS = st.integers(0, 10_000)
FEW = settings(deadline=None, max_examples=25)


def inputs(n: int, seed: int = 0, law: float = 1.0) -> Inputs:
    """n runs: two shares, two other features, one cause of bad luck, a law of three parameters, each `law` wide."""
    rng = np.random.default_rng(seed)
    x = np.hstack([rng.random((n, SHARES)), rng.standard_normal((n, OTHERS))])
    return Inputs(x, rng.standard_normal((n, LUCK)), law * rng.standard_normal((n, LAW)))


def hyper(seed: int = 0, noise: float = -1.5) -> Hyper:
    rng = np.random.default_rng(seed)
    lengths, offsets = rng.normal(0.7, 0.4, SHARES + OTHERS), rng.normal(-3, 0.5, SHARES)
    return Hyper(float(rng.normal(0, 0.5)), lengths, offsets, noise, rng.normal(0, 0.3, LUCK))


def process(n: int = 20, seed: int = 0, law: float = 1.0, noise: float = -1.5) -> Process:
    rng = np.random.default_rng(seed + 1)
    trust = np.where(rng.random(n) < 0.3, rng.uniform(0.1, 1, n), 1.0)
    return Process(hyper(seed, noise), UNIT, inputs(n, seed, law), rng.standard_normal(n), trust)


def kernel(one: Inputs, other: Inputs, h: Hyper) -> np.ndarray:
    """Law and residual of two sets of runs, `(n, m)`."""
    residual = np.exp(h.signal) * matern(squared_distances(scaled(one.x, h), scaled(other.x, h)))
    return residual + one.tangent @ other.tangent.T


def covariance(p: Process) -> np.ndarray:
    """What the observed runs have in common, their noise included, `(n, n)`."""
    own = noise_variance(p.inputs.run_noise, p.hyper) / p.trust
    return kernel(p.inputs, p.inputs, p.hyper) + np.diag(own)


def without(p: Process, rows) -> Process:
    keep = np.setdiff1d(np.arange(len(p.z)), rows)
    return replace(p, inputs=p.inputs.take(keep), z=p.z[keep], trust=p.trust[keep])


# evidence


def test_the_evidence_is_the_density_of_a_normal():
    from scipy.stats import multivariate_normal

    p = process(15)
    value, _ = _evidence(p.hyper, p, p.inputs.tangent @ p.inputs.tangent.T)
    expected = -multivariate_normal(np.zeros(15), covariance(p)).logpdf(p.z)
    assert value + 7.5 * np.log(2 * np.pi) == pytest.approx(expected, rel=1e-6)


@FEW
@given(SEEDS, st.integers(2, 25))
def test_the_gradient_of_the_evidence_equals_central_differences(seed, n):
    p = process(n, seed)
    dense = p.inputs.tangent @ p.inputs.tangent.T

    def value(vector):
        return _evidence(Hyper.of(vector, SHARES, LUCK), p, dense)[0]

    vector, step = p.hyper.vector(), 1e-5
    expected = [(value(vector + m) - value(vector - m)) / (2 * step) for m in step * np.eye(len(vector))]
    np.testing.assert_allclose(_evidence(p.hyper, p, dense)[1], expected, rtol=1e-4, atol=1e-4)


# prediction


@FEW
@given(SEEDS, st.sampled_from([0.0, 1.0, 30.0]))
def test_predictions_are_the_textbook_conditional(seed, law):
    """Rasmussen & Williams 2006, eqs. 2.25 and 2.26, law and residual in one kernel."""
    p, new = process(20, seed, law), inputs(9, seed + 2, law)
    cross, inverse = kernel(new, p.inputs, p.hyper), np.linalg.inv(covariance(p))
    posterior = kernel(new, new, p.hyper) - cross @ inverse @ cross.T
    mean, variance, noise = p.predict(new)
    np.testing.assert_allclose(mean, UNIT * cross @ inverse @ p.z, rtol=1e-4, atol=1e-6 * UNIT * max(law, 1))
    np.testing.assert_allclose(variance, UNIT**2 * np.diag(posterior), rtol=2e-3, atol=1e-5 * UNIT**2)
    np.testing.assert_allclose(p.covariance(new, new), UNIT**2 * posterior, rtol=1e-3, atol=1e-5 * UNIT**2)
    np.testing.assert_allclose(noise, UNIT**2 * noise_variance(new.run_noise, p.hyper))


def test_a_residual_alone_is_scikit_learns_gaussian_process():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    p, new = process(30, law=0.0), inputs(12, 5, law=0.0)
    noise = noise_variance(p.inputs.run_noise, p.hyper) / p.trust
    shape = ConstantKernel(np.exp(p.hyper.signal), "fixed") * Matern(1.0, "fixed", nu=2.5)
    theirs = GaussianProcessRegressor(shape, alpha=noise, optimizer=None).fit(scaled(p.inputs.x, p.hyper), p.z)
    mean, sd = theirs.predict(scaled(new.x, p.hyper), return_std=True)
    ours = p.predict(new)
    np.testing.assert_allclose(ours[0], UNIT * mean, rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(ours[1]), UNIT * sd, rtol=1e-4)


def test_a_law_alone_is_scikit_learns_ridge():
    """With the residual off and noise of one, the mean is ridge regression on the tangent with a penalty of one."""
    from sklearn.linear_model import Ridge

    p, new = process(30, seed=3), inputs(12, 5)
    quiet = replace(p.hyper, signal=-30.0, noise=0.0, run_noise=np.zeros(LUCK))
    p = replace(p, hyper=quiet, trust=np.ones(30))
    theirs = Ridge(alpha=1.0, fit_intercept=False).fit(p.inputs.tangent, p.z)
    np.testing.assert_allclose(p.predict(new)[0], UNIT * theirs.predict(new.tangent), rtol=1e-6)


def test_a_wide_law_does_not_drown_the_variance():
    """In single precision, differences from a law a thousand times as wide as the residual were off by factors."""
    p, new = process(60, seed=4, law=1000.0, noise=-4.0), inputs(40, 6, law=1000.0)
    exact = np.diag(p.covariance(new, new))
    np.testing.assert_allclose(p.predict(new)[1], exact, rtol=5e-3)
    assert np.median(exact) < 1e-4 * UNIT**2 * 1000.0**2


def test_covariances_agree_with_variances_and_are_positive():
    p, new = process(25), inputs(15, 7)
    both = p.covariance(new, new)
    np.testing.assert_allclose(np.diag(both), p.predict(new)[1], rtol=1e-4)
    assert np.linalg.eigvalsh(0.5 * (both + both.T)).min() > -1e-12
    np.testing.assert_allclose(p.covariance(new, new.take(np.arange(4))), both[:, :4], atol=1e-15)


@FEW
@given(SEEDS, st.integers(1, 19))
def test_variances_are_never_negative_and_never_fall_when_runs_are_removed(seed, removed):
    p, new = process(20, seed), inputs(10, seed + 3)
    gone = np.random.default_rng(seed).choice(20, removed, replace=False)
    full, fewer = p.predict(new)[1], without(p, gone).predict(new)[1]
    assert (full > 0).all()
    assert (fewer >= full * (1 - 1e-4)).all()
    at_the_runs = replace(p, hyper=replace(p.hyper, noise=-12.0)).predict(p.inputs)[1]
    assert (at_the_runs >= 0).all()


def test_far_off_the_residual_fades_and_its_variance_is_all_there_is():
    p, new = process(20, law=0.0), inputs(5, 8, law=0.0)
    far = replace(new, x=new.x + np.array([0.0, 0.0, 1e4, 1e4]))
    mean, variance, _ = p.predict(far)
    np.testing.assert_allclose(mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(variance, UNIT**2 * np.exp(p.hyper.signal), rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_runs_and_features_is_irrelevant(seed):
    p, new = process(20, seed), inputs(10, seed + 4)
    rows, places = np.random.default_rng(seed).permutation(20), [1, 0, 3, 2]
    h = replace(p.hyper, lengths=p.hyper.lengths[places], offsets=p.hyper.offsets[::-1])
    moved = Inputs(p.inputs.x[rows][:, places], p.inputs.run_noise[rows], p.inputs.tangent[rows][:, ::-1])
    other = Process(h, UNIT, moved, p.z[rows], p.trust[rows])
    again = other.predict(Inputs(new.x[:, places], new.run_noise, new.tangent[:, ::-1]))
    for one, two in zip(p.predict(new), again, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4)
    np.testing.assert_allclose(other.left_out()[0], p.left_out()[0][rows], rtol=1e-7, atol=1e-12)


# leaving out


def refitted(p: Process, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors and sds of `rows` by a process that has not seen them, at the same hyperparameters."""
    mean, variance, noise = without(p, rows).predict(p.inputs.take(rows))
    return mean - p.unit * p.z[rows], np.sqrt(variance + noise)


@FEW
@given(SEEDS)
def test_leaving_one_out_in_closed_form_is_refitting_without_it(seed):
    p = process(15, seed)
    error, sd = p.left_out()
    for row in range(15):
        expected, spread = refitted(p, np.array([row]))
        assert error[row] == pytest.approx(expected[0], rel=1e-4, abs=1e-6 * UNIT)
        assert sd[row] == pytest.approx(spread[0], rel=1e-3)


@FEW
@given(SEEDS)
def test_groups_are_left_out_together(seed):
    p = process(16, seed)
    groups = np.random.default_rng(seed).integers(0, 5, 16)
    error, sd = p.left_out(groups)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        expected, spread = refitted(p, rows)
        np.testing.assert_allclose(error[rows], expected, rtol=1e-4, atol=1e-6 * UNIT)
        np.testing.assert_allclose(sd[rows], spread, rtol=1e-3)


def test_groups_of_one_are_runs_one_by_one():
    p = process(12)
    for one, other in zip(p.left_out(), p.left_out(np.arange(12)[::-1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_an_outliers_own_noise_is_not_expected_of_the_next_run():
    """The sd of a run that was left out is that of a typical run at its place, whatever trust it was given."""
    p = process(15)
    doubted = replace(p, trust=np.where(np.arange(15) == 3, 0.01, p.trust))
    assert doubted.left_out()[1][3] == pytest.approx(p.left_out()[1][3], rel=1e-4)


# learning


def surface(x: np.ndarray) -> np.ndarray:
    """A smooth residual of log loss over one share and one other feature, some 3 % high."""
    return 0.03 * np.sin(3 * np.sqrt(x[:, 0])) * np.cos(x[:, 1])


def sample(n: int, seed: int, noise: float = 0.0):
    """Inputs without a law, and residuals of log loss with noise."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.random(n), rng.uniform(-2, 2, n)], axis=1)
    return Inputs(x, np.zeros((n, 0)), np.zeros((n, 1))), surface(x) + noise * rng.standard_normal(n)


def learned(n: int = 80, seed: int = 0, noise: float = 0.0, spoil=None, **more) -> Process:
    runs, z = sample(n, seed, noise)
    z = z if spoil is None else z + spoil
    return learn(runs, z, 1, LENGTHS, unit=0.02, rows=320, **more)


def errors(p: Process) -> np.ndarray:
    new, truth = sample(300, 99)
    return p.predict(new)[0] - truth


def test_noise_free_runs_are_interpolated():
    p = learned()
    runs, z = sample(80, 0)
    np.testing.assert_allclose(p.predict(runs)[0], z, atol=2e-5)
    assert np.abs(errors(p)).mean() < 2e-4
    assert p.predict(runs)[2].max() < 1e-3**2


@pytest.mark.parametrize("seed", range(3))
def test_the_noise_is_found_and_errors_are_as_large_as_stated(seed):
    p = learned(200, seed, noise=0.01)
    new, truth = sample(300, seed + 50)
    mean, variance, noise = p.predict(new)
    assert np.sqrt(noise[0]) == pytest.approx(0.01, rel=0.25)
    error = (mean - truth) / np.sqrt(variance)
    assert np.abs(error).mean() < 1.2
    assert np.abs(mean - truth).mean() < 0.3 * 0.01


def test_noise_that_grows_with_a_cause_is_found():
    rng = np.random.default_rng(0)
    runs, _ = sample(300, 0)
    cause = rng.uniform(-1, 1, (300, 1))
    z = surface(runs.x) + 0.005 * np.exp(cause[:, 0]) * rng.standard_normal(300)  # the variance goes as e^(2·cause)
    p = learn(replace(runs, run_noise=cause), z, 1, LENGTHS, unit=0.02, rows=320)
    assert p.hyper.run_noise[0] == pytest.approx(2.0, abs=0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_few_runs_far_off_hardly_move_the_rest(seed):
    noise = 0.004
    off = np.zeros(100)
    off[np.random.default_rng(seed).choice(100, 5, replace=False)] = 10 * noise
    clean, spoilt = learned(100, seed, noise), learned(100, seed, noise, spoil=off)
    assert spoilt.trust[off > 0].max() < 0.35
    assert np.median(spoilt.trust[off == 0]) == 1.0
    # five sds on average over five runs that were believed would shift every prediction by half a noise
    assert np.abs(errors(spoilt)).mean() < np.abs(errors(clean)).mean() + 0.25 * noise
    believed = replace(spoilt, trust=np.ones(100))
    assert np.abs(errors(spoilt)).mean() < np.abs(errors(believed)).mean()


def test_trust_is_a_share_and_follows_students_t():
    p = learned(60, 1, noise=0.01)
    assert (p.trust > 0).all()
    assert (p.trust <= 1).all()
    error, sd = replace(p, trust=np.ones(60)).left_out()
    np.testing.assert_allclose(p.trust, np.minimum(5.0 / (4.0 + (error / sd) ** 2), 1.0), rtol=1e-9)


def test_hyperparameters_come_from_some_runs_and_predictions_from_all():
    runs, z = sample(300, 2, noise=0.003)
    few = learn(runs, z, 1, LENGTHS, unit=0.02, rows=60)
    assert (len(few.z), len(few.trust)) == (300, 300)
    own = learn(runs.take(np.arange(0, 300, 5)), z[::5], 1, LENGTHS, unit=0.02, rows=60)
    assert np.abs(errors(few)).mean() < np.abs(errors(own)).mean()


def test_pure_noise_teaches_nothing():
    z = 0.01 * np.random.default_rng(3).standard_normal(100)
    p = learn(sample(100, 3)[0], z, 1, LENGTHS, unit=0.01, rows=320)
    assert np.abs(p.predict(sample(200, 4)[0])[0]).mean() < 0.003


def test_the_same_runs_give_the_same_bits():
    one, other = learned(60, 5, noise=0.01), learned(60, 5, noise=0.01)
    np.testing.assert_array_equal(one.hyper.vector(), other.hyper.vector())
    np.testing.assert_array_equal(one.trust, other.trust)


def test_the_unit_is_only_a_unit():
    """Twice the residual in twice the unit is the same process."""
    runs, z = sample(60, 6, noise=0.005)
    one = learn(runs, z, 1, LENGTHS, unit=0.01, rows=320)
    other = learn(runs, 2 * z, 1, LENGTHS, unit=0.02, rows=320)
    np.testing.assert_allclose(2 * one.predict(runs)[0], other.predict(runs)[0], rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_runs_is_enough_to_go_on(n):
    runs, z = sample(n, 7)
    p = learn(runs, z, 1, LENGTHS, unit=0.01, rows=320)
    mean, variance, noise = p.predict(sample(5, 8)[0])
    assert np.isfinite([mean, variance, noise]).all()


def test_runs_that_coincide_do_not_break_it():
    runs, z = sample(40, 9, noise=0.002)
    twice = runs.take(np.repeat(np.arange(40), 2))
    p = learn(twice, np.repeat(z, 2), 1, LENGTHS, unit=0.01, rows=320)
    np.testing.assert_allclose(p.predict(runs)[0], z, atol=3e-3)
    assert np.isfinite(p.left_out()).all()
