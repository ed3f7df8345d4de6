"""`forecast`: what a plan becomes with each predictor, its warnings, and a check against published runs."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import DataWarning, InputError
from foretrain.core.quantity import LEVELS
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.fitting import known_columns
from foretrain.simulator.forecast.forecast import forecast, run_columns
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, shipped

EXAMPLES = Path(__file__).parents[3] / "examples"
LARGE = [name for name in shipped() if name != "proxy-architectures"]
"""Predictors of runs as large as those of plans."""
WEB, DENSE, REPEATS, MOE, STEPS = "web-text", "olmo-c4", "repeats-c4", "routing-moe", "steplaw"
EIGHT_EXPERTS = {"params": "46.7B", "params_active": "12.9B", "num_experts": 8, "experts_per_token": 2}


def median(config: RunConfig, name: str = WEB) -> float:
    return forecast(config, load(name)).headline.loss_nats.median


def numbers(value) -> list[float]:
    """Every number in a nest of plain values."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


# every predictor, many plans

PLANS = {
    "dense": {"params": "1.5B", "tokens": "130B"},
    "tiny": {"params": "20M", "tokens": "130B"},
    "experts": {"model": {"params": "3B", "params_active": "600M", "num_experts": 64, "experts_per_token": 2}},
    "repeats": {"params": "1.5B", "unique_tokens": "20B"},
    "tuned": {"params": "1.5B", "optim": {"lr": 1e-3, "batch_tokens": "1M"}, "bytes_per_token": 4.2},
    "aimed": {"params": "1.5B", "targets": {"perplexity": 12}},
}


@pytest.mark.parametrize("plan_name", PLANS)
@pytest.mark.parametrize("name", LARGE)
def test_every_forecast_is_finite_json_that_round_trips(name, plan_name, plan):
    config = plan(**{"tokens": "130B", **PLANS[plan_name]})
    result = forecast(config, load(name))
    plain = result.to_dict()
    again = json.loads(json.dumps(plain, allow_nan=False))
    assert again == plain
    assert all(math.isfinite(n) for n in numbers(plain))
    assert RunConfig.from_mapping(plain["config"]) == config
    assert forecast(config, load(name)).to_dict() == plain, "same plan, same bits"
    inner = (plain["loss_nats"]["median"],) * 2
    for level in LEVELS:
        low, high = plain["loss_nats"]["intervals"][f"{level:g}"]
        assert 0 < low <= inner[0] <= inner[1] <= high
        inner = (low, high)
    assert sum(plain["decomposition_nats"].values()) == pytest.approx(plain["loss_nats"]["median"], rel=1e-9)


def test_stated_keys_are_those_of_the_plan(plan):
    plain = forecast(plan(**PLANS["experts"], tokens="130B"), load(WEB)).to_dict()
    assert (plain["params_total"], plain["params_active"], plain["tokens"], plain["epochs"]) == (3e9, 6e8, 130e9, 1.0)
    assert plain["training_flops"] == pytest.approx(6 * 6e8 * 130e9)
    assert plain["predictor"]["name"] == WEB


def test_several_targets(make_frame, plan):
    frame = make_frame(20)
    frame["loss.web"], frame["loss.code"] = frame["loss"], 0.5 * frame["loss"]
    predictor = Predictor.fit(RunTable.from_frame(frame.drop(columns="loss")), "chinchilla")
    result = forecast(plan("1B", "20B", evaluated_on="code", targets={"loss_nats": 1.3}), predictor)
    assert (result.main, list(result.domains)) == ("loss.code", ["loss.web", "loss.code"])
    assert result.headline is result.domains["loss.code"]
    assert result.headline.loss_nats.median == pytest.approx(result.domains["loss.web"].loss_nats.median / 2, rel=1e-3)
    other = forecast(plan("1B", "20B", evaluated_on="web", targets={"loss_nats": 1.3}), predictor)
    assert other.main == "loss.web"
    assert result.p_target > 0.5 > other.p_target, "the target is one of the headline's domain"


# reaching the target


