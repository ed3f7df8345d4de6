"""Calibration: quantiles of scores, their mixture with the public ones, and the coverage that comes of it."""

import json

import numpy as np
import pytest
from foretrain.simulator.fitting import Scores, error_scale
from foretrain.simulator.predictor import calibration as module
from foretrain.simulator.predictor.calibration import GRID, Calibration, public_calibration, weighted_quantiles
from foretrain.simulator.predictor.prediction import LossPrediction

LEVELS = np.array([0.1, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99])
PUBLIC_CUTS = module._PUBLIC_CUTS  # what the public scores weigh, in cuts of a table's own
NONE = Scores.joined([])
ONE = 0.8  # noise at which the scale of an error without spread and gap is one, so that |z| is the error


def scores(z, cut) -> Scores:
    """Scores whose |z| are the given values."""
    z = np.asarray(z, dtype=float)
    zero = np.zeros(len(z))
    return Scores(z, zero, np.full(len(z), ONE), zero, np.broadcast_to(cut, z.shape))


def of_values(z) -> Calibration:
    return Calibration(weighted_quantiles(np.asarray(z, float), np.ones(len(z)), GRID))


def test_the_scale_of_these_tests_is_one():
    assert error_scale(np.zeros(1), ONE, np.zeros(1)) == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_allclose(scores([-2, 3], [0, 1]).z(), [2, 3])


# quantiles


@pytest.mark.parametrize("n", [1, 2, 7, 400])
def test_equal_weights_are_the_plain_quantiles(n):
    """Numpy calls the interpolation between the middles of the steps Hazen's."""
    values = np.random.default_rng(n).standard_normal(n)
    for weight in (1.0, 0.01):
        found = weighted_quantiles(values, np.full(n, weight), GRID)
        np.testing.assert_allclose(found, np.quantile(values, GRID, method="hazen"), atol=1e-12)


def test_a_heavy_value_is_many_light_ones():
    rng = np.random.default_rng(1)
    values, counts = rng.standard_normal(300), rng.integers(1, 4, 300)
    levels = np.linspace(0.02, 0.98, 49)
    one = weighted_quantiles(values, counts.astype(float), levels)
    many = weighted_quantiles(np.repeat(values, counts), np.ones(counts.sum()), levels)
    np.testing.assert_allclose(one, many, atol=0.05)


def test_order_of_the_values_is_irrelevant():
    rng = np.random.default_rng(2)
    values, weights, order = rng.standard_normal(50), rng.random(50), rng.permutation(50)
    one, other = weighted_quantiles(values, weights, GRID), weighted_quantiles(values[order], weights[order], GRID)
    np.testing.assert_allclose(one, other, atol=1e-12)


# width and level


@pytest.fixture(params=["public", "narrow", "tied", "few"])
def calibration(request):
    rng = np.random.default_rng(3)
    return {
        "public": public_calibration(),
        "narrow": of_values(0.01 * np.abs(rng.standard_normal(500))),
        "tied": of_values(np.repeat([0.5, 1.0, 2.0], 20)),
        "few": Calibration.from_scores(scores([0.1, 5.0], [0, 1]), public_calibration()),
    }[request.param]


def test_width_rises_with_the_level_beyond_the_grid(calibration):
    levels = np.concatenate([np.linspace(0, 0.99, 400), 1 - np.geomspace(0.0099, 1e-7, 50)])
    widths = calibration.width(levels)
    assert np.isfinite(widths).all()
    assert (widths >= 0).all()
    assert (np.diff(widths) >= 0).all()
    assert calibration.width(0.9999) > calibration.width(0.99), "no interval is certain"
    np.testing.assert_array_equal(calibration.width(GRID), calibration.quantiles)


def test_level_undoes_width():
    calibration = public_calibration()
    for level in [*np.linspace(0.03, 0.98, 20), 0.995, 0.999, 0.9999]:
        assert calibration.level(float(calibration.width(level))) == pytest.approx(level, abs=1e-3)
        assert calibration.level(-float(calibration.width(level))) == pytest.approx(level, abs=1e-3)


def test_level_is_monotone_and_a_share(calibration):
    levels = [calibration.level(z) for z in [0.0, *np.geomspace(1e-4, 1e3, 200)]]
    assert (np.diff(levels) >= 0).all()
    assert min(levels) >= 0
    assert levels[-1] == 1.0


