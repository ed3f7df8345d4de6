"""The rolling-compute back-test: cuts that never leak, errors out of sample, and how they are summed up."""

import importlib

import numpy as np
import pytest
from foretrain.core.errors import FitError
from foretrain.simulator.fitting import (
    Observations,
    Scores,
    backtest,
    draw_spread,
    error_scale,
    extrapolation_decades,
    fit_observations,
    public_prior,
    ranges,
)
from foretrain.simulator.fitting.backtest import cuts, decades_beyond
from foretrain.simulator.laws import get_law

CHINCHILLA, GENERAL = get_law("chinchilla"), get_law("general")


@pytest.fixture
def observe(simulate):
    """`observe(n, noise, seed)`: runs of the known law as observations."""
    return lambda *args, **kwargs: Observations.from_columns(*simulate(*args, **kwargs))


def made(error, cut, gap=1.0, spread=0.0, noise=0.004) -> Scores:
    error = np.asarray(error, float)
    return Scores(error, *(np.broadcast_to(np.asarray(v, float), error.shape) for v in (spread, noise, gap, cut)))


# cuts


@pytest.mark.parametrize("law", ["general", "chinchilla", "kaplan", "params_only", "tokens_only"])
@pytest.mark.parametrize("n", [8, 12, 40, 150])
def test_every_training_run_has_less_compute_than_every_test_run(law, n, observe):
    seen = observe(n, 0.01, seed=n)
    masks = cuts(get_law(law), seen)
    assert masks
    sizes = [int(mask.sum()) for mask in masks]
    assert sizes == sorted(set(sizes), reverse=True), "largest first, none twice"
    for mask in masks:
        assert mask.dtype == bool
        assert 6 <= mask.sum() < n
        assert seen.compute[mask].max() < seen.compute[~mask].min()
        for column in get_law(law).member.uses:
            assert len(np.unique(seen.columns[column][mask])) >= 2


def test_runs_of_equal_compute_stay_on_one_side():
    tokens = np.tile(2.0 ** np.arange(34, 29, -1), 5) * np.repeat([1, 2, 4, 8, 16], 5)
    params = np.tile(2.0 ** np.arange(26, 31), 5)
    seen = Observations.from_columns({"params": params, "tokens": tokens}, np.full(25, 3.0))
    assert len(np.unique(seen.compute)) == 5
    for mask in cuts(GENERAL, seen):
        assert seen.compute[mask].max() < seen.compute[~mask].min()


def test_small_tables_have_no_cut(observe):
    assert cuts(GENERAL, observe(6)) == []
    scores = backtest(GENERAL, observe(6), None)
    assert scores.cuts == len(scores.error) == 0
    assert np.isnan(scores.median_relative_error)
    assert np.isnan(scores.max_relative_error)


def test_equal_compute_everywhere_has_no_cut():
    params = 2.0 ** np.arange(25, 35)
    assert cuts(GENERAL, Observations.from_columns({"params": params, "tokens": 2.0**62 / params}, params)) == []


# out of sample


def test_the_largest_run_never_enters_a_fit(observe):
    """Its loss is doubled: its own errors move by log 2, and no other error moves at all."""
    seen = observe(40, 0.01, seed=1)
    top = int(seen.compute.argmax())
    loss = seen.loss.copy()
    loss[top] *= 2
    before, after = (backtest(CHINCHILLA, Observations(seen.columns, x, seen.weights), None) for x in (seen.loss, loss))
    moved = ~np.isclose(after.error, before.error, rtol=0, atol=1e-12)
    assert moved.sum() == before.cuts == after.cuts, "once in every cut"
    np.testing.assert_allclose((before.error - after.error)[moved], np.log(2.0), atol=1e-9)
    np.testing.assert_array_equal(before.noise, after.noise)


@pytest.mark.parametrize("prior", [None, "public"])
def test_errors_are_those_of_a_fit_to_the_training_runs_alone(prior, observe):
    prior = public_prior() if prior else None
    seen = observe(30, 0.01, seed=2)
    scores = backtest(GENERAL, seen, prior, draws=8, seed=5)
    for number, mask in enumerate(cuts(GENERAL, seen)):
        fit = fit_observations(GENERAL, seen.take(mask), prior, draws=8, seed=5)
        rest = seen.take(~mask)
        here = scores.cut == number
        np.testing.assert_array_equal(scores.error[here], fit.log_loss(rest.columns) - np.log(rest.loss))
        np.testing.assert_array_equal(scores.noise[here], fit.noise)
        np.testing.assert_array_equal(scores.extrapolation_decades[here], decades_beyond(seen.take(mask), rest.columns))
        spread = draw_spread(fit, rest.columns, fit.log_loss(rest.columns))
        np.testing.assert_array_equal(scores.spread[here], spread)
        assert (spread > 0).all()


