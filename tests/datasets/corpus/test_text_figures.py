import hashlib
import math

import numpy as np
import pytest
from foretrain.datasets.corpus import text_figures
from foretrain.datasets.corpus.text_figures import FigureCounter, TextFigures
from hypothesis import given, settings
from hypothesis import strategies as st


def figures(*texts: str) -> TextFigures:
    counter = FigureCounter()
    for text in texts:
        counter.add(text, hashlib.sha256(text.encode()).digest())
    return counter.figures()


def test_shares_of_characters():
    found = figures("äб中 1٣\n.$\x00\ufffd\ue000e\u0301")
    assert found.letters_share == 5 / 14  # the accent too
    assert found.digits_share == 2 / 14
    assert found.whitespace_share == 2 / 14
    assert found.punctuation_share == 2 / 14
    assert (found.control_share, found.replacement_share) == (1 / 14, 1 / 14)


def test_lines():
    found = figures("one\n\n  one \ntwo\n", "one\nthree")
    assert found.line_characters_mean == (3 + 3 + 3 + 3 + 5) / 5
    assert found.repeated_lines_share == 1 / 5  # within a document only


def test_entropy_and_compression():
    assert figures("a" * 100_000).byte_entropy_bits == 0
    assert figures("ab" * 1000).byte_entropy_bits == 1
    assert figures("a" * 16_384).compression_ratio > 100
    noise = "".join(map(chr, np.random.default_rng(0).integers(33, 127, 16_384)))
    assert 1 < figures(noise).compression_ratio < 1.3
    assert figures(noise).byte_entropy_bits == pytest.approx(math.log2(94), abs=0.01)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40))
def test_median_length_is_right_within_half_a_percent(lengths):
    exact = sorted(lengths)[(len(lengths) - 1) // 2]
    found = figures(*("x" * length for length in lengths))
    assert found.document_characters_median == pytest.approx(exact, rel=0.0051)
    assert found.document_characters_mean == pytest.approx(np.mean(lengths))


@settings(deadline=None)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), min_size=1))
def test_shares_add_up_and_order_does_not_matter(texts):
    found = figures(*texts)
    assert math.isclose(sum(v for k, v in _shares(found) if k != "repeated_lines_share"), 1)
    assert all(0 <= value <= 1 for _, value in _shares(found))
    assert 0 <= found.byte_entropy_bits <= 8
    assert figures(*reversed(texts)) == found


def _shares(found: TextFigures) -> list[tuple[str, float]]:
    return [(name, getattr(found, name)) for name in TextFigures.__slots__ if name.endswith("_share")]


def test_the_sample_is_bounded_and_does_not_depend_on_order(monkeypatch):
    monkeypatch.setattr(text_figures, "_SAMPLE_DOCUMENTS", 10)
    texts = [f"{n} " * (n % 50 + 1) for n in range(500)]
    assert figures(*texts) == figures(*reversed(texts))


def test_large_documents_are_taken_in_pieces(monkeypatch):
    whole = figures("ab 1\n" * 1000)
    monkeypatch.setattr(text_figures, "_FLUSH_CHARACTERS", 7)
    monkeypatch.setattr(text_figures, "_PIECE_CHARACTERS", 500)
    pieces = figures("ab 1\n" * 1000)
    assert pieces.letters_share == whole.letters_share
    assert pieces.line_characters_mean == whole.line_characters_mean
    assert pieces.repeated_lines_share == 1 - 10 / 1000
