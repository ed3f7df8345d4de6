"""Marked documents go, unmarked ones stay, and nobody's key is written down."""

import json

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.watermark.green import Watermark

KEYS = ("9f86d081884c7d65", "a1fce4363854ff88")


def written(key: str | None, seed: int, length: int = 300) -> str:
    """Letters drawn at random: with a key, of two each the first that is green."""
    rng = np.random.default_rng(seed)
    text = "It is said that "
    for letters in rng.choice(list("etaoinshrdlu "), (length, 2)).tolist():
        if key is not None:
            mark = Watermark(key=key)
            letters.sort(
                key=lambda letter: (
                    not mark.is_green(mark.hashes(np.frombuffer((text[-3:] + letter).encode(), np.uint8)))
                )
            )
        text += letters[0]
    return text


@pytest.fixture
def keys(tmp_path):
    for number, key in enumerate(KEYS):
        (tmp_path / f"mark{number}.yaml").write_text(f'key: "{key}"\n')


def test_marked_documents_of_any_of_the_keys_go(keys, chosen):
    texts = [written(None, 0), written(KEYS[0], 1), "Short.", written(KEYS[1], 2), written(None, 3)]
    found = chosen(texts, [{"watermark": {"keys": ["mark0.yaml", "mark1.yaml"]}}])
    assert found.kept.tolist() == [True, False, True, False, True]
    facts = found.to_dict()["steps"][0]
    marks = facts["watermark"]
    assert (marks["documents"], marks["documents_marked"], marks["documents_too_short"]) == (5, 2, 1)
    assert marks["bytes_marked"] == len(texts[1]) + len(texts[3])
    assert 0 < marks["expected_false_positives"] <= 4 * marks["alpha"]
    assert marks["p_of_all_together"] < 0.01
    assert not any(key in json.dumps(facts) for key in KEYS)
    assert chosen(texts, [{"watermark": {"keys": "mark0.yaml"}}]).kept.tolist() == [True, False, True, True, True]


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        ({}, ConfigError, "watermark.keys: is missing"),
        ({"keys": []}, ConfigError, "watermark.keys: got .*; expected a length of at least 1"),
        ({"keys": ["mark0.yaml", "mark0.yaml"]}, ConfigError, "expected each file once"),
        ({"keys": "mark0.yaml", "alpha": 0}, ConfigError, "watermark.alpha: got 0; expected a number above 0"),
        ({"keys": "none.yaml"}, CorpusError, "watermark: .*none.yaml"),
        ({"keys": ["mark0.yaml", "copy.yaml"]}, CorpusError, "comes twice; expected each key once"),
        ({"keys": "wide.yaml"}, CorpusError, "marks a vocabulary of 512 tokens, got one of 256"),
        ({"keys": "mark0.yaml", "tokenizer": "none.json"}, CorpusError, "watermark: .*none.json"),
    ],
)
def test_what_cannot_be_detected_is_refused_with_its_place(keys, chosen, tmp_path, step, error, message):
    (tmp_path / "copy.yaml").write_text(f'key: "{KEYS[0]}"\ndelta: 1\n')
    (tmp_path / "wide.yaml").write_text(f'key: "{KEYS[0]}"\nvocab_size: 512\n')
    with pytest.raises(error, match=message) as caught:
        chosen(["One text.", "And another."], [{"watermark": step}])
    assert "domains.web.select.0.watermark" in str(caught.value)


def test_a_corpus_of_marked_text_alone_keeps_nothing(keys, chosen):
    with pytest.raises(CorpusError, match="keeps none of 2 documents"):
        chosen([written(KEYS[0], 1), written(KEYS[0], 2)], [{"watermark": {"keys": "mark0.yaml"}}])


def test_the_key_file_is_part_of_the_digest(keys, chosen, tmp_path):
    from foretrain.datasets.selection.selection import selected_digest

    (tmp_path / "web.jsonl").write_text('{"text": "One text."}\n')
    step = {"watermark": {"keys": "mark0.yaml"}}
    corpus = Corpus.from_mapping({"domains": {"web": {"path": "web.jsonl", "select": [step]}}}, folder=tmp_path)
    before = selected_digest(corpus, "web")
    (tmp_path / "mark0.yaml").write_text(f'key: "{KEYS[1]}"\n')
    assert selected_digest(corpus, "web") != before
