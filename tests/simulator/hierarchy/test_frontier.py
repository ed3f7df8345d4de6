"""The frontier law: optima of isoFLOP profiles, which profiles obey it, and the runs that it foretells."""

from dataclasses import replace

import numpy as np
import pytest
from foretrain.simulator.hierarchy.errors import Runs
from foretrain.simulator.hierarchy.frontier import expected_runs, fit_frontier, obeys, optima

FLOOR, FALL, EXPONENT = 1.6, 1.1, 0.10


def best_loss(flops) -> np.ndarray:
    """The law that the profiles are made of, nats."""
    return FLOOR + FALL * (np.asarray(flops) / 1e20) ** -EXPONENT


def profiles(budgets=5, sizes=7, bend=0.02, noise=0.0, exponent_shift=0.0) -> Runs:
    """Runs of budgets from 1e18 FLOPs on, around optima at 20 tokens a parameter."""
    rng = np.random.default_rng(0)
    parts = []
    for flops in 1e18 * 10.0 ** (0.5 * np.arange(budgets)):
        best = np.sqrt(flops / 120)
        params = best * np.geomspace(1 / 4, 4, sizes)
        loss = np.log(best_loss(flops)) + bend * np.log(params / best) ** 2 + noise * rng.standard_normal(sizes)
        runs = Runs.finished(params, flops / (6 * params), loss)
        parts.append(replace(runs, flops=np.full(sizes, flops)))
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.joined(part)
    return whole


def test_optima_of_profiles():
    found = optima(profiles())
    assert len(found.flops) == 5
    assert found.params == pytest.approx(np.sqrt(found.flops / 120), rel=1e-4)
    assert found.tokens == pytest.approx(20 * found.params, rel=1e-3)
    assert np.exp(found.log_loss) == pytest.approx(best_loss(found.flops), rel=1e-5)


def test_too_few_budgets_sizes_or_facts_are_no_profiles():
    assert optima(profiles(budgets=3)) is None
    assert optima(profiles(sizes=4)) is None
    runs = profiles()
    assert optima(replace(runs, flops=np.full(len(runs), np.nan))) is None
    assert optima(profiles(bend=-0.02)) is None, "a hill has no best run"
    assert len(expected_runs(Runs.none())) == 0


def test_the_law_of_tuned_profiles_is_found_and_extrapolates():
    found = optima(profiles(noise=3e-4))
    assert obeys(found)
    law = fit_frontier(found)
    value, sd = law.log_loss(np.array([1e21, 1e22, 1e23]))
    assert np.exp(value) == pytest.approx(best_loss([1e21, 1e22, 1e23]), rel=0.01)
    assert np.all(np.diff(sd) > 0)
    assert np.all(np.abs(value - np.log(best_loss([1e21, 1e22, 1e23]))) < 3 * sd)


def test_profiles_that_scatter_do_not_obey():
    assert not obeys(optima(profiles(noise=0.01)))
    assert len(expected_runs(profiles(noise=0.01))) == 0


def test_runs_that_are_to_be_expected():
    runs = profiles(noise=3e-4)
    ahead = expected_runs(runs)
    assert len(ahead) > 2
    assert np.all(np.diff(ahead.log_loss) < 0)
    assert np.all(np.diff(ahead.extra_sd) > 0)
    assert ahead.tokens == pytest.approx(20 * ahead.params, rel=0.2)
    assert ahead.compute[0] > runs.compute.max()
