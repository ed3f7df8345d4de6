"""Every answer about a plan is of the text that the plan names, whichever command is asked."""

import math

import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.allocation.compute_optimal.curves import isoflop
from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal
from foretrain.simulator.allocation.sensitivity.sensitivity import sensitivity
from foretrain.simulator.allocation.under_limits.marginal import what_more_buys
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.for_plan import for_plan
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.charts.plans.forecast import curve_rows
from foretrain.simulator.search.evaluate import Evaluator
from foretrain.simulator.search.optimize import as_study, optimize
from foretrain.simulator.search.study import Study
from foretrain.simulator.tracking.track import planned_loss

WEB = load("web-text")
TEXT = {"corpus": "starcoder", "tokenizer": "llama2"}
PLAN = {
    "model": {
        "architecture": {
            "layers": 16,
            "width": 2048,
            "heads": 16,
            "ffn_width": 5632,
            "vocab_size": 32000,
            "context_length": 2048,
        }
    },
    "data": {"tokens": "100B", **TEXT},
    "optim": {"batch_tokens": "2M"},
    "hardware": {"accelerator": "H100", "count": 64, "price_usd_per_hour": 2.0},
}


@pytest.fixture(scope="module")
def config():
    return RunConfig.from_mapping(PLAN)


@pytest.fixture(scope="module")
def told(config):
    """What `simulate predict` says of the plan."""
    return forecast(config, WEB).headline.loss_nats


def _study(space):
    return Study.from_mapping({"run": PLAN, "predictor": "web-text", "space": space, "objective": "loss_nats"})


def test_the_text_matters(told):
    unnamed = RunConfig.from_mapping({**PLAN, "data": {"tokens": "100B"}})
    assert abs(math.log(told.median / forecast(unnamed, WEB).headline.loss_nats.median)) > 0.2


def test_optimum_and_curves_are_of_the_plans_text(config, told):
    found = compute_optimal(WEB, config=config)
    assert found.plan.loss_nats == pytest.approx(told.median, rel=1e-9)
    assert found.loss_nats.median < told.median < 1.5 * found.loss_nats.median
    (curve,) = isoflop(WEB, [found.flops], config=config)
    assert curve.loss_nats.min() == pytest.approx(found.loss_nats.median, rel=0.01)


def test_more_and_sensitivity_are_of_the_plans_text(config, told):
    assert what_more_buys(config, WEB).loss_nats == told
    assert sensitivity(config, WEB).outcomes["loss_nats"] == told.median


def test_tracking_is_held_against_the_same_forecast(config, told):
    plan = planned_loss(config, WEB)
    low, high = told.intervals[0.9]
    assert plan.loss_nats == told.median
    assert plan.log_sd == pytest.approx(math.log(high / low) / (2 * 1.645), rel=0.01)


def test_the_chart_passes_through_the_plan(config, told):
    result = forecast(config, WEB)
    middle = min(curve_rows(result, WEB), key=lambda row: abs(math.log(row["tokens"] / config.data.tokens)))
    assert math.log(middle["median"]) == pytest.approx(told.median, rel=0.01)


def test_a_study_starts_from_the_same_forecast(told):
    found = optimize(_study({"data.tokens": {"low": "50B", "high": "200B", "log": True}}), trials=4)
    assert found.baseline.evaluation.goals == (told.median,)
    assert found.baseline.forecast.headline.loss_nats == told
    assert found.best.evaluation.goals[0] == pytest.approx(found.best.forecast.headline.loss_nats.median, rel=1e-9)
    assert not found.notes


def test_another_predictor_of_a_study_follows_its_run_too(told):
    study = as_study(_study({"data.tokens": ["50B", "100B"]}), WEB)
    assert Evaluator(study)({"data.tokens": 100e9}).goals == (told.median,)


def test_where_the_text_varies_each_plan_has_its_own(config):
    study = _study({"data.corpus": ["starcoder", "c4", {"web": 0.5, "code": 0.5}], "data.tokens": ["50B", "100B"]})
    evaluator = Evaluator(study)
    plans = [{"data.corpus": corpus, "data.tokens": 100e9} for corpus in ("starcoder", "c4")]
    for one in evaluator.many([*plans, {"data.corpus": {"web": 0.5, "code": 0.5}, "data.tokens": 50e9}]):
        assert one.goals == (forecast(one.config, WEB).headline.loss_nats.median,)
    assert any("data.evaluated_on" in note for note in optimize(study, trials=2).notes)


def test_one_text_has_one_predictor(config):
    longer = config.model_copy(update={"data": config.data.model_copy(update={"tokens": 1e12})})
    assert for_plan(config, WEB) is for_plan(longer, WEB)
    assert for_plan(config, for_plan(config, WEB)) is for_plan(config, WEB)


def test_a_predictor_of_ones_own_runs_stays_as_it_is(make_frame, config):
    fitted = Predictor.fit(RunTable.from_frame(make_frame(20)), "chinchilla")
    assert for_plan(config, fitted) is fitted
