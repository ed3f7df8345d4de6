"""The compute-optimal answer as a user reads it: intervals, what lies around, the plan's own place."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import InputError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.allocation.compute_optimal.optimal import compute_optimal, optimum_at
from foretrain.simulator.allocation.compute_optimal.optimum import find_optimum
from foretrain.simulator.allocation.compute_optimal.over_training import over_training_of
from foretrain.simulator.allocation.compute_optimal.surface import LossSurface
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load

GOPHER_FLOPS = 5.76e23


@pytest.fixture(scope="module")
def gopher(chinchilla):
    return compute_optimal(chinchilla, GOPHER_FLOPS)


def test_chinchilla_lies_within_the_interval_of_its_own_runs(gopher):
    """70B on 1.4T, as trained (Hoffmann et al. 2022): 45 times beyond the fitted runs."""
    (low, high), (few, many) = gopher.params.intervals[0.9], gopher.tokens.intervals[0.9]
    assert low < 70e9 < high < 4 * 70e9
    assert few < 1.4e12 < many
    assert gopher.extrapolation_gap_decades == pytest.approx(math.log10(GOPHER_FLOPS / 1.2956e22), abs=0.01)


def test_size_and_tokens_share_the_compute(gopher):
    assert 6 * gopher.params.median * gopher.tokens.median == pytest.approx(GOPHER_FLOPS)
    for level, (low, high) in gopher.params.intervals.items():
        few, many = gopher.tokens.intervals[level]
        assert 6 * low * many == pytest.approx(GOPHER_FLOPS)
        assert 6 * high * few == pytest.approx(GOPHER_FLOPS)
    ends = [end for level in (0.95, 0.9, 0.8, 0.5) for end in gopher.params.intervals[level][:1]]
    assert ends == sorted(ends)


def test_intervals_grow_beyond_the_fitted_runs(chinchilla):
    widths = []
    for flops in (1e21, 1e23, 1e25):
        low, high = compute_optimal(chinchilla, flops).params.intervals[0.9]
        widths.append(math.log(high / low))
    assert widths[0] < widths[1] < widths[2]


def test_around_the_optimum_everything_is_worse_and_more_compute_makes_up_for_it(chinchilla, gopher):
    surface = LossSurface.of(chinchilla)
    best = next(row for row in gopher.around if row.factor == 1.0)
    assert (best.penalty_nats.median, best.compute_factor, best.inference_saved) == pytest.approx((0, 1, 0), abs=1e-9)
    for row in gopher.around:
        assert row.tokens / row.params == pytest.approx(row.factor * gopher.tokens_per_param.median)
        assert row.inference_saved == pytest.approx(1 - 1 / math.sqrt(row.factor))
        if row.factor != 1.0:
            assert row.penalty_nats.median > 0
            grown = math.sqrt(row.compute_factor)
            reached = surface.log_loss(np.array([row.params * grown]), np.array([row.tokens * grown]))
            assert reached[0] == pytest.approx(find_optimum(surface, GOPHER_FLOPS).log_loss, abs=1e-9)
    penalties = [row.penalty_nats.median for row in gopher.around if row.factor >= 1]
    assert penalties == sorted(penalties)


def test_sizes_that_are_as_good_are_told(chinchilla, gopher):
    surface = LossSurface.of(chinchilla)
    for end in gopher.indifferent_params:
        loss = surface.log_loss(np.array([end]), surface.tokens_for(GOPHER_FLOPS, np.array([end])))
        assert loss[0] - find_optimum(surface, GOPHER_FLOPS).log_loss == pytest.approx(1e-3, abs=1e-4)
    low, high = gopher.indifferent_params
    assert low < gopher.params.median < high


def test_the_loss_is_what_a_forecast_of_that_run_says(web, plan):
    from foretrain.simulator.forecast.forecast import forecast

    found = compute_optimal(web, 1e23)
    said = forecast(plan(found.params.median, found.tokens.median), web)
    assert found.loss_nats.median == pytest.approx(said.headline.loss_nats.median, rel=1e-6)
    assert found.loss_nats.intervals[0.9] == pytest.approx(said.headline.loss_nats.intervals[0.9], rel=1e-6)


def test_a_plan_stands_against_the_optimum_of_its_own_compute(web, plan):
    found = compute_optimal(web, config=plan("7B", "2T"))
    assert found.flops == pytest.approx(6 * 7e9 * 2e12)
    assert found.plan.factor == pytest.approx(2e12 / 7e9 / found.tokens_per_param.median)
    assert found.plan.penalty_nats.median > 0
    again = over_training_of(LossSurface.of(web), found.params.median, found.tokens.median)
    assert again.factor == pytest.approx(1.0)


def test_the_stock_of_a_plan_is_repeated(web, plan):
    fresh = compute_optimal(web, 1e23)
    stocked = compute_optimal(web, 1e23, config=plan("7B", "2T", unique_tokens="100B"))
    stated = compute_optimal(web, 1e23, unique_tokens=1e11)
    assert stocked.params.median == pytest.approx(stated.params.median)
    assert stocked.epochs == pytest.approx(stocked.tokens.median / 1e11)
    assert stocked.loss_nats.median > fresh.loss_nats.median
    assert fresh.epochs == 1.0


def test_a_stock_needs_a_law_that_knows_repeats(fitted):
    with pytest.raises(InputError, match=r"unique tokens: got 1e\+11, but the law of fitted"):
        compute_optimal(fitted, 1e23, unique_tokens=1e11)


def test_a_routed_plan_counts_its_active_parameters(web, plan):
    model = {"params": "47B", "params_active": "13B", "num_experts": 8, "experts_per_token": 2}
    routed, dense = compute_optimal(web, 1e23, config=plan(model=model)), compute_optimal(web, 1e23)
    assert routed.loss_nats.median < dense.loss_nats.median
    assert routed.params_kind == web.about["params_kind"]
    assert 6 * routed.params.median * routed.tokens.median == pytest.approx(1e23)


def test_a_learning_rate_is_taken_as_tuned(plan):
    steplaw = load("steplaw")
    stated = compute_optimal(steplaw, 1e22, config=plan("7B", "2T", optim={"lr": 0.1, "batch_tokens": "4M"}))
    assert stated.params.median == pytest.approx(compute_optimal(steplaw, 1e22).params.median)


def test_runs_of_one_size_leave_the_optimum_to_the_prior(law_surface):
    """RegMix's runs are all of one size: an optimum from them says nothing that they know."""
    plain = law_surface(1.7, 400.0, 1500.0, 0.34, 0.34)
    seen = {"params": (1e9, 1e9), "tokens": (1e9, 4e10), "compute": (6e18, 2.4e20)}
    predictor = replace(plain.predictor, models={"loss": replace(plain.models[0], fitted_ranges=seen)})
    surface = replace(plain, predictor=predictor)
    notes = " ".join(optimum_at(surface, "mine", 1e20).notes)
    assert "every fitted run has about 1e+09 params" in notes
    assert "tokens: how" not in notes