def test_a_true_law_without_noise_predicts_every_cut(observe):
    scores = backtest(CHINCHILLA, observe(40), None)
    assert scores.cuts >= 3
    assert scores.max_relative_error < 1e-3
    np.testing.assert_array_equal(scores.spread, 0.0)  # none was asked for


def test_same_seed_same_scores(observe):
    seen = observe(25, 0.01, seed=3)
    one, again, other = (backtest(GENERAL, seen, public_prior(), draws=8, seed=seed) for seed in (1, 1, 2))
    for name in ("error", "spread", "noise", "extrapolation_decades", "cut"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    np.testing.assert_array_equal(one.error, other.error)
    assert not np.array_equal(one.spread, other.spread)


def test_order_of_the_runs_is_irrelevant(observe):
    seen = observe(30, 0.01, seed=4)
    shuffled = seen.take(np.random.default_rng(0).permutation(30))
    one, other = backtest(CHINCHILLA, seen, None), backtest(CHINCHILLA, shuffled, None)
    assert one.cuts == other.cuts
    assert one.median_relative_error == pytest.approx(other.median_relative_error, rel=1e-4)


def test_large_tables_are_thinned(observe):
    scores = backtest(CHINCHILLA, observe(1500, 0.01), None)
    assert scores.cuts >= 3
    assert len(scores.error) < 600 * scores.cuts


def test_a_cut_that_cannot_be_fitted_is_left_out(observe, monkeypatch):
    module = importlib.import_module("foretrain.simulator.fitting.backtest")
    seen = observe(30, 0.01, seed=6)
    every = cuts(CHINCHILLA, seen)
    smallest = min(int(mask.sum()) for mask in every)

    def fit(law, columns, loss, **more):
        if len(loss) == smallest:
            raise FitError("too little")
        return original(law, columns, loss, **more)

    original = module.fit_law
    monkeypatch.setattr(module, "fit_law", fit)
    assert backtest(CHINCHILLA, seen, None).cuts == len(every) - 1


# gaps and scales


def test_gap_is_in_decades_beyond_the_fitted_runs():
    seen = {"params": (1e8, 1e9), "tokens": (1e10, 1e11), "compute": (6e18, 6e20)}

    def gap(params, tokens) -> float:
        return float(extrapolation_decades(seen, {"params": np.array([params]), "tokens": np.array([tokens])})[0])

    assert gap(1e9, 1e11) == gap(3e8, 3e10) == gap(1e8, 1e10) == 0.0
    assert gap(1e10, 1e12) == pytest.approx(2.0)
    assert gap(1e10, 1e10) == pytest.approx(1.0), "compute is known, this size is not"
    assert gap(1e10, 1e9) == pytest.approx(2.0), "one decade in each of N and D"
    assert gap(1e7, 1e10) == pytest.approx(1.0), "below counts as beyond"
    assert gap(1e9, 1e12) == pytest.approx(1.0)


def test_ranges_are_those_of_the_runs(observe):
    seen = observe(20)
    found = ranges(seen)
    for name, values in {**seen.columns, "compute": seen.compute}.items():
        assert found[name] == (values.min(), values.max())
    np.testing.assert_array_equal(decades_beyond(seen, seen.columns), 0.0)


def test_scale_is_a_root_of_squares_that_grows_with_each_part():
    base = error_scale(np.array([0.01]), 0.004, np.array([1.0]))[0]
    assert base == pytest.approx(np.sqrt(0.01**2 + (1.25 * 0.004) ** 2 + 0.004**2))
    assert error_scale(np.array([0.02]), 0.004, np.array([1.0]))[0] > base
    assert error_scale(np.array([0.01]), 0.008, np.array([1.0]))[0] > base
    assert error_scale(np.array([0.01]), 0.004, np.array([3.0]))[0] > base
    assert error_scale(np.zeros(1), 0.004, np.zeros(1))[0] == pytest.approx(0.005)


# summaries


def test_a_cut_counts_once_however_many_runs_lie_above_it():
    scores = made([0.01] * 99 + [0.05], [0] * 99 + [1])
    assert scores.cuts == 2
    assert scores.median_relative_error == pytest.approx(0.03)
    assert scores.cut_weights().sum() == pytest.approx(2.0)
    assert scores.cut_weights()[-1] == 1.0


def test_errors_far_out_are_preferred_where_a_cut_has_any():
    scores = made([0.01, 0.02, -0.08, 0.03], [0, 0, 0, 1], gap=[0.1, 0.2, 0.5, 0.1])
    assert scores.median_relative_error == pytest.approx((0.08 + 0.03) / 2)
    assert scores.max_relative_error == pytest.approx(0.08)


def test_z_is_the_error_over_its_own_scale():
    scores = made([0.03, -0.06], [0, 0], gap=0.0, spread=0.0, noise=0.024)
    np.testing.assert_allclose(scores.z(), [1.0, 2.0])
