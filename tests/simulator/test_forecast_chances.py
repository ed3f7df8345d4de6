"""Chances of all targets together: drawn jointly, and consistent with those of each alone."""

from pathlib import Path

import numpy as np
import pytest
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "llama-7b.yaml"
WEB = "web-text"


def plan(*overrides: str) -> RunConfig:
    """The example on fewer machines, so that deadline and budget are in doubt, and with no targets but those given."""
    mapping = RunConfig.load(EXAMPLE).to_mapping() | {"targets": {}}
    return RunConfig.from_mapping(mapping, overrides=["hardware.count=256", *overrides])


def chances(*overrides: str):
    result = forecast(plan(*overrides), load(WEB))
    assert result.cluster is not None
    return result.p_all, result.p_target, result.cluster.p_deadline, result.cluster.p_budget


def test_no_target_no_chance():
    assert chances() == (None, None, None, None)


def test_one_target_alone_has_its_own_chance():
    together, loss, _, _ = chances("targets.perplexity=8")
    assert together == pytest.approx(loss, abs=0.02)
    together, _, deadline, _ = chances("targets.deadline=26d")
    assert together == deadline
    together, _, _, budget = chances("targets.budget_usd=310k")
    assert together == budget


def test_loss_and_time_are_independent_given_the_plan_while_time_and_cost_go_together():
    together, loss, deadline, _ = chances("targets.perplexity=8", "targets.deadline=26d")
    assert 0.05 < deadline < 0.95
    assert together == pytest.approx(loss * deadline, abs=0.02)
    together, _, deadline, budget = chances("targets.deadline=26d", "targets.budget_usd=310k")
    assert together == pytest.approx(min(deadline, budget), abs=0.02), "the price is known, so cost is time"


def test_an_easier_target_is_never_less_likely():
    found = [chances("targets.perplexity=8", f"targets.deadline={days}d")[0] for days in (15, 22, 26, 40)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_price_that_may_move_widens_the_cost_alone():
    sure, unsure = (forecast(plan(f"prices.spread={spread}"), load(WEB)).cluster for spread in (1, 1.3))
    assert sure.wall_clock_days == unsure.wall_clock_days
    low, high = sure.cost_usd.intervals[0.9]
    wider = unsure.cost_usd.intervals[0.9]
    assert wider[0] < low
    assert wider[1] > high
    assert unsure.cost_usd.median == pytest.approx(sure.cost_usd.median, rel=0.02)


def test_draws_belong_together_and_are_the_same_for_the_same_seed():
    one, again, other = (forecast(plan(f"seed={seed}"), load(WEB)).cluster for seed in (3, 3, 4))
    assert np.array_equal(one.draws.wall_clock_s, again.draws.wall_clock_s)
    assert not np.array_equal(one.draws.wall_clock_s, other.draws.wall_clock_s)
    assert np.corrcoef(one.draws.step_time_s, one.draws.wall_clock_s)[0, 1] > 0.9
    assert one.cost_usd.median == pytest.approx(np.median(one.draws.cost_usd))


def test_targets_that_the_plan_says_too_little_for_have_no_chance_together():
    mapping = {"model": {"params": "7B"}, "data": {"tokens": "1T"}, "targets": {"perplexity": 8, "deadline": "30d"}}
    result = forecast(RunConfig.from_mapping(mapping), load(WEB))
    assert result.cluster is None
    assert result.p_target is not None
    assert result.p_all is None
