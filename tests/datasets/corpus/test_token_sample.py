import hashlib
import random

import pytest
from foretrain.datasets.corpus import token_sample
from foretrain.datasets.corpus.token_sample import TokenSample


class Words:
    """Counts words."""

    name, vocab_size = "words", 1000

    def count(self, texts):
        return sum(len(text.split()) for text in texts)


def sampled(texts):
    sample = TokenSample()
    for text in texts:
        sample.add(text, hashlib.sha256(text.encode()).digest())
    return sample.bytes_per_token(Words())


def test_all_is_counted_where_it_fits():
    assert sampled(["äb cd", "e"]) == (6 + 1) / 3


def test_a_sample_is_fair_bounded_and_the_same_in_any_order(monkeypatch):
    monkeypatch.setattr(token_sample, "_SAMPLE_CHARACTERS", 20_000)
    texts = [f"{'a' * (1 + n % 7)} {n:06d}" for n in range(20_000)]
    found = sampled(texts)
    assert found == pytest.approx(sum(map(len, texts)) / len(texts) / 2, rel=0.02)
    random.Random(1).shuffle(texts)
    assert sampled(texts) == found
    sample = TokenSample()
    for text in texts:
        sample.add(text, hashlib.sha256(text.encode()).digest())
    assert sum(len(text) for _, text in sample._held) < 20_100


def test_long_documents_are_cut(monkeypatch):
    monkeypatch.setattr(token_sample, "_DOCUMENT_CHARACTERS", 10)
    assert sampled(["abcd efgh " + "x" * 100]) == 5.0
