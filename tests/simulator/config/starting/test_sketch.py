"""Plans of a few words: near the size asked for, the same as the file that is written of them, or refused in words."""

import math
import re

import foretrain
import pytest
from foretrain import RunConfig, sketch_plan
from foretrain.core.errors import ConfigError
from foretrain.core.reading.yaml_reader import loads_yaml
from foretrain.datasets.facts.models import models
from foretrain.simulator.config.starting.machines import read_machines
from hypothesis import example, given, settings
from hypothesis import strategies as st

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
SKETCHES = {
    "size": {"params": "7B"},
    "all three fields": {"params": "1.5B", "tokens": "30B", "on": "8 x A100"},
    "own price": {"params": 1.5e9, "tokens": 3.1e10, "on": "8×h200", "price": 2.5, "name": "mine: [x]"},
    "published price": {"model": "Llama 3 8B", "on": "64xH100", "price": "lambda-h100-2026"},
    "experts": {"model": "mixtral-8x7b", "tokens": "1T"},
    "latent attention": {"model": "deepseek-v3", "on": "2048xH800"},
    "gpt": {"model": "gpt-3", "tokens": "300B"},
    "config.json": {"hugging_face": LLAMA, "tokens": "2T"},
}


@settings(deadline=None, max_examples=100)
@given(st.floats(8, math.log10(4e11)))
@example(math.log10(1.5e9))
@example(math.log10(7e9))
def test_a_plan_has_the_size_that_was_asked_for(decades):
    config = sketch_plan(params=10**decades).config()
    assert abs(config.model.params_total / 10**decades - 1) < 0.03
    assert 19 < config.data.tokens / config.model.params_total < 21
    assert config.optim.batch_tokens % config.model.context_length == 0
    assert config.optim.batch_tokens <= config.data.tokens / 100


@pytest.mark.parametrize("words", SKETCHES.values(), ids=SKETCHES)
def test_the_file_is_the_same_plan(words):
    sketch = sketch_plan(**words)
    text = sketch.to_yaml()
    assert loads_yaml(text) == sketch.mapping
    assert RunConfig.from_mapping(loads_yaml(text)) == sketch.config()
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("words", SKETCHES.values(), ids=SKETCHES)
def test_what_a_file_offers_in_comments_can_be_put_in(words):
    text = sketch_plan(**words).to_yaml()
    offered = re.sub(r"^(\s*)# (?=[a-z_]+: [^,;]*(  #.*)?$|  [a-z_]+: |[a-z]+:$)", r"\1", text, flags=re.MULTILINE)
    config = RunConfig.from_mapping(loads_yaml(offered))
    assert (config.optim.schedule, config.targets.perplexity, config.data.corpus) == ("cosine", 8, "fineweb")
    assert config.usd_per_hour is not None


def test_named_models_are_their_published_shapes():
    for name, known in models().items():
        config = sketch_plan(model=name).config()
        assert config.model.architecture == known.shape
        assert config.data.tokenizer == known.tokenizer
        assert 0.98 < config.data.tokens / (20 * known.shape.params_active) < 1.02


def test_a_model_by_name_and_by_its_config_is_one():
    named, read = sketch_plan(model="llama-2-7b"), sketch_plan(hugging_face=LLAMA)
    assert named.mapping["model"] == read.mapping["model"]
    assert named.mapping["data"]["tokens"] == read.mapping["data"]["tokens"]


def test_what_was_said_is_not_assumed():
    assert sketch_plan(params="7B").assumed == ("model", "data.tokens", "optim.batch_tokens")
    assert sketch_plan(model="gpt-3", tokens="300B").assumed == ("optim.batch_tokens",)
    sketch = sketch_plan(model="gpt-3", tokens="300B")
    assert sketch.reasons["data.tokens"] == "1.72 per parameter; the published model saw 300B"


def test_a_plan_of_three_fields_has_times_and_with_a_price_costs():
    found = foretrain.estimate_cluster(sketch_plan(params="1B", on="64xH100", price="2").config())
    assert found.fits == "fits"
    assert found.cost_usd.median == pytest.approx(2 * found.gpu_hours.median, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "machines"),
    [
        ("512xH100", (512, "H100-SXM-80")),
        ("8 x H100", (8, "H100-SXM-80")),
        ("512×h100", (512, "H100-SXM-80")),
        (" 1k X mi300x ", (1000, "MI300X")),
        ("1,024*TPU v5p", (1024, "TPUv5p")),
        ("2x4090", (2, "RTX4090")),
    ],
)
def test_machines_are_read_however_they_are_written(text, machines):
    assert read_machines(text) == machines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "params, model, config.json: got none; expected exactly one"),
        ({"params": "7B", "model": "gpt-3"}, "got params and model; expected exactly one"),
        ({"params": math.nan}, "params: got nan"),
        ({"params": math.inf}, "params: got inf"),
        ({"params": "1e300"}, "params: got '1e300'"),
        ({"params": "-7B"}, "params: got '-7B'; expected a number that isn't negative"),
        ({"params": True}, "params: got True"),
        ({"params": ["7B"]}, "params: got ['7B']"),
        ({"params": "7"}, "params: got '7'; expected 1,000 to 1e+18, such as 7B"),
        ({"params": "2M"}, "params: got 2e+06; expected from 8.38e+06"),
        ({"params": "7B", "tokens": "0"}, "tokens: got '0'"),
        ({"params": "7B", "tokens": -1.0}, "tokens: got -1.0"),
        ({"model": "lama-3-8b"}, "model: got 'lama-3-8b', which isn't in the catalogue; did you mean llama-3-8b"),
        ({"hugging_face": {"model_type": "bert"}}, "config.json: model_type: got 'bert'"),
        ({"hugging_face": [1]}, "config.json: got [1]; expected a mapping"),
        ({"params": "7B", "on": "8xH1000"}, "on: got 'H1000', which isn't in the catalogue; did you mean H100-SXM-80"),
        (
            {"params": "7B", "on": "H100"},
            "on: got 'H100'; expected a number of accelerators and their name, such as 8xH100",
        ),
        ({"params": "7B", "on": "8x"}, "on: got '8x'; expected a number of accelerators and their name"),
        ({"params": "7B", "on": "1e99xH100"}, "on: got '1e99xH100'; expected 1 to 10,000,000 accelerators"),
        ({"params": "7B", "on": "nanxH100"}, "on: got 'nanxH100'; expected 1 to"),
        ({"params": "7B", "on": 8}, "on: got 8; expected a number of accelerators and their name"),
        ({"params": "7B", "on": "x" * 10_000}, "on: got 'xxx"),
        ({"params": "7B", "price": 2}, "price: got 2 without accelerators"),
        ({"params": "7B", "on": "8xH100", "price": "cheap"}, "price: got 'cheap', which isn't in the catalogue"),
        ({"params": "7B", "on": "8xH100", "price": math.nan}, "hardware.price_usd_per_hour: got nan"),
        ({"params": "7B", "on": "8xH100", "price": -1}, "hardware.price_usd_per_hour: got -1"),
        ({"params": "7B", "on": "8xA100", "price": "lambda-h100-2026"}, "which is of H100-SXM-80"),
        ({"params": "7B", "name": "two\nlines"}, "name: got"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_makes_no_plan_is_refused_in_words(words, message):
    with pytest.raises(ConfigError) as refused:
        sketch_plan(**words).config()
    assert message in str(refused.value)
    assert len(str(refused.value)) < 600
