"""Tables for a terminal: whole numbers at 80 columns, and names that are printed as they are."""

import io
import re
import warnings

import numpy as np
import pytest
from foretrain.core.errors import DataWarning
from foretrain.core.units import format_decimals
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.evaluation.backtesting import backtest_table
from foretrain.simulator.predictor.evaluation.scoring import score
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load, shipped
from foretrain.simulator.report.tables.forecast import backtest_view, fit_view, forecast_view, score_view
from rich.console import Console

MARKUP = "[red]x[/red]"


def shown(view, width: int = 80) -> str:
    """What a plain terminal of this width prints."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(view)
    return console.file.getvalue()


def check_whole(text: str) -> None:
    """Nothing is cut off at 80 columns."""
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.fixture(scope="module")
def table(make_frame) -> RunTable:
    frame = make_frame(30)
    frame["loss.web"], frame["loss.code"] = frame["loss"], 0.5 * frame["loss"]
    return RunTable.from_frame(frame.drop(columns="loss"), where="runs.csv")


@pytest.fixture(scope="module")
def fitted(table) -> Predictor:
    return Predictor.fit(table, "chinchilla")


@pytest.fixture(scope="module")
def odd(make_frame) -> tuple[Predictor, RunTable]:
    """A predictor of a target whose name looks like rich's markup."""
    table = RunTable.from_frame(make_frame(30).rename(columns={"loss": f"loss.{MARKUP}"}), where="runs.csv")
    return Predictor.fit(table, "chinchilla", name=MARKUP, about={"title": MARKUP}), table


# the forecast

PLANS = {
    "plain": {"params": "300M"},
    "everything": {
        "params": "300M", "unique_tokens": "10B", "bytes_per_token": 4.0, "targets": {"perplexity": 9},
        "mix": {"a": 0.5, "b": 0.5},
        "corpus": "code", "tokenizer": "ours", "name": "a-run-with-a-name-of-some-length",
    },
    "hopeless": {"params": "300M", "unique_tokens": "10M", "targets": {"loss_nats": 0.5}},
    "experts": {"model": {"params": "1T", "params_active": "300M", "num_experts": 64, "experts_per_token": 2}},
}  # fmt: skip


@pytest.mark.parametrize("plan_name", PLANS)
@pytest.mark.parametrize("name", shipped())
def test_every_forecast_fits_eighty_columns(name, plan_name, plan):
    config = plan(**{"tokens": "131B", **PLANS[plan_name]})
    result = forecast(config, load(name))
    text = shown(forecast_view(result))
    check_whole(text)
    low, high = result.headline.perplexity.intervals[0.9]
    median = result.headline.perplexity.median
    shown_as = [format_decimals(value, 2) for value in (median, low, high)]
    for words in (shown_as[0], f"{shown_as[1]} to {shown_as[2]}", f"rests on {name}"):
        assert words in text
    for warning in result.warnings:
        assert squeezed(f"! {warning}") in squeezed(text)
    assert ("chance of reaching the target" in text) == (result.p_target is not None)
    assert ("bits per byte" in text) == (result.headline.bits_per_byte is not None)


def test_numbers_of_the_forecast(plan):
    result = forecast(plan("7B", "2T", unique_tokens="500B", targets={"perplexity": 9}, name="mine"), load("web-text"))
    text = shown(forecast_view(result), width=200)
    assert text.startswith("mine: 7.00B parameters, 2.00T tokens (4 epochs), 8.40e22 FLOPs\n")
    loss = result.headline.loss_nats
    assert re.search(rf"loss, nats per token +{loss.median:.3f} ", text)
    assert "chance of reaching the target (perplexity 9): " in text
    parts = re.search(r"loss, nats = (.*)", text)[1]
    values = [float(v) for v in re.findall(r"[+-]?\d+\.\d{3}", parts)]
    assert sum(values) == pytest.approx(loss.median, abs=0.004)
    assert "irreducible (E) " in parts
    assert "repeated data +" in parts


@pytest.mark.parametrize(
    ("loss", "words"), [(0.2, "under 1 %"), (9.0, "over 99 %"), (2.12, r"\d\d%")], ids=["never", "surely", "perhaps"]
)
def test_chances_in_words(loss, words, plan):
    text = shown(forecast_view(forecast(plan("7B", "2T", targets={"loss_nats": loss}), load("web-text"))))
    assert re.search(rf"chance of reaching the target \(loss {loss:g}\): {words}\n", text)


def test_active_parameters_are_named(plan):
    model = {"params": "46.7B", "params_active": "12.9B", "num_experts": 8, "experts_per_token": 2}
    text = shown(forecast_view(forecast(plan(tokens="1T", model=model, name=None), load("web-text"))))
    assert text.startswith("run: 46.7B (12.9B active) parameters, 1.00T tokens, ")
    assert "experts -0." in squeezed(text)


