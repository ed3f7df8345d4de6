"""What would narrow a forecast: widths are those that the package gives once it is done, ranked by what is in doubt."""

import json

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.cluster.estimate import estimate
from foretrain.simulator.cluster.step_time.calibrate import calibrate_on_plan
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.for_plan import anchored, for_plan
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.forecast.narrowing.measures import Cost, Measure, Narrowing
from foretrain.simulator.forecast.narrowing.ranking import what_would_narrow
from foretrain.simulator.predictor.storage.folder import load

PLAN = {
    "model": {
        "architecture": {
            "layers": 16, "width": 2048, "heads": 16, "ffn_width": 5504, "vocab_size": 32000, "context_length": 2048,
        }
    },
    "data": {"tokens": "100B"},
    "optim": {"batch_tokens": "1M"},
    "hardware": {"accelerator": "H100-SXM-80", "count": 64, "price_usd_per_hour": 2.0},
    "prices": {"spread": 1.3},
    "targets": {"perplexity": 10},
}  # fmt: skip
DECADES = {"corpus": "fineweb", "tokenizer": "llama2"}


@pytest.fixture(scope="module")
def web():
    return load("web-text")


@pytest.fixture(scope="module")
def asked(web):
    """`asked(section={…}, …)`: a plan's forecast, and what would narrow it, by name."""

    def ask(**sections):
        found = forecast(RunConfig.from_mapping(PLAN | sections), web)
        return found, what_would_narrow(found, web)

    return ask


@pytest.fixture(scope="module")
def unnamed(asked):
    return asked()


def by_name(found):
    return {one.name: one for one in found.measures}


def width(quantity) -> float:
    low, high = quantity.intervals[0.9]
    return high - low


def test_what_narrows_the_outcome_in_doubt_comes_first(unnamed, asked):
    plan, found = unnamed
    assert plan.chances.in_doubt == "target"
    assert found.outcome == "loss_nats"
    names = [one.name for one in found.measures]
    assert set(names[:2]) == {"name_the_text", "own_run"}
    assert set(names[2:]) == {"measured_step", "fixed_price", "failure_rate", "state_the_network"} & set(names)
    shares = [one.of("loss_nats").share for one in found.measures[:2]]
    assert shares == sorted(shares, reverse=True)
    _, late = asked(targets={"deadline": "6h"})
    assert late.outcome == "wall_clock_days"
    assert late.measures[0].name == "measured_step"
    _, dear = asked(targets={"budget_usd": 800})
    assert dear.outcome == dear.measures[0].narrows[-1].outcome == "cost_usd"


def test_widths_before_are_the_forecasts_own(unnamed):
    plan, found = unnamed
    own = {
        "loss_nats": plan.headline.loss_nats,
        "wall_clock_days": plan.cluster.wall_clock_days,
        "cost_usd": plan.cluster.cost_usd,
    }
    for one in found.measures:
        for narrowing in one.narrows:
            assert narrowing.width_before == pytest.approx(width(own[narrowing.outcome]), rel=1e-9)
            assert narrowing.width_after <= narrowing.width_before * (1 + 1e-9)


def test_a_run_of_ones_own_is_expected_to_do_what_an_anchor_does(unnamed, web):
    plan, found = unnamed
    own = by_name(found)["own_run"]
    run = {name: np.array([own.details[name]]) for name in ("params", "tokens")}
    loss = for_plan(plan.config, web).predict(run).loss_nats
    table = RunTable.from_frame(pd.DataFrame({**run, "loss": loss}))
    given = forecast(plan.config, anchored(plan.config, table)).headline.loss_nats
    (narrows,) = own.narrows
    assert narrows.width_after / plan.headline.loss_nats.median == pytest.approx(width(given) / given.median, rel=0.03)
    best = max(
        (one for one in own.details["weighed"] if one["share"] >= 0.1), key=lambda one: one["share"] / one["flops"]
    )
    assert best["params"] == own.details["params"]
    flops = 6 * own.details["params"] * own.details["tokens"]
    assert own.cost.flops == pytest.approx(flops)
    cluster = plan.cluster
    assert own.cost.usd == pytest.approx(2.0 * own.cost.gpu_hours)
    assert own.cost.gpu_hours == pytest.approx(flops * 1.25 / (cluster.mfu.median * cluster.peak_flops_per_s * 3600))


def test_a_measured_step_is_expected_to_do_what_calibration_does(unnamed):
    plan, found = unnamed
    one = by_name(found)["measured_step"]
    config = plan.config.model_copy(update={"layout": plan.cluster.layout.stated()})
    model, _ = calibrate_on_plan(config, [sum(plan.cluster.step_parts_s.values())])
    after = estimate(config, model)
    assert one.of("wall_clock_days").width_after == pytest.approx(width(after.wall_clock_days), rel=1e-6)
    assert one.of("cost_usd").width_after == pytest.approx(width(after.cost_usd), rel=1e-6)
    assert one.cost.gpu_hours == pytest.approx(64 * one.cost.minutes / 60)
    assert not one.cost.free


def test_names_are_free_and_only_those_that_are_missing(asked, web):
    _, found = asked(data={"tokens": "100B", "corpus": "fineweb"})
    assert by_name(found)["name_the_text"].details["lacking"] == ["tokenizer"]
    assert by_name(found)["name_the_text"].cost.free
    _, named = asked(data={"tokens": "100B", **DECADES})
    assert "name_the_text" not in by_name(named)


def test_without_machines_only_the_loss_can_be_narrowed(web):
    plan = forecast(RunConfig.from_mapping({"model": {"params": "1B"}, "data": {"tokens": "20B"}}), web)
    found = what_would_narrow(plan, web)
    assert {narrowing.outcome for one in found.measures for narrowing in one.narrows} == {"loss_nats"}
    cost = by_name(found)["own_run"].cost
    assert (cost.usd, cost.gpu_hours) == (None, None)
    assert "hardware" in cost.how


def test_further_measures_are_ranked_among_the_others(unnamed, web):
    plan, _ = unnamed
    before = width(plan.headline.loss_nats)
    proxies = Measure(
        "next_proxies", "train six proxies", Cost("as planned", usd=12.0), (Narrowing("loss_nats", before, 0.01),), ""
    )
    found = what_would_narrow(plan, web, further=[proxies])
    assert found.measures[0] is proxies
    facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert facts["measures"][0]["cost"]["cost_usd"] == 12.0
    assert facts["measures"][0]["narrows"][0]["unit"] == "nats"
