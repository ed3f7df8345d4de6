"""Batch, learning rate and optimizer where no law of the predictor reads them."""

import math

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.facts.optimisation import setting_costs
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.allocation.compute_optimal.curves import isoflop
from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.fitting import Fit
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.forecast.together import predict_together
from foretrain.simulator.laws import Reference, get_law
from foretrain.simulator.predictor.calibration import public_calibration
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.search.optimize import optimize
from foretrain.simulator.search.study import Study

WEB = load("web-text")
TOKENS = 2e12


def plan(tokens=TOKENS, params="7B", **optim):
    return RunConfig.from_mapping({"model": {"params": params}, "data": {"tokens": tokens}, "optim": optim})


def loss(predictor=WEB, **optim):
    return forecast(plan(**optim), predictor).headline.loss_nats.median


def test_the_usual_settings_change_nothing():
    usual = float(setting_costs().usual_batch(np.array(TOKENS)))
    assert loss(batch_tokens=round(usual)) == pytest.approx(loss(), rel=1e-6)
    assert forecast(plan(), WEB).adjustments == ()
    assert forecast(plan(optimizer="adamw"), WEB).adjustments == ()


def test_a_large_batch_counts_as_fewer_tokens():
    """McCandlish et al. 2018: D / (1 + B / B_critical), against what the usual batch wastes."""
    costs = setting_costs()
    usual, critical = (float(law(np.array(TOKENS))) for law in (costs.usual_batch, costs.critical_batch))
    batch = 1e8
    left = (1 + usual / critical) / (1 + batch / critical)
    fewer = forecast(plan(TOKENS * left), WEB).headline.loss_nats.median
    assert loss(batch_tokens=batch) == pytest.approx(fewer, rel=2e-3)  # a law's centre against its median over draws


@pytest.mark.parametrize("name", ["batch_tokens", "lr"])
def test_the_further_from_the_best_the_higher_the_loss(name):
    best = {"batch_tokens": 4.4e6, "lr": 7e-4}[name]
    for way in (2.0, 0.5):
        found = [loss(**{name: best * way**step}) for step in range(8)]
        assert found == sorted(found)
        assert found[-1] > 1.02 * found[0]


def test_what_is_far_off_is_said_in_plain_words():
    result = forecast(plan(lr=5e-3, batch_tokens="128M"), WEB)
    batch, rate = result.to_dict()["adjustments"]
    low, high = batch["loss_percent_90"]
    assert 0 < low < batch["loss_percent"] < high
    assert batch["recommended_batch_tokens"] < batch["critical_batch_tokens"] < 128e6
    assert "the critical batch" in batch["sentence"]
    assert "diverge" in rate["sentence"]
    assert {batch["sentence"], rate["sentence"]} < set(result.warnings)
    assert not any(text.startswith("not read") for text in result.warnings)
    parts = result.headline.decomposition_nats
    assert parts["batch"] > 0 < parts["learning_rate"]
    assert math.fsum(parts.values()) == pytest.approx(result.headline.loss_nats.median)
    assert forecast(plan(lr=5e-4, batch_tokens="4M"), WEB).warnings == forecast(plan(), WEB).warnings


def test_muon_gains_tokens_and_less_of_them_with_size():
    gains = []
    for params in ("125M", "1B", "70B"):
        found = [forecast(plan(params=params, tokens="20B", optimizer=name), WEB) for name in ("adamw", "muon")]
        gains.append(found[1].adjustments[0].facts["tokens_factor"])
        assert found[1].headline.loss_nats.median < found[0].headline.loss_nats.median
    assert 1.4 >= gains[0] > gains[1] > gains[2] > 1
    result = forecast(plan(optimizer="my_own_optimizer", lr=0.02), WEB)
    assert result.adjustments == ()  # whose rates mean nothing to AdamW's
    assert "not read by this predictor: optim.optimizer, optim.lr" in result.warnings


def test_what_a_law_reads_is_left_to_it():
    steplaw = load("steplaw")
    assert forecast(plan(params="1B", tokens="50B", lr=2e-3, batch_tokens="1M"), steplaw).adjustments == ()


