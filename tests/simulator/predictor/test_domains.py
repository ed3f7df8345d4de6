"""Mixes at prediction: what a fitted law knows, what it refuses, and forecasts in spite of domains that are new."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import ConfigError, DataWarning, InputError
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.forecast.forecast import Forecast, forecast
from foretrain.simulator.forecast.law_inputs import predict_run
from foretrain.simulator.predictor.domains import check_domains, known_domains, without_new_domains
from foretrain.simulator.predictor.loss_model import LossModel
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load
from foretrain.simulator.report.charts.plans.forecast import curve_rows

MIX = {"web": 0.5, "code": 0.3, "books": 0.2}


def runs(n: int = 60, **more) -> RunTable:
    """Runs of several sizes on mixes of three domains; books are worth the least."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), n)
    params = 10 ** rng.uniform(7, 8.5, n)
    tokens = params * 10 ** rng.uniform(1, 2, n)
    worth = ((shares + 1e-4) ** 0.5 @ np.array([1.0, 0.6, 0.3])) ** 2
    loss = (1.7 + (480 * params**-0.35 + 2100 * tokens**-0.37) * worth**-0.25) * np.exp(rng.normal(0, 0.004, n))
    frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})
    return RunTable.from_frame(frame.assign(**{f"mix.{d}": shares[:, i] for i, d in enumerate(MIX)}, **more))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.fit(runs(), "general+mixture", prior="public")


@pytest.fixture(scope="module")
def model(predictor) -> LossModel:
    return predictor.models["loss"]


@pytest.fixture
def ask(plan, predictor) -> Callable[..., Forecast]:
    """`ask(mix, …)`: the forecast of a billion parameters on 20 billion tokens; other keywords are of `data`."""
    return lambda mix, **data: forecast(plan("1B", "20B", mix=mix, **data), predictor)


def columns_of(mix, tokens: float = 2e9) -> dict[str, np.ndarray]:
    columns = {"params": np.array([1e8]), "tokens": np.array([tokens])}
    return columns | {f"mix.{domain}": np.array([share]) for domain, share in mix.items()}


def median(result: Forecast) -> float:
    return result.headline.loss_nats.median


def width(result: Forecast) -> float:
    low, high = result.headline.loss_nats.intervals[0.9]
    return high - low


# what is known


def test_domains_that_are_not_named_have_no_share(model):
    found = check_domains(model.fit, columns_of({"web": 0.6, "code": 0.4}))
    assert found["mix.books"] == 0
    assert set(known_domains(model.fit)) == set(MIX)
    named = model.predict(check_domains(model.fit, columns_of({"web": 0.6, "code": 0.4, "books": 0.0})))
    assert model.predict(found).log_loss == named.log_loss


def test_no_mix_at_all_is_refused(model):
    plain = {key: value for key, value in columns_of(MIX).items() if "." not in key}
    with pytest.raises(InputError, match=r"^here: is not stated; expected a mix of 'web', 'code', 'books'"):
        check_domains(model.fit, plain, "here")


def test_a_new_domain_is_named_with_those_that_are_known(model):
    with pytest.raises(
        InputError, match=r"^mix: the domain 'law' is new .* trained on .*'web'.*allow_new_domains: true"
    ):
        check_domains(model.fit, columns_of({"web": 0.7, "law": 0.3}))
    assert "mix.law" in check_domains(model.fit, columns_of({"web": 1.0, "law": 0.0}))


def test_a_law_that_reads_no_mix_takes_any():
    fit = load("web-text").models["loss"].fit
    assert check_domains(fit, columns_of({"law": 1.0})) == columns_of({"law": 1.0})