def test_several_domains(fitted, plan):
    text = shown(forecast_view(forecast(plan("1B", "20B", evaluated_on="code"), fitted)))
    check_whole(text)
    assert "perplexity per token on web" in text
    assert "perplexity per token on code" in text
    assert "loss, nats per token on code" in text
    assert "loss, nats per token on web" not in text, "the headline's domain only"


def test_a_forecasts_names_are_printed_as_they_are(odd, plan):
    result = forecast(plan("1B", "20B", name=MARKUP, corpus=MARKUP), odd[0])
    text = shown(forecast_view(result))
    assert text.startswith(f"{MARKUP}: 1.00B parameters")
    assert f"rests on {MARKUP}: {MARKUP}" in text


# fit, score, backtest


def test_a_fit(fitted):
    text = shown(fit_view(fitted, None))
    check_whole(text)
    model = fitted.models["loss.web"]
    for words in ("loss.web: chinchilla", "loss.code: chinchilla", "E + A·N^-α + B·D^-β", "as asked", "30, up to "):
        assert words in text
    assert f"alpha {model.parameters['alpha']:.5g}" in squeezed(text)
    assert f"± {model.calibration.width(0.9):.2f} × a forecast" in text
    assert "not saved: give --out DIR" in text
    assert "simulate predict --predictor here --config run.yaml" in squeezed(shown(fit_view(fitted, "here")))


def test_a_fit_that_leaves_terms_out(make_frame):
    frame = make_frame(20).assign(tokens=5e9, num_experts=np.tile([1, 8], 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        predictor = Predictor.fit(RunTable.from_frame(frame), prior="weak")
    text = shown(fit_view(predictor, None))
    check_whole(text)
    assert "tokens: column 'tokens' takes one value, 5e+09" in squeezed(text)
    assert "[1.0, 8.0]; 3 are needed" in squeezed(text), "brackets are no markup"
    for note in predictor.notes:
        assert squeezed(f"! {note}") in squeezed(text)


def test_a_score(fitted, table):
    result = score(fitted, table)
    text = shown(score_view(result))
    check_whole(text)
    for name, r in result["targets"].items():
        row = next(line for line in text.splitlines() if line.startswith(name))
        assert row.split()[1:4] == ["30", f"{r['median_relative_error']:.2%}", f"{r['p90_relative_error']:.2%}"]
    assert "90 % width, nats" in text


def test_a_score_that_cannot_say_everything(fitted, table):
    one = table.select(np.arange(30) == 0)
    text = shown(score_view(score(fitted, one)))
    check_whole(text)
    assert "–" in text
    assert "None" not in text
    assert "nan" not in text


def test_a_back_test(table):
    results = backtest_table(table.select(np.arange(30) < 14))
    text = shown(backtest_view(results))
    check_whole(text)
    for target, result in results.items():
        assert target in text
        assert f"{result['chosen']} (chosen)" in text
        assert squeezed(f"{result['chosen']}: {result['why']}") in squeezed(text)


def test_a_back_test_without_a_cut(make_table):
    text = shown(backtest_view(backtest_table(make_table(6))))
    check_whole(text)
    assert "–" in text
    assert "None" not in text
    assert "nan" not in text


def test_a_fits_names_are_printed_as_they_are(odd):
    assert f"loss.{MARKUP}: chinchilla" in shown(fit_view(odd[0], MARKUP))
    assert f"wrote {MARKUP}:" in shown(fit_view(odd[0], MARKUP))


def test_a_scores_names_are_printed_as_they_are(odd):
    """A target named `loss.[/red]` made `simulate score` end with an internal error."""
    assert f"loss.{MARKUP}" in shown(score_view(score(*odd)))


def test_a_back_tests_names_are_printed_as_they_are(odd):
    few = odd[1].select(np.arange(30) < 8)
    assert f"loss.{MARKUP}" in shown(backtest_view(backtest_table(few)))


def test_a_domains_name_is_printed_as_it_is(odd, plan):
    assert f"token on {MARKUP}" in shown(forecast_view(forecast(plan("1B", "20B"), two_of(odd[0]))))


def two_of(predictor: Predictor) -> Predictor:
    model = next(iter(predictor.models.values()))
    return Predictor(predictor.name, {**predictor.models, "loss.web": model}, predictor.about)


def test_a_long_target_name_is_printed_whole(fitted):
    scores = {"loss.stackexchange-questions": {
        "rows": 1000, "median_relative_error": 0.01, "p90_relative_error": 0.1, "max_relative_error": 0.2,
        "bias_nats": 0.01, "r2": 0.9, "spearman": 0.9, "coverage": {"0.5": 0.5, "0.8": 0.8, "0.9": 0.9, "0.95": 1.0},
        "median_interval_width_nats": {"0.9": 0.1},
        "interval_score_nats": {"0.9": 0.12},
    }}  # fmt: skip
    check_whole(shown(score_view({"rows": 1000, "targets": scores})))