def test_the_chance_rises_with_the_target(plan):
    at = median(plan("7B", "2T"))
    chances = [
        forecast(plan("7B", "2T", targets={"perplexity": math.exp(loss)}), load(WEB)).p_target
        for loss in np.linspace(0.4 * at, 1.6 * at, 25)
    ]
    assert (np.diff(chances) >= 0).all()
    assert (chances[0], chances[-1]) == (pytest.approx(0, abs=0.05), pytest.approx(1, abs=0.05))
    assert all(0 <= chance <= 1 for chance in chances)


@pytest.mark.parametrize("name", LARGE)
def test_the_median_is_reached_with_even_chance(name, plan):
    at = median(plan("1.5B", "130B"), name)
    result = forecast(plan("1.5B", "130B", targets={"loss_nats": at}), load(name))
    assert result.p_target == pytest.approx(0.5, abs=0.02)


def test_the_ends_of_an_interval_are_reached_with_their_chance(plan):
    low, high = forecast(plan("7B", "2T"), load(WEB)).headline.loss_nats.intervals[0.8]
    for loss, chance in ((low, 0.1), (high, 0.9)):
        for targets in ({"loss_nats": loss}, {"perplexity": math.exp(loss)}):
            assert forecast(plan("7B", "2T", targets=targets), load(WEB)).p_target == pytest.approx(chance, abs=0.01)


def test_no_target_no_chance(plan):
    assert forecast(plan("7B", "2T", targets={"deadline": "30d"}), load(WEB)).p_target is None


# units


def test_bits_per_byte(plan):
    result = forecast(plan("7B", "2T", bytes_per_token=4.0), load(WEB)).headline
    assert result.bits_per_byte.median == pytest.approx(result.loss_nats.median / math.log(2) / 4)
    for level in LEVELS:
        expected = [nats / math.log(2) / 4 for nats in result.loss_nats.intervals[level]]
        assert list(result.bits_per_byte.intervals[level]) == pytest.approx(expected)
    assert forecast(plan("7B", "2T"), load(WEB)).headline.bits_per_byte is None


def test_perplexity_is_the_exponential_of_the_loss(plan):
    result = forecast(plan("7B", "2T"), load(WEB)).headline
    assert result.perplexity.median == pytest.approx(math.exp(result.loss_nats.median))


# which N

DENSE_MODEL = {"params": 7e9, "params_embedding": 5e8}
ROUTED_MODEL = {"params": 40e9, "params_active": 8e9, "params_embedding": 5e8, "num_experts": 8, "experts_per_token": 1}


@pytest.mark.parametrize(
    ("kind", "model", "fitted"),
    [
        ("total", DENSE_MODEL, 7e9),
        ("active", DENSE_MODEL, 7e9),
        ("non_embedding", DENSE_MODEL, 6.5e9),
        ("active", ROUTED_MODEL, 8e9),
        ("non_embedding", ROUTED_MODEL, 7.5e9),
        ("total", ROUTED_MODEL, 8e9),  # dense runs: a routed model counts by what a token uses
    ],
)
def test_n_follows_the_predictors_convention(kind, model, fitted, make_table, plan):
    predictor = Predictor.fit(make_table(12), "chinchilla", about={"params_kind": kind})
    result = forecast(plan(tokens="100B", model=model), predictor)
    assert result.params_fitted == pytest.approx(fitted)
    assert not [text for text in result.warnings if "without embeddings" in text]


def test_an_architecture_knows_its_embeddings():
    config = RunConfig.load(EXAMPLES / "llama-7b.yaml")
    assert forecast(config, load(DENSE)).params_fitted == 6738415616 - 2 * 32000 * 4096
    assert forecast(config, load(WEB)).params_fitted == 6738415616 - 2 * 32000 * 4096
    assert forecast(config, load(REPEATS)).params_fitted == 6738415616


def test_embeddings_that_are_not_stated_are_counted_with_a_warning(plan):
    result = forecast(plan("7B", "2T"), load(DENSE))
    assert result.params_fitted == 7e9
    assert [t for t in result.warnings if "model.params_embedding isn't stated: all are counted" in t]