def test_a_share_that_never_varied_must_stay_what_it_was():
    table = runs()
    frame = table.frame.assign(**{f"mix.{d}": 0.8 * table.frame[f"mix.{d}"] for d in MIX}, **{"mix.wiki": 0.2})
    with pytest.warns(DataWarning, match="the share of 'wiki' is the same in every run"):
        fit = Predictor.fit(RunTable.from_frame(frame), "general+mixture", prior="public").models["loss"].fit
    assert fit.law.domains == tuple(MIX)
    usual = {**{d: 0.8 * share for d, share in MIX.items()}, "wiki": 0.2}
    check_domains(fit, columns_of(usual))
    with pytest.raises(InputError, match=r"mix.wiki: got 0.5; every fitted run has 0.2"):
        check_domains(fit, columns_of({"web": 0.5, "wiki": 0.5}))


# two readings of a new domain


def test_new_tokens_are_worthless_or_as_good_as_the_average(model):
    columns = columns_of({"web": 0.4, "code": 0.1, "law": 0.5}) | {"unique_tokens.code": np.array([1e8])}
    worthless, average = without_new_domains(model.fit, columns)
    for reading in (worthless, average):
        assert "mix.law" not in reading
        assert float(reading["mix.web"][0]) == pytest.approx(0.8)
        assert float(reading["mix.code"][0]) == pytest.approx(0.2)
    assert (worthless["tokens"], average["tokens"]) == (1e9, 2e9)
    assert (worthless["unique_tokens.code"], average["unique_tokens.code"]) == (1e8, 2e8)  # each seen twice


def test_the_forecast_is_halfway_and_wider(model):
    columns = columns_of({"web": 0.4, "code": 0.1, "law": 0.5})
    found, known = predict_run(model, columns, allow_new=True)
    worst, best = (model.predict(check_domains(model.fit, c)) for c in without_new_domains(model.fit, columns))
    assert worst.log_loss > best.log_loss
    assert found.log_loss == pytest.approx((worst.log_loss + best.log_loss) / 2)
    assert found.scale == pytest.approx(max(worst.scale[0], best.scale[0]) + (worst.log_loss - best.log_loss) / 2)
    assert known["tokens"] == columns["tokens"]


def test_known_mixes_are_predicted_the_same_with_or_without_leave(model):
    one, two = (predict_run(model, columns_of(MIX), allow_new=leave)[0] for leave in (True, False))
    assert (one.log_loss, one.scale) == (two.log_loss, two.scale)


def test_nothing_but_new_domains_is_refused_all_the_same(model):
    with pytest.raises(InputError, match=r"all tokens are of domains that are new to this predictor \('law'\)"):
        predict_run(model, columns_of({"law": 1.0}), allow_new=True)


# in a forecast


def test_a_forecast_reads_the_mix(ask):
    assert median(ask({"web": 0.8, "code": 0.2})) < median(ask({"books": 0.9, "web": 0.1})) - 0.02
    result = ask(MIX)
    assert not [text for text in result.warnings if "mix" in text]
    parts = result.headline.decomposition_nats
    assert "mixture" in parts
    assert sum(parts.values()) == pytest.approx(median(result))


def test_a_forecast_without_a_mix_or_with_a_new_domain_is_refused(ask):
    with pytest.raises(InputError, match=r"data\.mix: is not stated; expected a mix of 'web', 'code', 'books'"):
        ask(None)
    with pytest.raises(InputError, match=r"data\.mix: the domain 'law' is new to this predictor"):
        ask({"web": 0.5, "law": 0.5})


def test_a_forecast_with_leave_says_what_is_new_and_is_wider(ask):
    shares = [0.1, 0.3, 0.6]
    results = [ask({"web": 1 - share, "law": share}, allow_new_domains=True) for share in shares]
    known = ask({"web": 1.0})
    for share, result in zip(shares, results, strict=True):
        assert any(
            f"{share:.1%} of the tokens are of domains that no fitted run had (law)" in w for w in result.warnings
        )
        assert sum(result.headline.decomposition_nats.values()) == pytest.approx(median(result))
        assert result.headline.decomposition_nats["new_domains"] > 0
    assert width(known) < width(results[0]) < width(results[1]) < width(results[2])


