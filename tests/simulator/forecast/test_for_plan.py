"""The predictor that a plan asks for, and forecasts that agree with runs of one's own."""

import numpy as np
import pandas as pd
import pytest
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import Observations
from foretrain.simulator.forecast.for_plan import anchored, contradictions, for_plan, plan_labels
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.storage.folder import load

WEB = load("web-text")


@pytest.fixture
def own_runs(true_loss_at):
    """`own_runs(params, factor)`: runs with 20 tokens a parameter, so many times the loss of a known law."""

    def make(params, factor: float = 1.0, **columns) -> RunTable:
        params = np.atleast_1d(np.asarray(params, dtype=float))
        frame = pd.DataFrame(
            {"params": params, "tokens": 20 * params, "loss": factor * true_loss_at(params, 20 * params)}
        )
        return RunTable.from_frame(frame.assign(**columns), where="mine.csv")

    return make


def test_what_a_plan_says_of_its_text(plan):
    nothing = plan_labels(plan("1B", "20B"))
    assert (nothing.corpus, nothing.tokenizer, nothing.source) == ({"": 1.0}, "", "")
    stated = plan_labels(plan("1B", "20B", corpus={"web": 0.8, "code": 0.2}, tokenizer="llama3", evaluated_on="c4"))
    assert (stated.corpus, stated.evaluated_on) == ({"web": 0.8, "code": 0.2}, "c4_en")
    of_mix = plan_labels(plan("1B", "20B", mix={"web": 0.5, "code": 0.5}))
    assert of_mix.corpus == {"web": 0.5, "code": 0.5}
    in_full = plan_labels(plan("1B", "20B", corpus="c4", tokenizer={"vocab_size": 50_000, "bytes_per_token": 4.1}))
    assert in_full.bytes_per_token == 4.1


def test_a_corpus_of_one_author_says_who_trains(plan):
    assert plan_labels(plan("7B", "2T", corpus="llama2_mix", tokenizer="llama2")).source == "llama2"
    assert plan_labels(plan("7B", "2T", corpus="c4", tokenizer="gpt2")).source == ""


def test_what_a_plan_names_narrows_its_forecast(plan):
    def width(**data) -> float:
        low, high = forecast(plan("7B", "2T", **data), WEB).headline.loss_nats.intervals[0.9]
        return np.log(high / low)

    named = width(corpus="llama2_mix", tokenizer="llama2")
    assert named < 0.5 * width(corpus="fineweb", tokenizer="llama2", evaluated_on="c4_en")
    assert width(corpus="fineweb", tokenizer="llama2", evaluated_on="c4_en") < width()


def test_plans_of_the_same_text_share_their_predictor(plan):
    plans = [plan("1B", "20B", corpus="c4"), plan("7B", "2T", corpus="C4"), plan("1B", "20B", corpus="fineweb")]
    one, same, other = (for_plan(one, WEB) for one in plans)
    assert one is same
    assert one is not other
    fitted = load("repeats-c4")
    assert for_plan(plans[0], fitted) is fitted


@pytest.mark.parametrize("params", [[1e9], [3e8, 1e9], [1e8, 3e8, 1e9]])
def test_a_forecast_agrees_with_ones_own_runs(plan, own_runs, params):
    table = own_runs(params, 1.1)
    predictor = anchored(plan("1B", "20B"), table)
    found = forecast(plan("1B", "20B"), predictor).headline.loss_nats
    assert found.median == pytest.approx(table.column("loss")[-1], rel=0.01)
    low, high = found.intervals[0.9]
    before = forecast(plan("1B", "20B"), WEB).headline.loss_nats.intervals[0.9]
    assert np.log(high / low) < 0.3 * np.log(before[1] / before[0])
    assert predictor.about["digest"] == table.digest()
    told = "one run" if len(params) == 1 else f"{len(params)} runs"
    assert predictor.about["title"].startswith(f"{told} of your own (mine.csv)")


def test_further_out_an_anchor_is_worth_less(plan, own_runs):
    predictor = anchored(plan("1B", "20B"), own_runs(1e9))
    widths = []
    for params, tokens in (("1B", "20B"), ("3B", "60B"), ("30B", "600B")):
        low, high = forecast(plan(params, tokens), predictor).headline.loss_nats.intervals[0.9]
        widths.append(np.log(high / low))
    assert widths == sorted(widths)
    assert widths[0] < 0.5 * widths[2]


def test_a_run_that_contradicts_what_the_plan_names_is_told_with_both_numbers(plan, own_runs):
    config = plan("1B", "20B", corpus="c4", tokenizer="gpt2")
    expected = float(
        for_plan(config, WEB).predict({"params": np.array([1e9]), "tokens": np.array([2e10])}).loss_nats[0]
    )
    far = own_runs(1e9, 0.5)
    predictor = anchored(config, far)
    (note,) = predictor.notes
    assert f"a run of loss {far.column('loss')[0]:.3f} contradicts what the plan names (c4, gpt2, c4_en)" in note
    assert f"{expected:.3f} is expected there" in note
    assert note in forecast(config, predictor).warnings
    assert anchored(plan("1B", "20B"), far).notes == (), "nothing named, nothing contradicted"
    alike = own_runs(1e9, expected / own_runs(1e9).column("loss")[0])
    assert anchored(config, alike).notes == ()


def test_early_points_of_a_curve_contradict_nothing(plan):
    labels = plan_labels(plan("1B", "20B", corpus="c4", tokenizer="gpt2"))
    columns = {"params": np.full(2, 1e9), "tokens": np.array([1e9, 2e10])}
    seen = Observations(columns, np.array([9.0, 2.8]), np.ones(2), progress=np.array([0.05, 1.0]))
    assert contradictions(seen, labels) == []
    assert contradictions(Observations.from_columns(columns, seen.loss), labels) != []


def test_anchors_are_counted_without_embeddings_where_they_state_them(plan, own_runs):
    predictor = anchored(plan("1B", "20B"), own_runs([1e9, 2e9], params_embedding=1e8))
    assert predictor.about["params_kind"] == "non_embedding"
    assert predictor.models["loss"].fitted_ranges["params"] == pytest.approx((9e8, 1.9e9))