def test_a_table_whose_n_is_the_total_of_routed_models(make_frame, plan, true_loss_at):
    """A table may hold both counts; the law is fitted on `params`, so the forecast must count the same."""
    frame = make_frame(40)
    experts = np.tile([1, 4, 8, 16], 10)
    frame = frame.assign(params=frame.params * experts, params_active=frame.params, num_experts=experts)
    frame["experts_per_token"], frame["loss"] = 1, true_loss_at(frame.params_active * experts**0.3, frame.tokens)
    predictor = Predictor.fit(RunTable.from_frame(frame), "general+experts", prior="public")
    model = {"params": 6.4e9, "params_active": 8e8, "num_experts": 8, "experts_per_token": 1}
    predicted = forecast(plan(tokens="30B", model=model), predictor).headline.loss_nats.median
    assert predicted == pytest.approx(true_loss_at(8e8 * 8**0.3, 3e10), rel=0.03)


def test_a_planned_run_is_predicted_as_the_same_run_of_a_table(make_frame, plan):
    frame = make_frame(40).assign(num_experts=np.tile([1, 4, 8, 16], 10))
    frame = frame.assign(experts_per_token=np.where(frame.num_experts > 1, 2, 1), loss=frame.loss * 0.97)
    table = RunTable.from_frame(frame)
    predictor = Predictor.fit(table, "general+experts", prior="public")
    row = table.frame.iloc[2]
    of_table = predictor.predict({k: v[2:3] for k, v in known_columns(table).items()}).loss_nats[0]
    model = {"params": 10 * row.params, "params_active": row.params, "num_experts": 8, "experts_per_token": 2}
    config = plan(tokens=float(row.tokens), model=model)
    assert run_columns(config, predictor, [])["num_experts"] == known_columns(table)["num_experts"][2]
    assert forecast(config, predictor).headline.loss_nats.median == pytest.approx(of_table, rel=1e-9)


# warnings: each where it belongs and nowhere else

