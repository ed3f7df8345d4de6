"""Named corpora, tokenizers and evaluation sets in a forecast: bits per byte, warnings, which target is meant."""

import math

import pytest
from foretrain.core.quantity import Quantity
from foretrain.datasets.facts.corpora import kinds_of
from foretrain.datasets.facts.tokenizers import bytes_per_token, tokenizers
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.config.text.scale import BytesPerToken, planned_bytes_per_token
from foretrain.simulator.forecast.bits import bits_per_byte
from foretrain.simulator.forecast.forecast import forecast
from foretrain.simulator.predictor.predictor import Predictor
from foretrain.simulator.predictor.storage.folder import load

WEB = load("web-text")


@pytest.fixture(scope="module")
def by_domain(make_frame):
    """A predictor of two evaluation sets."""
    frame = make_frame(20)
    frame["loss.c4_val"] = frame.pop("loss")
    frame["loss.dolma_stack"] = frame["loss.c4_val"] * 0.6
    return Predictor.fit(RunTable.from_frame(frame), "chinchilla")


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({"corpus": "fineweb"}, "fineweb"),
        ({"corpus": {"web": 0.8, "starcoder": 0.2}}, {"web": 0.8, "starcoder": 0.2}),
        ({"corpus": "fineweb", "evaluated_on": "pile"}, "pile"),
        ({"corpus": "pile", "evaluated_on": "training"}, "pile"),
        ({"mix": {"web": 0.5, "code": 0.5}}, {"web": 0.5, "code": 0.5}),
    ],
)
def test_bits_per_byte_follow_from_tokenizer_and_text(plan, stated, text):
    found = forecast(plan("1B", "20B", tokenizer="llama3", **stated), WEB).headline
    value, log_sd = bytes_per_token(tokenizers()["llama3"], kinds_of(text))
    assert found.bytes_per_token == pytest.approx((value, log_sd), rel=1e-3)
    assert found.bits_per_byte.median == pytest.approx(found.loss_nats.median / math.log(2) / value, rel=1e-3)
    assert _ratio(found.bits_per_byte) == pytest.approx(_ratio(found.loss_nats))  # which has that doubt already


def _ratio(quantity):
    low, high = quantity.intervals[0.9]
    return high / low


def test_a_table_that_is_known_in_nats_is_in_more_doubt_in_bits_per_byte(plan):
    found = forecast(plan("7B", "2T", corpus="llama2_mix", tokenizer="llama2"), WEB).headline
    assert _ratio(found.bits_per_byte) > 1.05 * _ratio(found.loss_nats)
    in_other_tokens = forecast(plan("7B", "2T", corpus="llama2_mix", tokenizer="gpt2"), WEB).headline
    assert _ratio(in_other_tokens.loss_nats) > _ratio(found.loss_nats)
    assert _ratio(in_other_tokens.bits_per_byte) == pytest.approx(_ratio(in_other_tokens.loss_nats))


def test_a_known_tokenizer_is_enough_for_bits_per_byte(plan):
    """Of a text that nobody stated, or a new one, the model over tables takes plain text."""
    for stated in ({}, {"corpus": "our own"}):
        found = forecast(plan("1B", "20B", tokenizer="llama3", **stated), WEB).headline
        assert found.bytes_per_token.value == pytest.approx(4.61, rel=0.01)
        assert found.bits_per_byte is not None


def test_stated_bytes_per_token_win_and_are_not_in_doubt(plan):
    found = forecast(plan("1B", "20B", tokenizer="llama3", corpus="web", bytes_per_token=4.2), WEB).headline
    assert found.bytes_per_token == (4.2, 0.0)
    for level, ends in found.loss_nats.intervals.items():
        assert found.bits_per_byte.intervals[level] == pytest.approx([end / math.log(2) / 4.2 for end in ends])


def test_a_tokenizer_in_full_needs_no_catalogue(plan):
    tokenizer = {"vocab_size": "64k", "bytes_per_token": 4.4}
    assert forecast(plan("1B", "20B", tokenizer=tokenizer), WEB).headline.bytes_per_token == (4.4, 0.0)