def test_plans_with_the_same_settings_share_their_error():
    same = [plan(batch_tokens="64M"), plan(2.2e12, batch_tokens="64M")]
    joint = predict_together([*same, plan(2.2e12)], WEB, "loss")
    assert joint.difference(1).scale_nats < joint.difference(2).scale_nats
    plain = predict_together([plan(), plan(2.2e12)], WEB, "loss")
    assert joint.difference(1).scale_nats < 2.0 * plain.difference(1).scale_nats
    eigenvalues = np.linalg.eigvalsh(joint.correlation)
    assert eigenvalues.min() > -1e-9


def test_which_optimizer_is_better_is_not_certain_where_its_gain_is_in_doubt():
    """Muon was better than AdamW with over 99 %, though its gain lies between -.45 and +.21 % of loss."""
    pair = predict_together([plan(), plan(optimizer="muon")], WEB, "loss").difference(1)
    assert pair.nats < 0
    assert not pair.one_sided
    assert 0.5 < pair.probability_below_zero < 0.9
    longer = predict_together([plan(optimizer="muon"), plan(2 * TOKENS, optimizer="muon")], WEB, "loss").difference(1)
    assert longer.probability_below_zero == 1


def test_the_optimum_is_of_tuned_runs_and_the_plan_of_its_own_settings():
    config = plan(batch_tokens="64M", lr=2e-3)
    found = compute_optimal(WEB, config=config)
    assert found.plan.loss_nats == pytest.approx(forecast(config, WEB).headline.loss_nats.median, rel=1e-9)
    assert any("taken as tuned in every run but the plan's own" in note for note in found.notes)
    unstated = compute_optimal(WEB, config=plan())
    assert not any("tuned" in note for note in unstated.notes)
    assert found.loss_nats == unstated.loss_nats
    (curve,) = isoflop(WEB, [found.flops], config=config)
    assert curve.params[curve.loss_nats.argmin()] == pytest.approx(found.params.median, rel=0.3)  # a flat valley


def test_a_search_finds_the_batch_that_suits():
    study = Study.from_mapping(
        {
            "run": {"model": {"params": "1B"}, "data": {"tokens": "100B"}},
            "predictor": "web-text",
            "space": {
                "optim.batch_tokens": {"low": "256K", "high": "64M", "log": True},
                "optim.optimizer": ["adamw", "muon"],
            },
            "objective": "loss_nats",
            "search": {"trials": 40, "seed": 1},
        }
    )
    found = optimize(study)
    assert not any("doesn't know" in note for note in found.notes)
    best = found.best.evaluation.config.optim
    assert best.optimizer == "muon"
    assert 0.5e6 < best.batch_tokens < 2.1e6


def test_plans_are_held_against_the_settings_of_the_predictors_own_runs():
    rows = [
        {"params": n, "tokens": 20 * n * ratio, "loss": 1.7 + 400 * n**-0.34 + 1500 * (20 * n * ratio) ** -0.36}
        | {"batch_tokens": 2e6, "lr": 1e-3, "optimizer": "Muon"}
        for n in (5e7, 1e8, 2e8, 4e8, 8e8)
        for ratio in (0.5, 1, 4)
    ]
    own = Predictor.fit(RunTable.from_frame(pd.DataFrame(rows)), law="chinchilla", name="own")
    base = {"params": "2B", "tokens": "40B"}
    assert forecast(plan(**base, batch_tokens=2e6, optimizer="muon"), own).adjustments == ()
    (batch, gone) = forecast(plan(**base, batch_tokens=16e6, optimizer="adamw"), own).adjustments
    assert batch.log_loss[0] > 0
    assert gone.log_loss[0] > 0  # what Muon gained
    (smaller,) = forecast(plan(**base, batch_tokens=5e5, optimizer="muon"), own).adjustments
    assert smaller.log_loss[0] < 0


def test_what_suits_is_recommended():
    told = forecast(plan(), WEB).to_dict()["recommended_settings"]
    assert forecast(plan(lr=told["lr"], batch_tokens=round(told["batch_tokens"])), WEB).to_dict()["loss_nats"][
        "median"
    ] == pytest.approx(loss(), rel=1e-6)
    assert told["batch_tokens"] < told["critical_batch_tokens"]
    assert forecast(plan(params="1B", tokens="50B"), load("steplaw")).recommended == {}


