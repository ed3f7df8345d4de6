"""Counting tokens with our own tokenizers and with Hugging Face's `tokenizer.json`."""

import json

import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.tokens.counting import FileTokenCounter
from foretrain.datasets.tokens.tokenizer import ByteTokenizer, train_bpe

TEXTS = ["The quick brown fox jumps over the lazy dog. " * 20, "größer als nichts", ""]


@pytest.fixture
def hugging_face(tmp_path):
    """A tokenizer.json with 300 byte pairs, which would cut texts at 4 tokens and begin each with a special one."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet(), "show_progress": False}
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>"], **plain)
    engine.train_from_iterator(TEXTS, trainer)
    engine.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    engine.enable_truncation(4)
    engine.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json", engine


def test_bytes_are_counted(tmp_path):
    ByteTokenizer().save(tmp_path / "bytes.json")
    counter = FileTokenCounter(tmp_path / "bytes.json")
    assert (counter.name, counter.vocab_size) == ("bytes.json", 256)
    assert counter.count(TEXTS) == sum(len(text.encode()) for text in TEXTS)


def test_our_byte_pairs_are_counted(tmp_path):
    tokenizer = train_bpe(TEXTS, 280)
    tokenizer.save(tmp_path / "bpe.json")
    assert FileTokenCounter(tmp_path / "bpe.json").count(TEXTS) == sum(map(len, tokenizer.encode_batch(TEXTS)))


def test_a_tokenizer_json_is_counted_whole_and_without_special_tokens(hugging_face):
    path, engine = hugging_face
    engine.no_truncation()
    counter = FileTokenCounter(path)
    assert counter.count(TEXTS) == sum(len(engine.encode(text, add_special_tokens=False)) for text in TEXTS)
    assert counter.count(TEXTS) > 50
    assert counter.vocab_size == engine.get_vocab_size()


def test_many_texts_are_counted_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("foretrain.datasets.tokens.counting._CHARACTERS_AT_ONCE", 10)
    ByteTokenizer().save(tmp_path / "bytes.json")
    assert FileTokenCounter(tmp_path / "bytes.json").count(TEXTS) == sum(len(text.encode()) for text in TEXTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "isn't valid JSON"),
        ("[]", r"holds no tokenizer; expected a tokenizer\.json"),
        ("{}", r"holds no tokenizer; expected a tokenizer\.json"),
        (json.dumps({"model": {"type": "ours"}}), "holds no tokenizer that can be read"),
        (json.dumps({"format": 9}), "isn't a tokenizer of format 1"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CorpusError, match=message):
        FileTokenCounter(tmp_path / "tokenizer.json")
