"""The right bandwidth leaves copies out, a wrong one does nothing, and the right one is found."""

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus

RNG = np.random.default_rng(0)
TOPIC = [f"t{number}" for number in range(300)]
COMMON = [f"c{number}" for number in range(300)]


def document(words):
    return " ".join(RNG.choice(words, 80))


# a common topic, a rare one, and 60 near-copies of one document
PAGES = [*(document(COMMON) for _ in range(300)), *(document(TOPIC) for _ in range(40))]
PARTS = PAGES[5].split()
COPIES = [" ".join(["new" if place == at else part for place, part in enumerate(PARTS)]) for at in range(60)]


def copies_kept(found):
    return found.kept[340:].mean() / found.kept[:340].mean()


def test_copies_go_at_the_bandwidth_that_is_found_and_stay_at_a_wrong_one(chosen):
    texts = [*PAGES, *COPIES]
    found = chosen(texts, ["density"])
    facts = found.to_dict()["steps"][0]
    assert found.kept_share == pytest.approx(0.5, abs=0.01)
    assert copies_kept(found) < 0.15
    assert 0.05 < facts["bandwidth"] < 0.5
    assert facts["made_copies_kept_relative"] < 0.7
    assert chosen(texts, ["density"]).digest == found.digest
    wide = chosen(texts, [{"density": {"bandwidth": 2}}])
    assert copies_kept(wide) > 0.7
    other = chosen(texts, [{"density": {"seed": 1}}])
    assert not np.array_equal(other.kept, found.kept)
    assert copies_kept(other) < 0.15


def test_a_bandwidth_is_found_for_vectors_from_a_file(chosen, tmp_path):
    rng = np.random.default_rng(1)
    plain = rng.standard_normal((120, 8))
    np.save(tmp_path / "v.npy", np.concatenate([plain, plain[:1] + 0.02 * rng.standard_normal((30, 8))]))
    found = chosen([f"page {number}" for number in range(150)], [{"density": {"embeddings": "v.npy"}}])
    assert found.kept[120:].mean() < 0.3 * found.kept[:120].mean()


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_few_documents(chosen, count):
    found = chosen(PAGES[:count], [{"density": {"keep": 1}}])
    assert found.kept.all()
    assert chosen(PAGES[:count], [{"density": {"keep": 0.01}}]).kept.sum() == 1


@pytest.mark.parametrize("bandwidth", [-1, 0, "wide", True, float("nan"), 11])
def test_a_bandwidth_that_is_none(bandwidth):
    density = {"density": {"bandwidth": bandwidth}}
    with pytest.raises(
        ConfigError, match=r"select.0.density.bandwidth: got .*; expected auto, or a number above 0 and"
    ):
        Corpus.from_mapping({"domains": {"web": {"path": "web.jsonl", "select": [density]}}})


def test_documents_that_are_all_alike_have_no_density(chosen):
    with pytest.raises(
        CorpusError, match=r"0\.density: embeddings: the vectors of all 20 documents are equal; expected"
    ):
        chosen([PAGES[0]] * 20, ["density"])


@pytest.mark.parametrize("step", ["density", {"strata": {"clusters": 2}}, {"dedup": {"kind": "semantic"}}])
def test_text_without_words_has_no_vectors(chosen, step):
    with pytest.raises(CorpusError, match=r"select\.0\.\w+: embeddings: no document holds a word of two letters"):
        chosen(["!", "? ?", "a"], [step])
