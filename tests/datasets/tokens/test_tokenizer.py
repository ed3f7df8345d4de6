import json
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.tokens import tokenizer as module
from foretrain.datasets.tokens.tokenizer import (
    BpeTokenizer,
    ByteTokenizer,
    load_tokenizer,
    token_dtype,
    train_bpe,
)
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
WORDS = ["the", "then", "there", "naïve", "weiß", "=====", "don't", "  ", "\n\n", "def f(x):", "日本語", "42", "🙂"]
SAMPLE = [" ".join(np.random.default_rng(k).choice(WORDS, 60)) for k in range(200)]


@pytest.fixture(scope="module")
def bpe():
    return train_bpe(SAMPLE, 400)


@pytest.fixture(params=["bytes", "bpe"])
def tokenizer(request, bpe):
    return ByteTokenizer() if request.param == "bytes" else bpe


@settings(deadline=None, max_examples=200)
@given(texts=st.lists(TEXT, max_size=5))
def test_every_text_comes_back(bpe, texts):
    for tokenizer in (ByteTokenizer(), bpe):
        batch = tokenizer.encode_batch(texts)
        assert [tokenizer.decode(ids) for ids in batch] == texts
        for text, ids in zip(texts, batch, strict=True):
            np.testing.assert_array_equal(tokenizer.encode(text), ids)
            assert ids.dtype == tokenizer.dtype
            assert not (ids == tokenizer.end_of_document).any()
            assert (ids < tokenizer.vocab_size).all()


def test_byte_pairs_save_tokens(bpe):
    assert bpe.vocab_size <= 400
    text = " ".join(WORDS)
    assert len(bpe.encode(text)) < 0.5 * len(text.encode())


def test_the_end_of_a_document_decodes_to_what_no_text_holds(tokenizer):
    ids = np.concatenate([tokenizer.encode("a"), [tokenizer.end_of_document], tokenizer.encode("the")])
    assert tokenizer.decode(ids) == "a\0the"


def test_half_a_character_is_shown_as_such(tokenizer):
    assert tokenizer.decode(np.frombuffer("é".encode(), np.uint8)[:1]) == "\ufffd"


@pytest.mark.parametrize(("text", "fragment"), [("a\0b", "byte 1 is NUL"), ("ab\ud800", "character 2 is half")])
def test_what_would_not_come_back_is_refused(tokenizer, text, fragment):
    with pytest.raises(CorpusError, match=fragment):
        tokenizer.encode(text)


@pytest.mark.parametrize("wrong", [-1, 10**6])
def test_unknown_ids_are_refused(tokenizer, wrong):
    with pytest.raises(CorpusError, match=f"token id {wrong} isn't"):
        tokenizer.decode(np.array([65, wrong]))


def test_save_and_load_give_the_same_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "t.json")
    again = load_tokenizer(tmp_path / "t.json")
    assert type(again) is type(tokenizer)
    assert again.digest == tokenizer.digest
    assert again.vocab_size == tokenizer.vocab_size
    np.testing.assert_array_equal(again.encode(SAMPLE[0]), tokenizer.encode(SAMPLE[0]))


def test_equal_texts_give_equal_tokenizers_in_another_process(bpe):
    assert train_bpe(iter(SAMPLE), 400).digest == bpe.digest
    assert train_bpe(SAMPLE, 300).digest != bpe.digest
    code = (
        "import json, sys; from foretrain.datasets.tokens.tokenizer import train_bpe;"
        "assert 'tokenizers' not in sys.modules;"
        "sys.stdout.write(train_bpe(json.load(sys.stdin), 400).digest)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(SAMPLE), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (bpe.digest, "")


def test_the_environment_stays_as_it_was(monkeypatch):
    seen = []
    engine = train_bpe(SAMPLE[:5], 300)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    real = engine._engine

    class Spy:
        def encode_batch_fast(self, texts):
            seen.append(os.environ.get("TOKENIZERS_PARALLELISM"))
            return real.encode_batch_fast(texts)

    engine.__dict__["_engine"] = Spy()
    engine.encode("x")
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    engine.encode("x")
    assert seen == ["false", "true"]
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


@settings(deadline=None, max_examples=60)
@given(text=st.text(st.sampled_from("ab '\n\t\u2003é=1\x1c"), max_size=120))
def test_a_long_text_in_pieces_has_the_tokens_of_the_whole(bpe, text):
    whole = bpe.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_CHARACTERS", 30)
        pieces = list(module._pieces(text))
        assert "".join(pieces) == text
        ids = bpe.encode(text)
        cut_at_spaces = all(piece[0] in " \n" and not left[-1].isspace() for left, piece in pairwise(pieces))
        if cut_at_spaces:
            np.testing.assert_array_equal(ids, whole)
        assert bpe.decode(ids) == text


def test_training_says_what_it_needs():
    for size in (271, 65_537):
        with pytest.raises(CorpusError, match=f"vocab_size: got {size}; expected 272 to 65536"):
            train_bpe(SAMPLE, size)
    for texts in ([], [""]):
        with pytest.raises(CorpusError, match="no text to learn"):
            train_bpe(texts, 300)
    with pytest.raises(CorpusError, match="NUL"):
        train_bpe(["\0"], 300)


def test_a_little_text_gives_a_small_vocabulary():
    assert train_bpe(["ab ab ab"], 60_000).vocab_size < 270


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        "{}",
        '{"format": 2, "kind": "bytes"}',
        '{"format": 1, "kind": "words"}',
        '{"format": 1, "kind": "bpe"}',
        '{"format": 1, "kind": "bpe", "merges": {}}',
        '{"format": 1, "kind": "bpe", "merges": [[1]]}',
        '{"format": 1, "kind": "bpe", "merges": [[97, 98], [258, 97]]}',
        '{"format": 1, "kind": "bpe", "merges": [[97, 0]]}',
        '{"format": 1, "kind": "bpe", "merges": [[97, -1]]}',
        '{"format": 1, "kind": "bpe", "merges": [[97, 98.0]]}',
        '{"format": 1, "kind": "bpe", "merges": [[true, 98]]}',
        '{"format": 1, "kind": "bpe", "merges": [["a", "b"]]}',
        "x" * 4_000_001,
    ],
    ids=range(16),
)
def test_foreign_and_damaged_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(CorpusError, match=r"t\.json: "):
        load_tokenizer(tmp_path / "t.json")


def test_too_many_merges_are_refused():
    with pytest.raises(CorpusError, match="expected at most 65536"):
        BpeTokenizer([(1 + k // 255, 1 + k % 255) for k in range(65_025)] + [(k, k) for k in range(256, 800)])


def test_two_merges_may_spell_one_token():
    pairs = [(97, 98), (98, 99), (256, 99), (97, 257)]
    tokenizer = BpeTokenizer(pairs)
    assert tokenizer.vocab_size == 259
    assert tokenizer.decode(tokenizer.encode("abc abc")) == "abc abc"


@pytest.mark.parametrize(("size", "name"), [(2, "u1"), (256, "u1"), (257, "<u2"), (65_536, "<u2"), (65_537, "<u4")])
def test_ids_take_as_few_bytes_as_they_can(size, name):
    assert token_dtype(size) == np.dtype(name)
