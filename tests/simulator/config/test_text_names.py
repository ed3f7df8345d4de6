"""How a plan names its corpus, its tokenizer and what it is evaluated on: what is refused, and what columns hold."""

import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts.corpora import kinds_of
from foretrain.datasets.runs.columns import columns
from foretrain.simulator.config.run_config import RunConfig
from foretrain.simulator.config.text.scale import planned_bytes_per_token
from hypothesis import given
from hypothesis import strategies as st

BASE = {"model": {"params": "7B"}}


def read(*overrides, **data):
    return RunConfig.from_mapping({**BASE, "data": {"tokens": "2T", **data}}, overrides=overrides)


@pytest.mark.parametrize(
    ("data", "corpus", "tokenizer"),
    [
        ({}, None, None),
        ({"corpus": "fineweb", "tokenizer": "llama3"}, "fineweb", "llama3"),
        ({"corpus": "our own crawl", "tokenizer": "our own"}, "our own crawl", "our own"),
        ({"corpus": {"web": 0.8, "code": 0.15, "wikipedia": 0.05}}, "web:0.8+code:0.15+wikipedia:0.05", None),
        ({"corpus": {"web": 1.0}}, "web", None),
        ({"tokenizer": {"vocab_size": "64k", "bytes_per_token": 4.4}}, None, "64.0k tokens of 4.4 bytes"),
    ],
)
def test_names_compositions_and_tokenizers_in_full_are_read_and_written(data, corpus, tokenizer):
    run = read(**data)
    assert (columns()["corpus"].value_in(run), columns()["tokenizer"].value_in(run)) == (corpus, tokenizer)
    assert RunConfig.from_mapping(run.to_mapping()) == run


@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=5))
def test_shares_that_nearly_sum_to_1_are_made_to(weights):
    names = ["web", "code", "papers", "books", "dclm"][: len(weights)]
    shares = {name: round(weight / sum(weights), 3) for name, weight in zip(names, weights, strict=True)}
    run = read(corpus=shares)
    assert sum(run.data.corpus.values()) == pytest.approx(1, abs=1e-12)
    assert RunConfig.from_mapping(run.to_mapping()) == run
    as_column, as_stated = kinds_of(run.data.corpus_text), kinds_of(shares)
    assert as_column == pytest.approx(as_stated, abs=1e-5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"corpus": {"web": 0.8, "code": 0.15}}, r"data\.corpus: .*sums to 0\.95; expected shares that sum to 1"),
        ({"corpus": {"web": 0.82, "code": 0.2}}, r"sums to 1\.02"),
        ({"corpus": {"web": 0.5, "finewebb": 0.5}}, r"got the part 'finewebb', .*did you mean fineweb, "),
        ({"corpus": {"web": -0.5, "code": 1.5}}, r"data\.corpus\.web: got -0\.5; expected a number of at least 0"),
        ({"corpus": {"web": "much"}}, r"data\.corpus\.web: got 'much'; expected a plain number"),
        ({"corpus": {}}, r"got 0 parts; expected 1 to 100"),
        ({"corpus": ["web"]}, r"data\.corpus: got \['web'\]; expected text"),
        ({"corpus": ""}, r"data\.corpus: got ''; expected text that isn't empty"),
        ({"tokenizer": {"vocab_size": 32000}}, r"data\.tokenizer\.bytes_per_token: is missing"),
        ({"tokenizer": {"bytes_per_token": 4}}, r"data\.tokenizer\.vocab_size: is missing"),
        ({"tokenizer": {"vocab_size": 0, "bytes_per_token": 4}}, r"tokenizer\.vocab_size: got 0; expected a number of"),
        (
            {"tokenizer": {"vocab_size": 9, "bytes_per_token": 0}},
            r"tokenizer\.bytes_per_token: got 0; expected a",
        ),
        ({"tokenizer": {"vocab_size": 9, "bytes_per_token": 1, "name": "x"}}, r"data\.tokenizer\.name: unknown key"),
        ({"tokenizer": 7}, r"data\.tokenizer: got 7; expected text"),
        ({"evaluated_on": {"web": 1.0}}, r"data\.evaluated_on: got \{'web': 1\.0\}; expected text"),
        ({"evaluated_on": "pile", "val_domain": "c4"}, r"data\.val_domain: is the former name of evaluated_on"),
    ],
)
def test_what_is_wrong_is_said(data, message):
    with pytest.raises(ConfigError, match=message):
        read(**data)


def test_overrides_reach_into_compositions_and_tokenizers():
    run = read("data.corpus.code=0.3", "data.tokenizer.vocab_size=8k", corpus={"web": 0.7}, tokenizer=TOKENIZER)
    assert run.data.corpus == {"web": 0.7, "code": 0.3}
    assert run.data.tokenizer.vocab_size == 8000
    with pytest.raises(ConfigError, match=r"did you mean data\.tokenizer\.vocab_size\?"):
        read("data.tokenizer.vocab=8k", tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match=r"data\.corpus is 'c4' in the file; expected a section"):
        read("data.corpus.web=0.3", corpus="c4")


TOKENIZER = {"vocab_size": 32_000, "bytes_per_token": 4.0}


def test_the_former_name_of_evaluated_on_is_read_and_not_written():
    for run in (read(val_domain="c4"), read("data.val_domain=c4"), read(val_domain="c4", evaluated_on="c4")):
        assert (run.data.evaluated_on, run.data.val_domain) == ("c4", None)
        assert run == read(evaluated_on="c4")


@pytest.mark.parametrize(
    ("data", "known"),
    [
        ({"tokenizer": "llama3"}, False),
        ({"corpus": "fineweb"}, False),
        ({"corpus": "fineweb", "tokenizer": "our own"}, False),
        ({"corpus": "our own", "tokenizer": "llama3"}, False),
        ({"corpus": "our own", "tokenizer": "llama3", "evaluated_on": "c4_en"}, True),
        ({"corpus": "fineweb", "tokenizer": "llama3"}, True),
        ({"corpus": "our own", "tokenizer": TOKENIZER}, True),
        ({"corpus": "our own", "bytes_per_token": 4}, True),
    ],
)
def test_bytes_per_token_are_known_where_tokenizer_and_text_are(data, known):
    assert (planned_bytes_per_token(read(**data).data) is not None) == known