WORDS = {
    "repeats": r"the data are seen .* times, but this predictor knows no repeats",
    "dense": r"this predictor knows dense models only",
    "experts": r"the effect of experts comes from routed models",
    "tuning": r"not stated: learning rate and batch are taken as tuned",
    "corpus": r"data\.corpus is .*; the predictor's runs used",
    "tokenizer": r"data\.tokenizer is .*; the predictor's runs used",
    "gap": r"beyond the fitted runs by",
    "far": r"^far beyond the fitted runs by",
    "few": r"tokens per parameter .*under-trained",
    "mix": r"not read by this predictor: .*data\.mix",
    "unread": r"^not read by this predictor: optim",
    "embedding": r"counts parameters without embeddings",
    "new": r"is new to the catalogue; (nearest: |nothing is like it)",
    "lacking": r"^bits per byte are left out, for lack of bytes per token: state ",
    "contradicts": r"data\.bytes_per_token is .*the stated figure counts",
    "vocabulary": r"model\.vocab_size is .* tokens",
    "evaluated": r"data\.evaluated_on is .*; the predictor speaks of",
    "unseen": r"^no public table is trained on ",
}
INSIDE = {"params": 7e8, "params_embedding": 5e7}  # within every predictor's range at 130B tokens, 100B for steplaw
EIGHT = {"params": 5e9, "params_active": 7e8, "num_experts": 8, "experts_per_token": 1}
TUNED = {"tokens": "90B", "optim": {"lr": 1e-3, "batch_tokens": "1M"}}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (WEB, {}, set()),
        (DENSE, {}, set()),
        (REPEATS, {}, set()),
        ("chinchilla-massivetext", {}, set()),
        (STEPS, TUNED, set()),
        (STEPS, {"tokens": "90B"}, {"tuning"}),
        (STEPS, {"tokens": "90B", "optim": {"lr": 1e-3}}, {"tuning"}),
        (MOE, {"model": {"params": 3e8}, "tokens": 131_072_000_000}, set()),
        (DENSE, {"model": {"params": 7e8}}, {"embedding"}),
        (WEB, {"unique_tokens": "10B"}, set()),
        (REPEATS, {"unique_tokens": "10B"}, set()),
        (DENSE, {"unique_tokens": "10B"}, set()),
        (STEPS, {**TUNED, "unique_tokens": "10B"}, {"repeats"}),
        (STEPS, {**TUNED, "unique_tokens": "130B"}, set()),
        (STEPS, {**TUNED, "unique_tokens": "1T"}, set()),
        (WEB, {"model": {**INSIDE, **EIGHT}}, {"experts"}),
        ("chinchilla-massivetext", {"model": {**INSIDE, **EIGHT}}, {"experts"}),
        (REPEATS, {"model": {**INSIDE, **EIGHT}}, {"dense"}),
        (WEB, {"model": {**INSIDE, "params_active": 7e8, "num_experts": 1, "experts_per_token": 1}}, set()),
        (WEB, {"corpus": "c4"}, set()),
        (WEB, {"corpus": "web"}, {"unseen"}),
        (WEB, {"corpus": "Web Text "}, {"unseen"}),
        (WEB, {"corpus": "protein sequences"}, {"new", "unseen"}),
        (WEB, {"corpus": "finewebb"}, {"new", "unseen"}),
        (WEB, {"corpus": {"web": 0.8, "code": 0.2}}, {"unseen"}),
        (WEB, {"corpus": {"c4": 0.8, "starcoder": 0.2}}, set()),
        (REPEATS, {"corpus": "allenai/c4"}, set()),  # another name of the same corpus
        (WEB, {"tokenizer": "llama"}, set()),  # the pooled predictor has no tokenizer of its own
        (DENSE, {"tokenizer": "llama"}, {"tokenizer"}),
        (DENSE, {"tokenizer": "dolma2"}, set()),
        (REPEATS, {"corpus": "c4", "tokenizer": "gpt-2"}, set()),
        (WEB, {"tokenizer": "lama2"}, {"new", "lacking"}),
        (WEB, {"tokenizer": "lama2", "bytes_per_token": 4}, {"new"}),
        (WEB, {"tokenizer": {"vocab_size": 50_000, "bytes_per_token": 4}}, set()),
        (WEB, {"tokenizer": "llama3", "corpus": "protein sequences"}, {"new", "unseen"}),
        (REPEATS, {"tokenizer": "gpt2", "corpus": "protein sequences"}, {"corpus", "new", "lacking"}),
        (WEB, {"tokenizer": "llama2", "corpus": "web", "bytes_per_token": 3.9}, {"unseen"}),
        (WEB, {"tokenizer": "llama2", "corpus": "web", "bytes_per_token": 4.6}, {"contradicts", "unseen"}),
        (WEB, {"tokenizer": "llama3", "model": {**INSIDE, "vocab_size": 128_256}}, set()),
        (WEB, {"tokenizer": "llama3", "model": {**INSIDE, "vocab_size": 32_000}}, {"vocabulary"}),
        (WEB, {"evaluated_on": "training"}, set()),
        (WEB, {"evaluated_on": "paloma"}, set()),
        (DENSE, {"evaluated_on": "paloma"}, {"evaluated"}),
        (WEB, {"evaluated_on": "palomma"}, {"new"}),
        (DENSE, {"evaluated_on": "paloma_c4_en", "tokenizer": "dolma2"}, set()),
        (WEB, {"mix": {"web": 0.5, "code": 0.5}}, set()),  # what its corpus consists of
        (WEB, {"mix": {"web": 0.5, "ours": 0.5}}, {"mix"}),
        (WEB, {"mix": {"web": 0.5, "code": 0.5}, "corpus": "c4"}, {"mix"}),
        (DENSE, {"mix": {"web": 0.5, "code": 0.5}}, {"mix"}),
        (WEB, {"tokens": "20T"}, {"gap"}),
        (WEB, {"model": {"params": 1e13, "params_embedding": 1e10}, "tokens": "100T"}, {"gap", "far"}),
        (WEB, {"tokens": "3B"}, {"few"}),
        (WEB, {"tokens": "3.6B"}, set()),
    ],
)
def test_warnings_appear_exactly_when_they_should(name, changes, expected, plan):
    config = plan(**{"model": INSIDE, "tokens": "130B", **changes})
    found = forecast(config, load(name)).warnings
    said = {key for key, words in WORDS.items() if any(re.search(words, text) for text in found)}
    assert said == expected, found
    assert all(any(re.search(words, text) for words in WORDS.values()) for text in found), "a warning unknown here"
    assert len(set(found)) == len(found)