def test_public_intervals_are_wider_than_a_normals():
    """The spread of draws alone covered far too few extrapolated runs, which is why the scores are measured."""
    assert public_calibration().width(0.9) > 1.645
    assert public_calibration().own_cuts > 10
    assert (np.diff(public_calibration().quantiles) >= 0).all()


# a table's own scores


def test_without_own_scores_the_public_ones_are_widened_for_their_number():
    public = public_calibration()
    mixed = Calibration.from_scores(NONE, public)
    assert (mixed.width(LEVELS[:-1]) >= public.width(LEVELS[:-1])).all()
    assert mixed.width(0.8) == pytest.approx(public.width(0.8 * (1 + 1 / PUBLIC_CUTS)), rel=0.02)
    assert (mixed.own_cuts, mixed.own_scores) == (0, 0)


@pytest.mark.parametrize(("own", "rising"), [(8.0, True), (0.0, False)])
def test_own_scores_pull_harder_as_cuts_grow(own, rising):
    public = public_calibration()
    widths = []
    for cuts in (1, 3, 10, 30, 100, 1000):
        mixed = Calibration.from_scores(scores(np.full(cuts, own), np.arange(cuts)), public)
        assert (mixed.own_cuts, mixed.own_scores) == (cuts, cuts)
        widths.append(float(mixed.width(0.5)))
    assert widths == sorted(widths, reverse=not rising)
    assert widths[0] == pytest.approx(float(public.width(0.5)), rel=0.4), "one cut says little"
    assert widths[-1] == pytest.approx(own, abs=0.01)


@pytest.mark.parametrize("cuts", [1, 2, 4, 8, 20])
@pytest.mark.parametrize("seed", range(3))
def test_never_narrower_than_if_every_own_error_were_zero(cuts, seed):
    """The public scores weigh P cuts, so a share P/(P+k) of the mass stays theirs however good k own cuts look."""
    public = public_calibration()
    rng = np.random.default_rng(seed)
    own = scores(rng.exponential(rng.choice([0.01, 0.3, 3.0]), 5 * cuts), np.repeat(np.arange(cuts), 5))
    mixed = Calibration.from_scores(own, public)
    share = (LEVELS * (PUBLIC_CUTS + cuts) - cuts) / PUBLIC_CUTS
    floor = np.where(share > 0, public.width(np.clip(0.97 * share - 0.01, 0, 0.97)), 0.0)
    assert (mixed.width(LEVELS) >= floor - 1e-9).all()


