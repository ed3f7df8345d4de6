import csv
import math
import os
from pathlib import Path

import pytest
from foretrain.datasets.facts import tokenizers as catalogue
from foretrain.datasets.facts.catalogue import folded
from foretrain.datasets.facts.corpora import KINDS, kinds_of
from foretrain.datasets.facts.tokenizers import bytes_per_token, find_tokenizer, nearest_tokenizers, tokenizers
from hypothesis import given
from hypothesis import strategies as st

SHARED = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).parents[4] / "shared")) / "data"
COUNTS = SHARED / "tokenizers" / "bytes_per_token.csv"
COUNTED = [tokenizer for tokenizer in tokenizers().values() if tokenizer.name != "bytes"]
EVERY = pytest.mark.parametrize("tokenizer", COUNTED, ids=lambda tokenizer: tokenizer.name)


@EVERY
def test_every_tokenizer_knows_every_kind_and_says_where_that_is_from(tokenizer):
    assert set(tokenizer.bytes_per_token) == set(KINDS)
    assert all(2 < value < 5 for value in tokenizer.bytes_per_token.values())
    assert tokenizer.log_sd >= (0.02 if tokenizer.evidence == "computed" else 0.03)
    assert tokenizer.sources
    assert set(tokenizer.sources) <= set(catalogue.sources())
    assert tokenizer.evidence == "computed" or tokenizer.notes


def test_bytes_are_exact_whatever_the_text():
    assert bytes_per_token(tokenizers()["bytes"], {"web": 0.5, "code": 0.5}) == (1.0, 0.0)


def test_no_name_means_two_tokenizers():
    seen = {}
    for tokenizer in tokenizers().values():
        for spelling in {folded(name) for name in (tokenizer.name, *tokenizer.aliases)}:
            assert seen.setdefault(spelling, tokenizer.name) == tokenizer.name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("GPT-2, 50k", "gpt2"), ("nanochat 32k BPE", "nanochat_32k"), ("gpt_neox", "neox20b"), ("Llama 3", "llama3")],
)
def test_tokenizers_are_found_by_other_names(spelling, name):
    assert find_tokenizer(spelling).name == name


def test_a_name_one_letter_off_is_suggested():
    assert find_tokenizer("lama2") is None
    assert nearest_tokenizers("lama2")[0] == "llama2"


@EVERY
@given(shares=st.dictionaries(st.sampled_from([*KINDS]), st.floats(0.01, 1), min_size=1))
def test_a_mix_lies_between_its_kinds_and_is_in_doubt(tokenizer, shares):
    value, log_sd = bytes_per_token(tokenizer, shares)
    of_kinds = [tokenizer.bytes_per_token[kind] for kind in shares]
    assert min(of_kinds) * (1 - 1e-9) <= value <= max(of_kinds) * (1 + 1e-9)
    assert 0.02 <= log_sd < 0.2
    assert bytes_per_token(tokenizer, shares, guessed_shares=True)[1] >= log_sd


@pytest.mark.parametrize(
    ("tokenizer", "corpus", "published", "tolerance"),
    [
        ("gpt2", "pile", 3.41, 0.03),  # Gao et al. 2020: 0.29335 tokens per byte
        ("neox20b", "pile", 3.73, 0.04),  # by two losses of the same models, in nats per token and in bits per byte
        ("llama3", "c4", 4.7, 0.03),  # by Marin's loss and bits per byte of one run
        ("llama2", "llama2_mix", 3.63, 0.05),  # between two readings, 3.5 and 3.75
        ("massivetext_32k", "massivetext", 4.1, 0.1),  # Rae et al. 2021: bytes and tokens of its web, books and news
    ],
)
def test_mixes_come_out_as_published(tokenizer, corpus, published, tolerance):
    value, log_sd = bytes_per_token(tokenizers()[tokenizer], kinds_of(corpus))
    assert value == pytest.approx(published, rel=tolerance)
    assert abs(math.log(value / published)) < 2.5 * log_sd


@pytest.mark.skipif(not COUNTS.is_file(), reason="the shared counts are not here")
def test_figures_follow_from_the_counts():
    counted = {}
    with COUNTS.open(newline="") as file:
        for row in csv.DictReader(file):
            counted.setdefault(row["tokenizer"], {})[row["text"]] = float(row["bytes_per_token"])
            assert find_tokenizer(row["tokenizer"]).vocab_size == int(row["vocab_size"])
    for name, texts in counted.items():
        by_kind = tokenizers()[name].bytes_per_token
        news, wikipedia = texts["news_en"], texts["wikipedia_en"]
        expected = {"news": news, "wikipedia": wikipedia, "web": 0.7 * news + 0.3 * wikipedia}
        expected["code"] = (texts["code_python"] + texts["code_cpp"]) / 2
        expected["multilingual"] = sum(texts[f"wikipedia_{language}"] for language in ("de", "fr", "es")) / 3
        assert {kind: by_kind[kind] for kind in expected} == pytest.approx(expected, rel=0.005)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tables are not here")
def test_every_tokenizer_of_the_shared_tables_is_known():
    found = set()
    for path in sorted(SHARED.rglob("*.csv")):
        with path.open(newline="") as file:
            found |= {row["tokenizer"] for row in csv.DictReader(file) if row.get("tokenizer")}
    assert [name for name in sorted(found) if find_tokenizer(name) is None] == []
