"""How runs deviate from the law of their table: covariances, few steps, weights."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.fitting import Observations
from foretrain.simulator.hierarchy.errors import (
    NOISY,
    SPREADS,
    Runs,
    Spread,
    few_steps_sd,
    misfit_covariance,
    shared,
    under_trained_sd,
)
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.lists(st.tuples(st.floats(1e6, 1e12), st.floats(1e8, 1e14)), min_size=1, max_size=12)


def columns_of(pairs) -> dict[str, np.ndarray]:
    params, tokens = np.array(pairs).T
    return {"params": params, "tokens": tokens}


@settings(max_examples=40, deadline=None)
@given(sizes, st.sampled_from(SPREADS + NOISY), st.booleans())
def test_with_their_noise_the_deviations_have_a_covariance(pairs, spread, one_run):
    columns = columns_of(pairs)
    runs = Runs.finished(**columns, log_loss=np.zeros(len(pairs)))
    if one_run:
        runs = replace(runs, run=np.zeros(len(pairs), dtype=int))
    whole = shared(runs, spread) + np.diag(runs.variance(spread))
    assert whole == pytest.approx(whole.T)
    assert np.linalg.eigvalsh(whole).min() > 0


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.sampled_from(SPREADS))
def test_the_misfit_is_symmetric_and_fades_with_distance(some, others, spread):
    a, b = columns_of(some), columns_of(others)
    across = misfit_covariance(a, b, spread)
    assert across == pytest.approx(misfit_covariance(b, a, spread).T)
    assert np.all((across >= 0) & (across <= spread.misfit**2 * (1 + 1e-12)))
    assert np.diag(misfit_covariance(a, a, spread)) == pytest.approx(np.full(len(some), spread.misfit**2))
    far = {name: values * 100 for name, values in b.items()}
    one = {name: values[:1] for name, values in b.items()}
    assert misfit_covariance(one, far, spread)[0, 0] < misfit_covariance(one, one, spread)[0, 0]


def test_few_steps_are_known_to_be_wrong():
    sd = few_steps_sd(np.array([1.0, 500.0, 2500.0, 5000.0, 1e6, np.nan] + [1e5] * 6))
    assert sd[1] == pytest.approx(0.1 * np.log(10))
    assert np.all(np.diff(sd[:4]) < 0)
    assert np.all(sd[3:] == 0)


def test_where_all_runs_are_of_few_steps_the_longest_count_in_full():
    steps = np.geomspace(100, 2000, 12)
    sd = few_steps_sd(steps)
    assert np.all(sd[-8:] == 0)
    assert np.all(sd[:4] > 0)
    assert few_steps_sd(np.array([100.0])).tolist() == [0]
    assert few_steps_sd(np.zeros(0)).shape == (0,)


def test_runs_of_few_tokens_for_their_size_are_known_to_be_off():
    sd = under_trained_sd(np.full(4, 1e9), np.array([1e9, 5e9, 1e10, 1e12]))
    assert sd[0] == pytest.approx(0.05 * np.log(10))
    assert sd[0] > sd[1] > sd[2] == sd[3] == 0


def test_points_of_one_run_share_its_luck():
    params, tokens = np.full(3, 1e9), np.array([1e10, 1.1e10, 1e12])
    apart = Runs.finished(params, tokens, np.zeros(3))
    together = dataclasses.replace(apart, run=np.array([0, 0, 0]))
    more = shared(together, SPREADS[0]) - shared(apart, SPREADS[0])
    assert np.all(more > 0)
    assert more[0, 1] > 10 * more[0, 2]


def test_runs_are_read_off_observations():
    columns = {"params": np.array([1e8, 1e8, 1e9]), "tokens": np.array([1e9, 2e9, 2e10])}
    observations = Observations(
        columns,
        loss=np.array([4.0, 3.5, 2.8]),
        weights=np.array([1.0, 1.0, 4.0]),
        origins=np.array([7, 7, 9]),
        progress=np.array([0.5, 1.0, 1.0]),
        steps=np.array([500.0, np.nan, 1e5]),
        flops=np.array([6e17, 1.2e18, np.nan]),
    )
    runs = Runs.of(observations)
    assert runs.run.tolist() == [0, 0, 1]
    assert runs.unfinished == pytest.approx([np.sqrt(0.5), 0, 0])
    assert runs.extra_sd == pytest.approx([0, 0, 0]), "of three runs all must carry the law"
    assert runs.flops == pytest.approx([6e17, 1.2e18, np.nan], nan_ok=True)
    assert runs.log_loss == pytest.approx(np.log([4.0, 3.5, 2.8]))
    assert runs.compute == pytest.approx(6 * runs.params * runs.tokens)
    variance = runs.variance(Spread(0.01, 0.02))
    assert variance[1] == pytest.approx(4 * variance[2])
    assert runs.with_extra_sd(np.array([0.03, 0, 0])).variance(Spread(0.01, 0.02))[0] > variance[0]


def test_some_of_the_runs_and_none():
    runs = Runs.finished(np.geomspace(1e7, 1e9, 5), np.full(5, 1e10), np.arange(5.0))
    assert runs.take(runs.params > 1e8).log_loss.tolist() == [3, 4]
    assert len(runs.take(np.array([1]))) == 1
    assert len(Runs.none()) == 0
    assert shared(Runs.none(), SPREADS[0]).shape == (0, 0)
    both = runs.joined(runs.take(np.array([0])))
    assert both.run.tolist() == [0, 1, 2, 3, 4, 5]
    assert runs.joined(Runs.none()) is runs
    assert len(Runs.none().joined(runs)) == 5
