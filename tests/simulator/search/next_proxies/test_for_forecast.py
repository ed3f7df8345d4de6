"""Proxies that would narrow a forecast by a predictor of one's own: promised is about what training them gives."""

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.forecast.narrowing.ranking import what_would_narrow
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.search.next_proxies.for_forecast import proxies_that_narrow

PLAN = RunConfig.from_mapping({"model": {"params": "7B"}, "data": {"tokens": "2T"}})
SMALL = RunConfig.from_mapping({"model": {"params": "60M"}, "data": {"tokens": "1B"}})


def table(params, tokens) -> RunTable:
    loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
    noise = np.random.default_rng(len(params)).normal(0, 0.004, len(params))
    return RunTable.from_frame(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss * np.exp(noise)}))


def width(found) -> float:
    low, high = found.headline.loss_nats.intervals[0.9]
    return high - low


@pytest.fixture(scope="module")
def runs():
    params = np.repeat(np.geomspace(1e7, 2e8, 5), 3)
    return params, params * np.tile([5.0, 20.0, 80.0], 5)


@pytest.fixture(scope="module")
def mine(runs):
    return Predictor.fit(table(*runs))


def test_what_is_promised_is_about_what_training_them_gives(runs, mine):
    plan = forecast(PLAN, mine)
    found = proxies_that_narrow(plan, mine)
    (narrows,) = found.narrows
    assert narrows.width_before == pytest.approx(width(plan))
    assert found.cost.flops <= 0.01 * 6 * 7e9 * 2e12
    chosen = (np.array([run[name] for run in found.details["runs"]]) for name in ("params", "tokens"))
    params, tokens = (np.append(old, new) for old, new in zip(runs, chosen, strict=True))
    after = width(forecast(PLAN, Predictor.fit(table(params, tokens))))
    assert after < 0.7 * narrows.width_before
    assert 0.5 < narrows.width_after / after < 2.0
    assert what_would_narrow(plan, mine, further=[found]).measures == (found,)


def test_nothing_is_to_be_trained_for_a_plan_no_larger_than_the_runs(mine):
    assert proxies_that_narrow(forecast(SMALL, mine), mine) is None