def test_rates_of_experts_go_by_all_of_their_parameters():
    """Li et al. 2025 (arXiv:2503.04715): total, not active, parameters set the best rate of routed models."""
    experts = {"params": "8B", "params_active": "1B", "num_experts": 32, "experts_per_token": 2}
    data, optim = {"tokens": "100B"}, {"lr": 1e-4}
    found = {}
    for name, model in {"routed": experts, "dense": {"params": "8B"}}.items():
        config = RunConfig.from_mapping({"model": model, "data": data, "optim": optim})
        (rate,) = forecast(config, WEB).adjustments
        found[name] = rate.facts["recommended_lr"]
    assert found["routed"] == pytest.approx(found["dense"], rel=0.01)


def selected(kind, keep=0.3, stock=None, predictor=WEB):
    data = {"tokens": "500B", "selection": {"kind": kind, "keep": keep}}
    data |= {} if stock is None else {"unique_tokens": stock}
    return forecast(RunConfig.from_mapping({"model": {"params": "7B"}, "data": data}), predictor)


def test_a_selection_counts_as_more_tokens_and_says_that_nobody_measured_it():
    plain, judged = (selected(kind, 1.0 if kind == "none" else 0.115) for kind in ("none", "judge"))
    (effect,) = judged.adjustments
    assert effect.facts["tokens_factor"] == pytest.approx(1.5, abs=0.01)
    assert judged.headline.loss_nats.median < plain.headline.loss_nats.median
    assert effect.percent()[1] < effect.percent()[0] < 0 < effect.percent()[2]
    (said,) = (text for text in judged.warnings if text.startswith("data.selection"))
    assert "published, not measured on runs of this predictor" in said
    assert "lower bound" not in said
    assert judged.headline.decomposition_nats["selection"] < 0
    assert plain.adjustments == ()
    assert any("lower bound" in text for text in selected("dedup+judge").warnings)


def test_a_selection_that_nobody_knows_is_left_open():
    whole, unknown = selected("tarot", 1.0), selected("tarot", 0.1)
    assert unknown.headline.loss_nats.median == pytest.approx(whole.headline.loss_nats.median, rel=1e-3)
    assert unknown.adjustments[0].sd[0] > 0.01 > whole.adjustments[0].sd[0]
    (said,) = (text for text in unknown.warnings if text.startswith("data.selection"))
    assert said.endswith("% of loss; known are judge, dedup, density, strata, sample, perplexity")
    assert "nothing is published on such a selection" in said
    assert any("of one of its steps nothing is published" in text for text in selected("tarot+judge").warnings)


def test_documents_at_random_are_text_as_it_is():
    plain, drawn = selected("none", 1.0), selected("sample", 0.3)
    assert drawn.headline.loss_nats.median == plain.headline.loss_nats.median
    assert not any(text.startswith("data.selection: the kept text counts") for text in drawn.warnings)


def test_a_selection_that_keeps_everything_is_said_to_do_nothing():
    assert "data.selection.keep is 1: nothing is left out" in " ".join(selected("judge", 1.0).warnings)


def test_a_strict_selection_of_a_small_stock_is_worth_less():
    losses = [selected("judge", keep, "1T").headline.loss_nats.median for keep in (0.5, 0.02)]
    assert losses[0] < losses[1]
    assert any("are seen 25 times" in text for text in selected("judge", 0.02, "1T").warnings)


def test_a_law_that_has_the_levels_speaks_for_itself(strict_law):
    plan_ = {"model": {"params": "1B"}, "data": {"tokens": "10B", "selection": {"kind": "judge", "keep": 0.3}}}
    found = forecast(RunConfig.from_mapping(plan_), strict_law)
    assert found.adjustments == ()
    assert not any(text.startswith(("data.selection", "not read")) for text in found.warnings)


@pytest.fixture
def strict_law():
    """A predictor whose law has the levels none and judge."""
    law = get_law("general+selection", (), {"selection": ("none", "judge")})
    theta = np.array([parameter.mean for parameter in law.parameters])
    fit = Fit(law, Reference({"params": 1e9, "tokens": 2e10, "keep": 0.3}), theta, theta[None], 0.003, 0.0)
    seen = {"params": (1e7, 1e10), "tokens": (1e8, 1e12), "compute": (1e16, 1e23)}
    return Predictor("strict", {"loss": LossModel(fit, public_calibration(), seen, 50)})