def test_a_mix_that_nobody_published_is_in_more_doubt(plan):
    def doubt(corpus):
        return planned_bytes_per_token(plan("1B", "20B", tokenizer="llama2", corpus=corpus).data).log_sd

    assert doubt("llama2_mix") > doubt("llama1_mix")


@pytest.mark.parametrize("doubt", [0.0, 0.02, 0.07])
def test_doubt_of_bytes_per_token_widens_the_interval_and_keeps_the_median(doubt):
    loss = Quantity(2.0, {0.5: (1.95, 2.04), 0.9: (1.9, 2.1)})
    bits = bits_per_byte(loss, BytesPerToken(4.0, doubt))
    assert bits.median == pytest.approx(2.0 / math.log(2) / 4)
    for level, (low, high) in loss.intervals.items():
        factor = bits.intervals[level][1] / bits.intervals[level][0]
        assert factor == pytest.approx(high / low) if not doubt else factor > high / low


def test_each_domain_has_its_own_bytes_per_token(by_domain, plan):
    found = forecast(plan("1B", "20B", tokenizer="gpt2", corpus="dolma"), by_domain)
    ratios = {name: domain.bytes_per_token.value for name, domain in found.domains.items()}
    assert ratios == {"loss.c4_val": 4.47, "loss.dolma_stack": 2.2}
    assert found.to_dict()["domains"]["loss.c4_val"]["bytes_per_token"] == 4.47


@pytest.mark.parametrize(
    ("text", "main"),
    [
        (None, "loss.average"),
        ("dolma_stack", "loss.dolma_stack"),
        ("v3_small_dolma_stack", "loss.dolma_stack"),
        ("Dolma Stack", "loss.dolma_stack"),
        ("pile", "loss.average"),
        ("nothing of the kind", "loss.average"),
    ],
)
def test_what_a_plan_is_evaluated_on_is_the_headline(by_domain, plan, text, main):
    assert forecast(plan("1B", "20B", evaluated_on=text), by_domain).main == main
    if text is not None:
        assert forecast(plan("1B", "20B", val_domain=text), by_domain).main == main


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"corpus": "finewebb"}, "data.corpus: 'finewebb' is new to the catalogue; nearest: fineweb, fineweb_"),
        ({"tokenizer": "lama2"}, "data.tokenizer: 'lama2' is new to the catalogue; nearest: llama2"),
        (
            {"tokenizer": "lama2"},
            "state data.bytes_per_token, or data.tokenizer as {vocab_size: …, bytes",
        ),
        (
            {"tokenizer": "llama3", "corpus": "web", "bytes_per_token": 3.5},
            "data.bytes_per_token is 3.5, but data.tokenizer llama3 has about 4.61 of this text",
        ),
    ],
)
def test_warnings_say_what_to_state(plan, stated, said):
    assert any(said in text for text in forecast(plan("1B", "20B", **stated), WEB).warnings)


def test_runs_of_a_new_corpus_need_a_text_to_give_bits_per_byte(make_frame, plan):
    predictor = Predictor.fit(RunTable.from_frame(make_frame(20)), "chinchilla")
    warnings = forecast(plan("7e8", "20B", tokenizer="llama2", corpus="ours"), predictor).warnings
    assert any("state data.evaluated_on or data.corpus by a known name" in text for text in warnings)


def test_names_of_ones_own_runs_are_not_new(make_frame, plan):
    frame = make_frame(20).assign(tokenizer="bpe-4096-0a1b2c3d")
    predictor = Predictor.fit(RunTable.from_frame(frame), "chinchilla", about={"corpus": "ours"})
    stated = {"corpus": "ours", "tokenizer": "bpe-4096-0a1b2c3d", "bytes_per_token": 3.1}
    assert not any("new to" in text for text in forecast(plan("7e8", "20B", **stated), predictor).warnings)
