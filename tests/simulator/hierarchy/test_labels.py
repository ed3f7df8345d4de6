"""Names of corpora, tokenizers and evaluation sets as the model over tables reads them."""

import math

import pytest
from foretrain.datasets.facts.corpora import corpora, evaluation_sets
from foretrain.datasets.facts.tokenizers import tokenizers
from foretrain.simulator.hierarchy.labels import UNKNOWN, describe


def test_nothing_stated():
    labels = describe()
    assert (labels.source, labels.corpus, labels.evaluated_on, labels.tokenizer) == ("", {"": 1.0}, "", "")
    assert labels.kinds == {"web": 1.0}
    assert labels.bytes_log_sd == pytest.approx(0.1)
    assert labels.offset == pytest.approx(math.log(math.log(2) * labels.bytes_per_token))


def test_aliases_are_one_name():
    one, other = describe("FineWeb-Edu", "GPT-NeoX", "C4"), describe("fineweb_edu", "neox20b", "c4_en")
    assert one == other
    assert (one.corpus, one.tokenizer, one.evaluated_on) == ({"fineweb_edu": 1.0}, "neox20b", "c4_en")


def test_a_new_corpus_stands_for_itself():
    labels = describe(" Our Crawl ")
    assert labels.corpus == {"our crawl": 1.0}
    assert labels.evaluated_on == "training:our crawl:1"
    assert describe("our crawl") == labels


@pytest.mark.parametrize("stated", [None, "training", "train loss", "own_mix"])
def test_by_default_the_loss_is_that_of_the_training_mix(stated):
    labels = describe("llama2_mix", "llama2", stated)
    if stated == "own_mix":  # no name of the catalogue: a text of its own
        assert labels.evaluated_on == "own_mix"
    else:
        assert labels.evaluated_on == "training:llama2_mix:1"


def test_a_held_out_part_is_the_corpus_itself():
    assert describe("c4").evaluated_on == "c4_en"
    assert describe("c4").kinds == describe("c4", evaluated_on="c4_en").kinds


def test_compositions():
    labels = describe({"web": 8, "starcoder": 1, "StarCoder": 1})
    assert labels.corpus == {"web": 0.8, "starcoder": 0.2}
    assert sum(labels.kinds.values()) == pytest.approx(1)
    assert labels.kinds["code"] == pytest.approx(0.2 * 0.96)
    assert labels.evaluated_on == "training:starcoder:0.2+web:0.8"
    assert describe({"starcoder": 0.2, "web": 0.8}).key == labels.key


def test_counted_bytes_are_hardly_in_doubt():
    stated = describe("fineweb", "llama3", bytes_per_token_stated=4.1)
    assert (stated.bytes_per_token, stated.bytes_log_sd) == (4.1, pytest.approx(0.01))
    counted = describe("pile", "neox20b", "pile_test")
    assert counted.bytes_per_token == evaluation_sets()["pile_test"].bytes_per_token["neox20b"]
    assert counted.bytes_log_sd == pytest.approx(0.01)


def test_an_unknown_tokenizer_is_in_more_doubt_than_a_known_one():
    unknown = describe("fineweb", "tok-of-ours")
    assert unknown.tokenizer == "tok-of-ours"
    for name in tokenizers():
        assert describe("fineweb", name).bytes_log_sd < unknown.bytes_log_sd


def test_code_has_fewer_bytes_per_token_than_prose():
    assert describe("starcoder", "llama2").bytes_per_token < describe("fineweb", "llama2").bytes_per_token


def test_an_author_is_part_of_the_family():
    labels = describe("c4", "gpt2")
    assert labels.source == UNKNOWN
    assert labels.of_source("ann").key != labels.key
    assert labels.of_source("ann") == describe("c4", "gpt2", source="ann")


def test_every_name_of_the_catalogue_has_labels():
    for corpus in corpora():
        labels = describe(corpus)
        assert labels.corpus == {corpus: 1.0}
        assert sum(labels.kinds.values()) == pytest.approx(1)
    for name, text in evaluation_sets().items():
        if not text.own_mix:  # what has the same losses per byte goes by one name
            assert describe("c4", evaluated_on=name).evaluated_on == (text.same_text_as or name)