def test_no_compute_and_no_plan_is_refused(web):
    with pytest.raises(InputError, match="flops: is missing"):
        compute_optimal(web)


def test_json_has_finite_numbers_only(gopher):
    facts = json.loads(json.dumps(gopher.to_dict(), allow_nan=False))
    assert facts["training_flops"] == GOPHER_FLOPS
    assert facts["params"]["median"] == gopher.params.median
    assert [row["factor"] for row in facts["around"]] == [0.25, 0.5, 1, 2, 4, 8]


DOMAINS = ("web", "code", "wiki", "forum")


@pytest.fixture(scope="module")
def mixed(mixed_log_loss):
    """A predictor whose law reads a mix, of runs of three sizes."""
    rng = np.random.default_rng(0)
    shares, params = rng.dirichlet(np.full(4, 0.8), 60), rng.choice([3e7, 1e8, 3e8], 60)
    columns = {"params": params, "tokens": params * rng.choice([10.0, 30.0], 60)}
    columns |= {f"mix.{name}": shares[:, place] for place, name in enumerate(DOMAINS)}
    loss = np.exp(mixed_log_loss(columns, 0.0) + 0.004 * rng.standard_normal(60))
    frame = pd.DataFrame({**columns, "loss": loss})
    return Predictor.fit(RunTable.from_frame(frame, where="mixes.csv"), "chinchilla+mixture", prior="public")


def test_a_law_of_the_mix_wants_the_mix(mixed, plan):
    with pytest.raises(InputError, match=r"data\.mix: is not stated"):
        compute_optimal(mixed, 1e20)
    shares = {"web": 0.4, "code": 0.3, "wiki": 0.2, "forum": 0.1}
    found = compute_optimal(mixed, 1e20, config=plan("100M", "2B", mix=shares))
    assert found.method == "numeric"
    assert found.params.intervals[0.9][0] < found.params.median < found.params.intervals[0.9][1]
    with pytest.raises(InputError, match="new to this predictor"):
        compute_optimal(mixed, 1e20, config=plan("100M", "2B", mix={"web": 0.9, "law": 0.1}))
    allowed = plan("100M", "2B", mix={"web": 0.9, "law": 0.1}, allow_new_domains=True)
    assert compute_optimal(mixed, 1e20, config=allowed).loss_nats.median > 0


def test_stocks_by_domain_have_corners_of_their_own(mixed, plan):
    shares = {"web": 0.4, "code": 0.3, "wiki": 0.2, "forum": 0.1}
    config = plan("100M", "2B", mix=shares, unique_tokens_by_domain={"wiki": "1B", "forum": "1B"})
    surface = LossSurface.of(mixed, config)
    assert surface.kinks == pytest.approx([5e9, 1e10])
    assert surface.distinct(np.array([1e9, 1e10, 1e11])) == pytest.approx([1e9, 9e9, 7.2e10])
    found = compute_optimal(mixed, 1e22, config=config)
    params = np.geomspace(1e7, 1e12, 5001)
    best = surface.log_loss(params, surface.tokens_for(1e22, params)).min()
    assert surface.log_loss(np.array([found.params.median]), np.array([found.tokens.median]))[0] <= best + 1e-10


def test_a_plan_that_names_its_text_has_the_optimum_of_that_text(web):
    """The loss at the optimum was that of any text, 2.03 nats, where the plan's own forecast said 1.73."""
    plan = {"model": {"params": "7B", "params_embedding": "260M"}, "data": {"tokens": "2T"}}
    named = {**plan, "data": {"tokens": "2T", "corpus": "llama2_mix", "tokenizer": "llama2"}}
    of_any, of_text = (compute_optimal(web, config=RunConfig.from_mapping(stated)) for stated in (plan, named))
    at_plan = forecast(RunConfig.from_mapping(named), web).headline.loss_nats
    assert of_text.plan.loss_nats == pytest.approx(at_plan.median, rel=0.01)
    assert of_text.loss_nats.median < at_plan.median
    low, high = of_text.loss_nats.intervals[0.9]
    assert np.log(high / low) < 0.5 * np.log(of_any.loss_nats.intervals[0.9][1] / of_any.loss_nats.intervals[0.9][0])
