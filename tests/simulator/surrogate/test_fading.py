"""How a correction fades with the decades from the sizes at which it was learned, and what comes back of its width."""

from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.fitting import Observations, public_prior
from foretrain.simulator.laws import get_law
from foretrain.simulator.surrogate import Fade, Surrogate, _trees, tried_rows
from foretrain.simulator.surrogate.fading import PER_DECADE

PRIOR = public_prior()


@pytest.fixture(scope="module")
def of_one_size(make_mixed, fit_mixed):
    """A hundred mixes at one size, the law fitted to them, and the joint process on it."""
    observations = make_mixed(100)
    fit = fit_mixed(observations)
    return observations, fit, Surrogate.learn(fit, observations, PRIOR)


def further(columns, decades: float):
    """The same mixes so many decades of parameters up."""
    return {**columns, "params": columns["params"] * 10.0**decades}


def unfading(surrogate: Surrogate) -> Surrogate:
    """The same learner, whose corrections carry to every size."""
    return replace(surrogate, fade=replace(surrogate.fade, rates=np.zeros(1), weights=np.ones(1)))


@pytest.mark.parametrize("kind", ["gp", "trees", "gp+trees"])
@pytest.mark.parametrize("joint", [True, False])
def test_whatever_learned_it_a_correction_fades_from_the_sizes_where_mixes_were_tried(
    kind, joint, of_one_size, make_mixed
):
    observations, fit, surrogate = of_one_size
    if not joint:
        surrogate = Surrogate.learn(fit, observations, PRIOR, joint=False)
    if kind != "gp":
        residual = np.log(observations.loss) - fit.log_loss(observations.columns)
        grown = _trees.grow(surrogate.process.inputs.x, residual, surrogate.process.trust, seed=0)
        surrogate = replace(surrogate, kind=kind, trees=grown)
    columns = make_mixed(30, 5).columns
    here, kept = surrogate.correct(fit, columns), unfading(surrogate).correct(fit, columns)
    np.testing.assert_array_equal(here.log_loss, kept.log_loss)
    np.testing.assert_array_equal(here.variance, kept.variance)
    shares = []
    for decades in (0.5, 1.0, 2.0, 4.0, 8.0):
        for sign in (1, -1):
            there = further(columns, sign * decades)
            faded, whole = surrogate.correct(fit, there), unfading(surrogate).correct(fit, there)
            ratio = faded.log_loss / whole.log_loss
            np.testing.assert_allclose(ratio, ratio[0])
            assert (faded.variance >= np.minimum(whole.variance, surrogate.process.prior_variance) * (1 - 1e-6)).all()
            shares.append(round(float(ratio[0]), 9))
    assert shares == sorted(shares, reverse=True)
    assert shares[2] == pytest.approx(np.exp(-PER_DECADE), rel=0.03)


def test_far_off_the_law_alone_speaks_and_all_that_was_learned_is_open_again(of_one_size, make_mixed):
    observations, fit, _ = of_one_size
    surrogate = Surrogate.learn(fit, observations, PRIOR, joint=False)
    surrogate = replace(surrogate, fade=replace(surrogate.fade, rates=np.array([2.0]), weights=np.ones(1)))
    far = surrogate.correct(fit, further(make_mixed(30, 5).columns, 20.0))
    assert np.abs(far.log_loss).max() < 1e-3 * np.abs(surrogate.correct(fit, observations.columns).log_loss).mean()
    np.testing.assert_allclose(far.variance, surrogate.process.prior_variance, rtol=1e-3)


def test_covariances_beyond_the_sizes_are_those_of_the_corrections(of_one_size, make_mixed):
    _, fit, surrogate = of_one_size
    mixed = make_mixed(24, 9).columns
    columns = {name: values.copy() for name, values in mixed.items()}
    columns["params"] = columns["params"] * 10.0 ** np.repeat([0.0, 0.7, 1.8, 3.0], 6)
    own = surrogate.covariance(fit, columns, columns)
    np.testing.assert_allclose(np.diag(own), surrogate.correct(fit, columns).variance, rtol=1e-3)
    assert np.linalg.eigvalsh(0.5 * (own + own.T)).min() > -1e-9
    np.testing.assert_allclose(surrogate.covariance(fit, columns, mixed), surrogate.covariance(fit, mixed, columns).T)


def test_how_fast_is_learned_from_mixes_of_two_sizes(make_mixed, fit_mixed):
    """What the law leaves over of a mix is the same at both sizes, or nothing alike."""
    alike = make_mixed(120, size=(5e7, 5e8), noise=0.002)
    rng = np.random.default_rng(0)
    small = alike.columns["params"] < 1e8
    other = make_mixed(120, size=(5e7, 5e8), noise=0.002, wiggle=-1.0)  # the opposite of it
    assert np.array_equal(other.columns["mix.web"], alike.columns["mix.web"])
    unlike = replace(alike, loss=np.where(small, alike.loss, other.loss))
    rates = []
    for observations in (alike, unlike):
        shuffled = observations.take(rng.permutation(120))
        rates.append(Surrogate.learn(fit_mixed(shuffled), shuffled, PRIOR, scale=False).fade.rate)
    assert rates[0] < 0.9 * PER_DECADE < 1.2 * PER_DECADE < rates[1]


def test_one_size_says_nothing_of_it(of_one_size):
    observations, _, surrogate = of_one_size
    usual = Fade.usual(surrogate.fade.tried)
    np.testing.assert_array_equal(surrogate.fade.weights, usual.weights)
    assert usual.rate == pytest.approx(PER_DECADE)
    assert dict(usual.tried)["params"] == (observations.columns["params"].min(), observations.columns["params"].max())


def test_a_ladder_of_one_mix_is_no_size_at_which_mixes_were_tried(make_mixed, mix_domains):
    mixed = make_mixed(40)
    ladder = make_mixed(4, size=(1e8, 2e8, 4e8, 8e8))
    columns = {name: np.concatenate([mixed.columns[name], values]) for name, values in ladder.columns.items()}
    for name in mix_domains:
        columns[f"mix.{name}"][40:] = 0.25
    both = Observations.from_columns(columns, np.concatenate([mixed.loss, ladder.loss]))
    assert tried_rows(both, get_law("general+mixture", mix_domains)).tolist() == [True] * 40 + [False] * 4
    assert tried_rows(both, get_law("general")).all()