def test_widths_stay_between_the_smallest_and_the_largest_score():
    public = public_calibration()
    own = np.random.default_rng(5).exponential(2.0, 40)
    mixed = Calibration.from_scores(scores(own, np.arange(40) // 4), public)
    top = max(own.max(), public.quantiles[-1])
    assert (mixed.quantiles >= 0).all()
    assert (mixed.quantiles <= top).all()
    assert (np.diff(mixed.quantiles) >= 0).all()


def test_one_cut_with_many_runs_counts_once():
    """Errors above one cut share their cause: a thousand of them are one piece of evidence."""
    public = public_calibration()
    few = Calibration.from_scores(scores([6.0, 7.0], 0), public)
    many = Calibration.from_scores(scores(np.repeat([6.0, 7.0], 500), 0), public)
    assert (few.own_cuts, many.own_cuts) == (1, 1)
    assert (few.own_scores, many.own_scores) == (2, 1000)
    low = LEVELS[:3]  # the own scores lie at the top
    np.testing.assert_allclose(many.width(low), few.width(low), rtol=0.02)
    spread_out = Calibration.from_scores(scores(np.repeat([6.0, 7.0], 500), np.arange(1000)), public)
    assert spread_out.width(0.5) > 3 * many.width(0.5)


def test_larger_errors_widen():
    own = np.random.default_rng(6).exponential(1.0, 60)
    cut = np.arange(60) // 6
    widths = [
        Calibration.from_scores(scores(factor * own, cut), public_calibration()).width(LEVELS) for factor in (0.5, 1, 2)
    ]
    assert (widths[1] >= widths[0] - 0.02).all()
    assert (widths[2] >= widths[1] - 0.02).all()


def test_pooled_counts_groups_tables_and_cuts_once():
    crowd = [scores(np.full(50, 1.0), np.arange(50)) for _ in range(10)]
    pooled = Calibration.pooled({"crowd": crowd, "single": [scores([3.0], 0)], "silent": [NONE]})
    assert pooled.width(0.25) == pytest.approx(1.0, abs=1e-9)
    assert pooled.width(0.9) == pytest.approx(3.0, abs=1e-9)
    heavy = scores([*np.full(99, 1.0), 3.0], [*np.zeros(99), 1])  # one cut of 99 runs and one of a single run
    one = Calibration.pooled({"table": [heavy]})
    assert (one.width(0.25), one.width(0.9)) == (pytest.approx(1.0), pytest.approx(3.0))


# sampling and coverage


def test_samples_have_the_quantiles_of_the_scores(calibration):
    drawn = calibration.sample(np.random.default_rng(7), 200_000)
    assert drawn.shape == (200_000,)
    assert np.mean(drawn > 0) == pytest.approx(0.5, abs=0.005)
    inside = [np.mean(np.abs(drawn) <= calibration.width(level) + 1e-12) for level in LEVELS]
    assert (np.array(inside) >= LEVELS - 0.005).all(), "ties may only add"
    again = calibration.sample(np.random.default_rng(7), 200_000)
    np.testing.assert_array_equal(drawn, again)


def test_samples_of_distinct_scores_reach_each_level_exactly():
    drawn = np.abs(public_calibration().sample(np.random.default_rng(8), 200_000))
    for level in LEVELS:
        assert np.mean(drawn <= public_calibration().width(level)) == pytest.approx(level, abs=0.005)


def test_a_predictions_samples_and_probabilities_agree():
    prediction = LossPrediction(np.log([2.0, 3.0]), np.array([0.01, 0.05]), np.zeros(2), public_calibration())
    drawn = prediction.sample(np.random.default_rng(9), 100_000)
    assert drawn.shape == (100_000, 2)
    for loss in (1.95, 2.0, 2.05, 3.1):
        np.testing.assert_allclose(np.mean(drawn <= loss, axis=0), prediction.probability_at_most(loss), atol=0.006)
    high = drawn > np.exp(prediction.log_loss)
    np.testing.assert_array_equal(high[:, 0], high[:, 1])  # runs share the law's error


def exchangeable(rng, cuts: int, runs: int) -> np.ndarray:
    """Heavy-tailed |z| `(cuts, runs)` in which the runs of a cut share half of their variance."""
    shared, own = rng.standard_t(5, (cuts, 1)), rng.standard_t(5, (cuts, runs))
    return np.abs(np.sqrt(0.5) * shared + np.sqrt(0.5) * own)


@pytest.mark.parametrize("cuts", [0, 2, 6])
def test_exchangeable_scores_are_covered_as_often_as_stated(cuts):
    rng = np.random.default_rng(10 + cuts)
    groups = {str(i): [scores(exchangeable(rng, 6, 10).ravel(), np.repeat(np.arange(6), 10))] for i in range(400)}
    public = Calibration.pooled(groups)
    levels, trials = np.array([0.5, 0.8, 0.9]), 1500
    covered = np.zeros((trials, len(levels)))
    for trial in range(trials):
        own = scores(exchangeable(rng, cuts, 8).ravel(), np.repeat(np.arange(cuts), 8)) if cuts else NONE
        new = exchangeable(rng, 1, 1)[0, 0]
        covered[trial] = new <= Calibration.from_scores(own, public).width(levels)
    sampling = 3 * np.sqrt(levels * (1 - levels) / trials)
    found = covered.mean(axis=0)
    assert (found >= levels - sampling).all(), found
    # the finite-sample level asks for (n + 1) / n of the stated one
    stated = np.minimum(levels * (1 + 1 / (PUBLIC_CUTS + cuts)), 1.0)
    assert (found <= stated + sampling + 0.01).all(), found


def test_round_trips_through_json():
    before = Calibration.from_scores(scores([0.3, 4.0], [0, 1]), public_calibration())
    after = Calibration.from_dict(json.loads(json.dumps(before.to_dict())))
    np.testing.assert_allclose(after.quantiles, before.quantiles, rtol=1e-4)
    assert (after.own_cuts, after.own_scores) == (2, 2)
    once_more = Calibration.from_dict(after.to_dict())
    np.testing.assert_array_equal(once_more.quantiles, after.quantiles)