def test_each_domains_stock_counts_by_itself(ask):
    fresh = ask(MIX)
    plenty = ask(MIX, unique_tokens_by_domain={"code": "6B"})
    scarce = ask(MIX, unique_tokens_by_domain={"code": "100M"})
    scarcer = ask(MIX, unique_tokens_by_domain={"code": "100M", "web": "100M"})
    assert median(fresh) == pytest.approx(median(plenty), rel=1e-12)
    assert median(fresh) < median(scarce) < median(scarcer)
    assert scarce.config.data.epochs == pytest.approx(20e9 / (14e9 + 1e8))
    assert not any("knows no repeats" in text for text in scarcer.warnings)


def test_a_stock_in_total_is_not_enough_for_a_law_that_values_domains(ask):
    (text,) = [text for text in ask(MIX, unique_tokens="5B").warnings if "seen 4 times" in text]
    assert "state data.unique_tokens_by_domain" in text


def test_stocks_by_domain_are_summed_for_a_law_of_repeats_in_total(plan):
    by_domain = plan("1B", "130B", mix=MIX, unique_tokens_by_domain={"web": "10B", "code": "10B", "books": "10B"})
    total = plan("1B", "130B", mix=MIX, unique_tokens="30B")
    one, two = (forecast(config, load("web-text")) for config in (by_domain, total))
    assert median(one) == pytest.approx(median(two), rel=1e-12)
    assert not any("not read" in text for text in one.warnings), "it is what the corpus consists of"
    repeats = forecast(by_domain, load("repeats-c4")).warnings
    assert "not read by this predictor: data.mix" in repeats


def test_the_chart_repeats_domains_as_tokens_grow(plan, predictor):
    config = plan("1B", "2B", mix=MIX, unique_tokens_by_domain={"web": "1B", "code": "1B", "books": "1B"})
    assert config.data.epochs == 1
    drawn, endless = (curve_rows(forecast(c, predictor), predictor) for c in (config, plan("1B", "2B", mix=MIX)))
    assert drawn[0]["median"] == pytest.approx(endless[0]["median"])
    assert drawn[-1]["median"] > endless[-1]["median"] * 1.001


# in a configuration


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"mix": MIX, "unique_tokens_by_domain": {"law": 1e9}}, "got 'law', which data.mix doesn't name; expected web"),
        ({"unique_tokens_by_domain": {"web": 1e9}}, "which data.mix doesn't name; expected a mix beside it"),
        (
            {"mix": MIX, "unique_tokens_by_domain": {"web": 1e9}, "unique_tokens": 2e9},
            "unique_tokens: is given beside unique_tokens_by_domain; expected only one of the two",
        ),
        ({"mix": MIX, "unique_tokens_by_domain": {"web": 0}}, "data.unique_tokens_by_domain.web: got 0"),
        ({"mix": MIX, "unique_tokens_by_domain": {"web": "lots"}}, "data.unique_tokens_by_domain.web: got 'lots'"),
        ({"mix": MIX, "allow_new_domains": "perhaps"}, "data.allow_new_domains: got 'perhaps'; expected true or false"),
    ],
)
def test_wrong_stocks_and_leave_are_refused(data, words):
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_mapping({"model": {"params": "1B"}, "data": {"tokens": "20B", **data}})
    assert words in str(caught.value)


def test_stocks_can_be_set_and_come_back():
    mapping = {"model": {"params": "1B"}, "data": {"tokens": "20B", "mix": MIX}}
    config = RunConfig.from_mapping(mapping, overrides=["data.unique_tokens_by_domain.code=3B"])
    assert config.data.unique_tokens_by_domain == {"code": 3e9}
    assert config.data.epochs == pytest.approx(20 / 17)
    assert RunConfig.from_mapping(config.to_mapping()) == config
