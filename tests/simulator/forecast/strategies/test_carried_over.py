"""Architectures by a predictor whose runs are all of one: what proxies of others say is carried over to its law."""

import numpy as np
import pandas as pd
import pytest
from foretrain import Predictor, RunConfig, RunTable, compare, forecast, load_predictor
from foretrain.core.errors import InputError
from foretrain.simulator.allocation.compute_optimal.mixers import mixers_optimal
from foretrain.simulator.forecast.adjustments import ADJUSTMENTS, Architecture

GAIN = {"transformer": 0.0, "hyena": 0.8, "h3": -0.6}
"""Of tokens, in log."""
SHAPE = {"layers": 24, "width": 1024, "ffn_width": 2816, "vocab_size": 32000, "context_length": 2048}
MASSIVETEXT = load_predictor("chinchilla-massivetext")


def fitted(runs: pd.DataFrame) -> Predictor:
    return Predictor.fit(RunTable.from_frame(runs), "chinchilla+architecture", prior="public")


@pytest.fixture(scope="module")
def three(ladders_of_mixers) -> Predictor:
    return fitted(ladders_of_mixers(GAIN))


@pytest.fixture
def member() -> Architecture:
    return next(one for one in ADJUSTMENTS if isinstance(one, Architecture))


@pytest.fixture
def proxies(three, member, monkeypatch):
    """The predictor of three architectures in place of what ships, and no paper beside it."""
    monkeypatch.setattr(member, "_given", three)
    monkeypatch.setattr("foretrain.simulator.forecast.adjustments.architecture.COMPARED", {})


def plan(mixer: str, **shape) -> dict:
    heads = {"heads": 16} if mixer == "attention" else {}
    return {
        "name": mixer,
        "model": {"architecture": {**SHAPE, **heads, "mixer": mixer, **shape}},
        "data": {"tokens": "8B"},
    }


def asked(mixer: str, **shape):
    return forecast(RunConfig.from_mapping(plan(mixer, **shape)), MASSIVETEXT)


@pytest.mark.usefixtures("proxies")
def test_a_mixer_counts_as_many_tokens_as_on_the_proxies():
    found, plain = asked("hyena"), asked("attention")
    (one,), (effect,) = found.strategies, found.adjustments
    assert plain.strategies == plain.adjustments == ()
    assert (one.level, one.known_from, one.baseline) == ("hyena", "proxy-architectures", "transformer")
    assert one.baseline_loss_nats == pytest.approx(plain.headline.loss_nats.median)
    assert found.headline.loss_nats.median - plain.headline.loss_nats.median == pytest.approx(one.difference.median)
    # against the same plan on exp(.8) times the tokens, for which the law alone answers
    more = {**plan("attention"), "data": {"tokens": 8e9 * np.exp(GAIN["hyena"])}}
    gain = forecast(RunConfig.from_mapping(more), MASSIVETEXT).headline.loss_nats.median - one.baseline_loss_nats
    low, high = one.difference.intervals[0.9]
    assert low < gain < high
    assert one.difference.median < 0
    middle, *_ = effect.percent()
    assert middle == pytest.approx(one.loss_percent[0], abs=0.3)  # but for what the shape has more of parameters
    assert found.headline.decomposition_nats["architecture"] < 0
    assert "40 runs of proxy-architectures of 30.0k to 240k parameters" in one.sentence
    assert one.beyond_decades["tokens"] == pytest.approx(3.0)
    assert not any("not read" in text for text in found.warnings)


@pytest.mark.usefixtures("proxies")
def test_the_further_from_the_proxies_the_less_is_known():
    near, far = asked("hyena", layers=2, width=64, ffn_width=128, vocab_size=512), asked("hyena")
    widths = [np.ptp(one.strategies[0].loss_percent[1:]) for one in (near, far)]
    relative = [width / abs(one.strategies[0].loss_percent[0]) for width, one in zip(widths, (near, far), strict=True)]
    assert relative[1] > relative[0]


@pytest.mark.usefixtures("proxies")
def test_a_mixer_that_no_proxy_had_is_as_open_as_they_differ():
    found = asked("mlp_mixer")
    (one,) = found.strategies
    assert (one.known, one.verdict) == (False, "undecided")
    assert any("no fitted run had 'mlp_mixer'" in text for text in found.warnings)


def test_a_mixer_that_no_proxy_had_is_refused_where_one_was_fitted(member, monkeypatch, ladders_of_mixers):
    two = {level: GAIN[level] for level in ("transformer", "hyena")}
    monkeypatch.setattr(member, "_given", fitted(ladders_of_mixers(two)))
    with pytest.raises(InputError, match=r"mixer: got 'h3'; proxy-architectures has 'hyena', 'transformer', so"):
        asked("h3")


@pytest.mark.usefixtures("proxies")
def test_plans_are_compared_and_optima_differ_by_what_is_carried_over():
    found = compare([plan("attention"), plan("hyena"), plan("h3")], MASSIVETEXT)
    assert [its["loss_nats"].verdict for its in found.differences[1:]] == ["better", "worse"]
    best = mixers_optimal(MASSIVETEXT, ["attention", "hyena"], 1e20)
    assert best.rows[1].difference.median < 0
    assert best.crossings == ()
    assert any("carried over from the runs of proxy-architectures" in note for note in best.notes)


def test_without_proxies_the_mixer_is_said_not_to_be_read(member, monkeypatch):
    monkeypatch.setattr(member, "_given", None)
    monkeypatch.setattr("foretrain.simulator.forecast.adjustments.architecture.shipped", list)
    found = asked("hyena")
    assert found.strategies == found.adjustments == ()
    assert "not read by this predictor: model.architecture.mixer" in found.warnings
