"""What runs say of the law of their table, from none of them to many."""

from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.hierarchy.coordinates import LEVEL, SIZE, TOKENS, UNFINISHED, linearised, log_loss
from foretrain.simulator.hierarchy.errors import SPREADS, Runs
from foretrain.simulator.hierarchy.posterior import Belief, most_probable, posterior
from hypothesis import given, settings
from hypothesis import strategies as st

FAR = {"params": np.array([3e10]), "tokens": np.array([6e11])}


def at(components, columns) -> float:
    """Log loss by a posterior's means."""
    return sum(part.weight * log_loss(part.belief.mean[None], columns)[0, 0] for part in components)


def level_sd(components) -> float:
    """Standard deviation that a posterior leaves to the level."""
    return sum(part.weight * part.belief.covariance[LEVEL, LEVEL] for part in components) ** 0.5


def open_at(belief: Belief, runs: Runs, row: int) -> float:
    """Standard deviation of log loss that is left open of the law at one run."""
    slope = linearised(belief.mean, runs.columns, runs.unfinished)[1][row]
    return float(np.sqrt(slope @ belief.covariance @ slope))


@pytest.fixture(scope="module")
def law(usual) -> np.ndarray:
    """A law one standard deviation off what is usual."""
    return usual.mean + np.sqrt(np.diag(usual.covariance)) * np.array([1, -1, 0.5, 1, -1, 0.5, 0])


def test_without_runs_the_posterior_is_the_prior(usual):
    components = posterior(Runs.none(), usual)
    assert sum(part.weight for part in components) == pytest.approx(1)
    beliefs = [part.belief for part in components]
    assert any(np.array_equal(belief.covariance, usual.covariance) for belief in beliefs)
    for part in components:
        assert np.array_equal(part.belief.mean, usual.mean)
        assert part.belief.covariance[LEVEL, LEVEL] == usual.covariance[LEVEL, LEVEL]
        assert part.variance.shape == (0,)
    belief, summary, evidence, _ = most_probable(Runs.none(), usual, SPREADS[0])
    assert belief is usual
    assert not summary.information.any()
    assert evidence == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_many_precise_runs_give_back_their_law(usual, make_runs, seed):
    sd = np.sqrt(np.diag(usual.covariance))
    theta = usual.mean + sd * np.random.default_rng(seed).standard_normal(SIZE)
    components = posterior(make_runs(theta, 40), usual)
    assert at(components, FAR) == pytest.approx(log_loss(theta[None], FAR)[0, 0], abs=0.01)


def test_one_run_brings_the_level_in(usual, make_runs, law):
    run = make_runs(law, 1)
    components = posterior(run, usual)
    assert at(components, run.columns) == pytest.approx(run.log_loss[0], abs=0.003)
    assert open_at(components[0].belief, run, 0) < 0.01


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 11), st.integers(0, 3), st.sampled_from(SPREADS))
def test_more_runs_never_widen_what_is_open_at_the_largest(usual, make_runs, law, fewer, seed, spread):
    runs = make_runs(law, 12, noise=spread.noise / 3, seed=seed)
    some = runs.take(np.arange(12 - fewer, 12))
    widths = [open_at(most_probable(of, usual, spread)[0], of, -1) for of in (some, runs)]
    assert widths[1] <= widths[0] * 1.02


def test_one_run_that_went_wrong_hardly_matters(usual, make_runs, law):
    good = make_runs(law, 16, noise=0.002)
    for row in (2, 9):
        bad = good.log_loss.copy()
        bad[row] += 0.3
        components = posterior(replace(good, log_loss=bad), usual)
        assert at(components, FAR) == pytest.approx(at(posterior(good, usual), FAR), abs=0.006)
        weights = most_probable(replace(good, log_loss=bad), usual, SPREADS[2])[3]
        assert weights[row] > 20 * np.median(weights)


def test_the_heavier_of_two_runs_draws_the_law(usual, make_runs, law):
    pairs = make_runs(law, 8).take(np.repeat(np.arange(8), 2))
    higher = np.arange(16) % 2 == 1
    pairs = replace(pairs, log_loss=pairs.log_loss + np.where(higher, 0.02, 0.0), run=np.arange(16))
    there = {name: values[8:9] for name, values in pairs.columns.items()}
    above = []
    for weight in (1e-4, 0.1, 1.0, 10.0, 1e4):
        belief, *_ = most_probable(replace(pairs, weight=np.where(higher, weight, 1.0)), usual, SPREADS[2])
        above.append(log_loss(belief.mean[None], there)[0, 0] - log_loss(law[None], there)[0, 0])
    assert above == sorted(above)
    assert [above[0], above[2], above[4]] == pytest.approx([0, 0.01, 0.02], abs=0.003)


def test_copies_of_one_run_count_as_one(usual, make_runs, law):
    runs = make_runs(law, 6)
    once = level_sd(posterior(runs, usual))
    copied = runs.take(np.repeat(np.arange(6), 10))
    assert level_sd(posterior(copied, usual)) == pytest.approx(once, rel=0.05)
    as_others = replace(copied, run=np.arange(60))
    assert level_sd(posterior(as_others, usual)) < level_sd(posterior(copied, usual))


def test_a_curve_alone_tells_its_level_and_how_it_falls(usual, law):
    tokens = np.geomspace(2e9, 2e11, 20)
    columns = {"params": np.full(20, 1e9), "tokens": tokens}
    early = np.sqrt(1 - tokens / tokens.max())
    curve = Runs(
        **columns,
        log_loss=log_loss(law[None], columns, early)[0],
        unfinished=early,
        run=np.zeros(20, dtype=int),
        extra_sd=np.zeros(20),
        weight=np.ones(20),
        flops=np.full(20, np.nan),
    )
    before = usual.covariance
    after = most_probable(curve, usual, SPREADS[0])[0].covariance
    for place, at_most in ((LEVEL, 0.3), (TOKENS, 0.9), (UNFINISHED, 0.9)):
        assert after[place, place] ** 0.5 < at_most * before[place, place] ** 0.5
    longer = {"params": np.array([1e9]), "tokens": np.array([1e12])}
    assert at(posterior(curve, usual), longer) == pytest.approx(log_loss(law[None], longer)[0, 0], abs=0.02)


def test_runs_of_no_one_recipe_are_told_by_their_noise(usual, make_runs, law):
    of_one = posterior(make_runs(law, 30, noise=0.002), usual)
    of_many = posterior(make_runs(law, 30, noise=0.2), usual)
    assert max(of_one, key=lambda part: part.weight).spread.noise < 0.01
    assert max(of_many, key=lambda part: part.weight).spread.noise > 0.1


def test_widened_leaves_the_level_alone(usual):
    wider = usual.widened(2.0).covariance
    ratio = np.sqrt(np.diag(wider) / np.diag(usual.covariance))
    assert ratio.tolist() == [1, 2, 2, 2, 2, 2, 1]
