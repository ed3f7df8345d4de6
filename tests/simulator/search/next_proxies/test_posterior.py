import numpy as np
import pytest
from foretrain.simulator.fitting import fit_observations, public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.search.next_proxies import Candidates, LawPosterior, Region, SurrogatePosterior, choose_runs
from foretrain.simulator.search.next_proxies.posterior import SHARED_LUCK, noise_blocks
from foretrain.simulator.surrogate import Surrogate


def pick(columns, rows):
    return {name: values[rows] for name, values in columns.items()}


def test_a_run_far_below_the_planned_ones_says_less(belief, columns):
    noise = belief.noise(columns)
    size = np.argsort(columns["params"] * columns["tokens"])
    assert noise[size[0]] > 2 * noise[size[-1]]
    # at equal compute, 5 tokens per parameter are as much as a law needs; fewer are weighed down
    starved = {"params": columns["params"] * 4, "tokens": columns["tokens"] / 4}
    assert (belief.noise(starved) > 0.9 * noise).all()


def test_runs_done_narrow_what_is_open_everywhere(belief, columns, region):
    before = np.diag(belief.covariance(region.columns, region.columns))
    after = belief.after(columns)
    left = np.diag(after.covariance(region.columns, region.columns))
    assert (left < 0.05 * before).all()
    assert (left > 0).all()


def test_knowing_runs_at_once_or_one_after_the_other_is_the_same(belief, columns, region):
    at_once = belief.after(columns)
    half = belief.after(pick(columns, slice(0, 9))).after(pick(columns, slice(9, None)))
    np.testing.assert_allclose(at_once.open, half.open, rtol=1e-6, atol=1e-12)


def test_seeing_one_run_thrice_tells_less_than_three_runs(belief, columns, region):
    thrice = pick(columns, np.array([17, 17, 17]))

    def left(origins):
        found = belief.after(thrice, origins)
        return np.trace(found.covariance(region.columns, region.columns))

    assert left(np.array([0, 0, 0])) > left(np.array([0, 1, 2]))
    np.testing.assert_allclose(left(np.array([0, 1, 2])), left(None), rtol=1e-9)


def test_noise_that_rows_share_is_what_after_reckons_with(belief, columns, region):
    """The closed form in `after` against plain conditioning with the blocks of `noise_blocks`."""
    few, origins = pick(columns, slice(0, 5)), np.array([0, 1, 1, 1, 0])
    noise = belief.noise(few)
    full = np.zeros((5, 5))
    for origin in (0, 1):
        rows = np.flatnonzero(origins == origin)
        full[np.ix_(rows, rows)] = noise_blocks(noise[rows][None])[0]
    across = belief.covariance(region.columns, few)
    own = belief.covariance(few, few) + full
    expected = belief.covariance(region.columns, region.columns) - across @ np.linalg.solve(own, across.T)
    found = belief.after(few, origins).covariance(region.columns, region.columns)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert full[1, 2] == pytest.approx(SHARED_LUCK * np.sqrt(noise[1] * noise[2]))


def test_few_runs_leave_the_prior_centre_in_place_and_teach_the_noise(columns, region, observe):
    law, prior = get_law("general"), public_prior()
    few = observe(pick(columns, slice(0, 8)))
    found = LawPosterior.of(law, prior, region, columns, few)
    centre, _ = prior.for_law(law, found.reference)
    np.testing.assert_allclose(found.theta[1:], centre[1:])
    many = observe(columns, noise=0.05)
    fitted = LawPosterior.of(law, prior, region, columns, many)
    assert np.abs(fitted.theta[1:] - prior.for_law(law, fitted.reference)[0][1:]).max() > 0.01
    assert fitted.run_noise > 2 * found.run_noise


def test_a_weak_prior_stands_in_where_there_is_none(columns, region):
    wide = LawPosterior.of(get_law("chinchilla"), None, region, columns)
    left = np.diag(wide.covariance(region.columns, region.columns))
    assert np.isfinite(left).all()
    assert (left > 0).all()


def test_no_runs_done_is_as_good_as_none(belief, columns, region, observe):
    nothing = observe(pick(columns, slice(0, 0)))
    found = LawPosterior.of(get_law("general"), public_prior(), region, columns, nothing)
    np.testing.assert_array_equal(found.open, belief.open)


class Learner:
    def __init__(self, joint):
        self.joint = joint

    def covariance(self, fit, columns, others):
        return np.full((len(columns["params"]), len(others["params"])), 0.25)


@pytest.mark.parametrize("joint", [True, False])
def test_a_learner_brings_its_own_covariance(belief, columns, joint):
    found = SurrogatePosterior(belief, None, Learner(joint)).covariance(columns, columns)
    expected = 0.25 + (0.0 if joint else belief.covariance(columns, columns))
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(
        SurrogatePosterior(belief, None, Learner(joint)).noise(columns), belief.noise(columns)
    )


def test_a_real_learner_can_be_asked_too(columns, observe):
    done = observe(columns)
    amid = Region({"params": np.array([1e8]), "tokens": np.array([4e9])})
    fit = fit_observations(get_law("general"), done, public_prior())
    law = LawPosterior.of(fit.law, public_prior(), amid, columns, done, fit)
    learned = SurrogatePosterior(law, fit, Surrogate.learn(fit, done, public_prior()))
    others = {name: 1.2 * values for name, values in columns.items()}
    found = choose_runs(learned, Candidates(others, np.ones(18)), amid, 3.0)
    assert len(found.runs) == 3
    assert (np.diff(found.variance) < 0).all()
    assert found.variance[-1] > 0
