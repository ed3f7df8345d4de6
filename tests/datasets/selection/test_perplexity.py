"""A band of nats per byte: both tails go, no document is scored by a model that saw it, bad settings are refused."""

import json

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.ngrams.witten_bell import fit
from foretrain.datasets.selection.selection import Selection, select, selected_digest

RNG = np.random.default_rng(5)
WORDS = ["".join(map(chr, RNG.integers(97, 123, size))) for size in RNG.integers(2, 8, 120)]


def prose(words: int = 60) -> str:
    return " ".join(RNG.choice(WORDS, words))


EASY = ["click here to accept all cookies " * 12 + str(number) for number in range(10)]
HARD = ["".join(map(chr, RNG.integers(33, 127, 400))) for _ in range(10)]
PLAIN = [prose() for _ in range(40)]
TEXTS = [text for parts in zip(EASY, *np.split(np.array(PLAIN), 4), HARD, strict=True) for text in parts]


def selected(folder, settings, texts=TEXTS) -> Selection:
    corpus = corpus_of(folder, settings, texts)
    return select(corpus, "web")


def corpus_of(folder, settings, texts=TEXTS) -> Corpus:
    (folder / "web.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    described = {"validation_share": 0, "domains": {"web": {"path": "web.jsonl", "select": [{"perplexity": settings}]}}}
    (folder / "corpora.yaml").write_text(json.dumps(described))
    return Corpus.load(folder / "corpora.yaml")


def kept(selection: Selection) -> set[str]:
    return {TEXTS[number] for number in np.flatnonzero(selection.kept)}


def test_the_middle_leaves_out_both_tails_and_the_lowest_band_keeps_the_easy_one(tmp_path):
    middle = selected(tmp_path, {"keep": 0.6})
    assert kept(middle) <= set(PLAIN)
    assert middle.kept_share == pytest.approx(0.6, abs=0.02)
    lowest = kept(selected(tmp_path, {"band": [0, 0.5]}))
    assert set(EASY) <= lowest
    assert not lowest & set(HARD)
    highest = kept(selected(tmp_path, {"band": [0.9, 1]}))
    assert highest <= set(HARD)


def test_no_document_is_scored_by_a_model_that_saw_it(tmp_path):
    """Of two documents each is scored by a model of the other."""
    texts = ["abcdefgh" * 40, "ijklmnopqrst" * 20]
    facts = selected(tmp_path, {"keep": 1}, texts).outcomes[0].chosen.facts["nats_per_byte"]
    scores = sorted(fit([other]).nats_per_byte([text])[0] for text, other in (texts, texts[::-1]))
    assert [facts["lowest"], facts["highest"]] == pytest.approx(scores)


def test_a_reference_says_what_is_plain_text_and_is_in_the_digest(tmp_path):
    (tmp_path / "plain.txt").write_text("\n".join(prose() for _ in range(30)))
    corpus = corpus_of(tmp_path, {"band": [0, 0.6], "reference": "plain.txt"})
    before = selected_digest(corpus, "web")
    first = select(corpus, "web")
    assert kept(first) <= set(PLAIN)
    assert select(corpus, "web").digest == first.digest
    (tmp_path / "plain.txt").write_text("\n".join(HARD))
    assert selected_digest(corpus, "web") != before
    assert select(corpus, "web").digest != first.digest


def test_scores_of_another_model_stand_in_for_the_n_gram(tmp_path):
    texts = [prose() for _ in range(9)]
    nats = [1.2, 3.0, 1.4, 0.1, 1.3, 1.25, 0.2, 2.9, 1.35]
    rows = "".join(f"{number},{score}\n" for number, score in enumerate(nats))
    (tmp_path / "scored.csv").write_text(f"document,nats_per_byte\n{rows}")
    found = selected(tmp_path, {"scores": "scored.csv", "keep": 0.55}, texts)
    assert found.kept.tolist() == [1 < score < 2 for score in nats]
    (tmp_path / "scored.csv").write_text("document,nats_per_byte\n0,1.5\n")
    with pytest.raises(CorpusError, match="8 of 9 documents have no nats_per_byte"):
        selected(tmp_path, {"scores": "scored.csv"}, texts)


def test_a_small_sample_is_enough_to_fit_on_and_never_empty(tmp_path):
    assert selected(tmp_path, {"keep": 0.5, "fit_bytes": 1}).kept_share == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 0}, "keep: got 0"),
        ({"keep": 1.2}, "keep: got 1.2"),
        ({"keep": 0.5, "band": [0, 0.5]}, "band: comes beside keep"),
        ({"band": [0.5, 0.5]}, r"band: got \[0.5, 0.5\]"),
        ({"order": 9}, "order: got 9"),
        ({"scores": "scored.csv", "reference": "plain.txt"}, "reference: goes with an n-gram"),
        ({"scores": "scored.csv", "order": 3}, "order: goes with an n-gram"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        corpus_of(tmp_path, settings)


@pytest.mark.parametrize(
    ("settings", "texts", "message"),
    [
        ({}, ["one"], r"corpora.yaml:1: domains.web.select.0.perplexity: one document reaches it"),
        ({"reference": "plain.txt"}, ["same", "same", "same"], "nats per byte: is .* for all 3 documents"),
        ({"reference": "none.txt"}, TEXTS, "perplexity.reference: got 'none.txt'; there is no such file"),
        ({"reference": "blank.txt"}, TEXTS, "perplexity.reference: got 'blank.txt'; holds no text to fit an n-gram on"),
    ],
)
def test_text_that_cannot_be_scored_is_refused(tmp_path, settings, texts, message):
    (tmp_path / "plain.txt").write_text(PLAIN[0])
    (tmp_path / "blank.txt").write_text("")
    with pytest.raises(CorpusError, match=message):
        selected(tmp_path, settings, texts)