def test_a_domain_that_the_predictor_does_not_know_is_warned_about(make_frame, plan):
    frame = make_frame(20).rename(columns={"loss": "loss.web"})
    predictor = Predictor.fit(RunTable.from_frame(frame), "chinchilla")
    assert any("code" in text for text in forecast(plan("7e8", "20B", evaluated_on="code"), predictor).warnings)


def test_the_predictors_own_doubts_are_repeated(make_frame, plan):
    with pytest.warns(DataWarning, match="takes 2 values"):
        predictor = Predictor.fit(RunTable.from_frame(make_frame(20, source=["a", "b"] * 10)), "chinchilla")
    assert set(predictor.notes) <= set(forecast(plan("5e8", "20B"), predictor).warnings)


def test_a_run_that_the_predictor_cannot_speak_of(plan):
    with pytest.raises(InputError, match=r"tokens: got 2e\+12; every fitted run has about 1\.31e\+11"):
        forecast(plan("3e8", "2T"), load(MOE))


# more of a good thing


@pytest.mark.parametrize("name", [n for n in LARGE if n != MOE])
@pytest.mark.parametrize("params", ["20M", "1B", "70B", "1T"])
def test_doubling_fresh_tokens_never_raises_the_loss(name, params, plan):
    losses = [median(plan(params, 1e9 * 2.0**k), name) for k in range(16)]
    assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("name", LARGE)
def test_doubling_the_model_never_raises_the_loss(name, plan):
    losses = [median(plan(2e7 * 2.0**k, "130B"), name) for k in range(14)]
    assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("name", [WEB, REPEATS])
@pytest.mark.parametrize("params", ["100M", "1B", "7B"])
def test_fewer_unique_tokens_never_lower_the_loss(name, params, plan):
    losses = [median(plan(params, "130B", unique_tokens=130e9 / 2.0**k), name) for k in range(9)]
    assert (np.diff(losses) >= -1e-12).all()
    assert losses[-1] > 1.02 * losses[0], "hundreds of epochs must hurt"
    assert losses[1] < 1.02 * losses[0], "two epochs hardly do"


@pytest.mark.parametrize(("name", "params"), [(WEB, "7B"), (WEB, "1B"), (MOE, "300M")])
def test_experts_help(name, params, plan):
    dense = median(plan(params, "130B"), name)
    losses = [
        median(plan(tokens="130B", model={"params": "1T", "params_active": params, "num_experts": e,
                                          "experts_per_token": 1}), name)
        for e in (2, 8, 64)
    ]  # fmt: skip
    assert dense > losses[0] > losses[1] > losses[2]
    assert losses[2] > 0.75 * dense, "not beyond belief"


def test_more_experts_per_token_at_the_same_active_size_are_fewer_to_choose_from(plan):
    one, two = (
        run_columns(plan(tokens="1T", model=EIGHT_EXPERTS | {"experts_per_token": k}), load(WEB), [])["num_experts"]
        for k in (1, 2)
    )
    assert (one, two) == ([8.0], [4.0])


# published runs; losses depend on corpus and tokenizer, so only the pooled interval is asked to hold them


@pytest.mark.parametrize(
    ("example", "loss"),
    [
        ("gpt3-175b", 1.73),  # validation loss after 300B tokens, Brown et al. 2020 (arXiv:2005.14165), figure 3.1
        ("llama-7b", 1.75),  # training loss at 2T tokens, Touvron et al. 2023b (arXiv:2307.09288), figure 5, by eye
        ("llama-70b", 1.50),  # the same figure
    ],
)
def test_published_losses_lie_in_the_pooled_interval(example, loss):
    result = forecast(RunConfig.load(EXAMPLES / f"{example}.yaml"), load(WEB))
    low, high = result.headline.perplexity.intervals[0.9]
    assert low < math.exp(loss) < high
    assert abs(result.headline.loss_nats.median / loss - 1) < 0.35
