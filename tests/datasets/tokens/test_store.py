import json
import os

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, CorpusError, UsageError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.shards import ShardWriter, map_shard
from foretrain.datasets.tokens.store import INDEX_NAME, TokenStore, Windows
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture
def folder(tmp_path):
    """A store of two domains: text, and a synthetic source."""
    lines = [json.dumps({"text": f"Document {k}: " + "naïve words " * 20}) for k in range(200)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    domains = {
        "a": {"path": "a.jsonl", "unique_tokens": "3B", "max_epochs": 2},
        "z": {"synthetic": {"kind": "zipf", "vocab_size": 300, "tokens": 5000}},
    }
    prepare(Corpus.from_mapping({"name": "mine", "domains": domains}, folder=tmp_path), tmp_path / "store")
    return tmp_path / "store"


def shard_of(folder, domain, split):
    index = json.loads((folder / INDEX_NAME).read_text())
    return folder / index["domains"][domain][split]["shards"][0]["file"]


def test_a_store_says_what_is_in_it(folder):
    store = TokenStore.open(folder)
    assert store.domains == ("a", "z")
    assert store.vocab_size == 300
    assert store.tokenizer is not None
    assert store.tokenizer.kind == "bytes"
    train, valid = (store.index.domains["a"].train, store.index.domains["a"].valid)
    assert train.documents + valid.documents == 200
    assert store.count("a", "train") == train.text_bytes + train.documents
    assert store.bytes_per_token("a") == valid.text_bytes / (valid.text_bytes + valid.documents)
    assert (store.index.domains["a"].unique_tokens, store.index.domains["a"].max_epochs) == (3e9, 2)
    assert store.entropy_nats("a") is None
    assert store.bytes_per_token("z") is None
    assert 0 < store.entropy_nats("z") < np.log(300)
    assert store.count("z", "train") == 5000
    store.verify()
    for domain, split in (("b", "train"), ("z", "test")):
        with pytest.raises((CorpusError, UsageError), match=r"the domains are a, z|expected train or valid"):
            store.count(domain, split)


def test_windows_read_the_packed_text(folder):
    store = TokenStore.open(folder)
    windows = store.windows("a", "valid", 16)
    rows = windows.gather(np.arange(len(windows)))
    assert rows.dtype == np.int64
    np.testing.assert_array_equal(rows[1:, 0], rows[:-1, -1])
    text = store.tokenizer.decode(np.r_[rows[:, :-1].ravel(), rows[-1, -1]])
    documents = text.split("\0")
    assert len(documents) > 5
    for document in documents[:-1]:
        assert document.startswith("Document ")
        assert document.endswith("naïve words ")


def test_the_digest_stands_for_the_tokens(folder):
    before = TokenStore.open(folder).digest
    index = json.loads((folder / INDEX_NAME).read_text())
    index["domains"]["a"]["max_epochs"] = 5
    (folder / INDEX_NAME).write_text(json.dumps(index))
    assert TokenStore.open(folder).digest == before
    index["domains"]["a"]["train"]["shards"][0]["sha256"] = "0" * 64
    (folder / INDEX_NAME).write_text(json.dumps(index))
    assert TokenStore.open(folder).digest != before


def test_a_shard_cut_short_is_refused_on_opening(folder):
    path = shard_of(folder, "a", "train")
    os.truncate(path, path.stat().st_size - 2)
    with pytest.raises(CorpusError, match=rf"{path.name}: is damaged: it has \d+ bytes, not \d+; prepare"):
        TokenStore.open(folder)
    path.unlink()
    with pytest.raises(CorpusError, match=rf"{path.name}: can't be read: No such file"):
        TokenStore.open(folder)


def test_changed_content_is_found_by_verify(folder):
    path = shard_of(folder, "z", "valid")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=rf"{path.name}: is damaged: its SHA-256"):
        TokenStore.open(folder).verify()


def test_ids_outside_the_vocabulary_are_found_by_verify(folder):
    index = json.loads((folder / INDEX_NAME).read_text())
    (folder / INDEX_NAME).write_text(json.dumps({**index, "vocab_size": 290}))
    with pytest.raises(CorpusError, match="holds token 299; expected ids below 290"):
        TokenStore.open(folder).verify()


def test_another_tokenizer_in_its_place_is_found(folder):
    path = folder / TokenStore.open(folder).index.tokenizer
    path.write_text('{"format": 1, "kind": "bpe", "merges": [[97, 98]]}')
    with pytest.raises(CorpusError, match=r"isn't the tokenizer that tokens\.json names"):
        TokenStore.open(folder)
    path.unlink()
    with pytest.raises(CorpusError, match=rf"{path.name}: there is no such file"):
        TokenStore.open(folder)


def change(*keys, to):
    def harm(index):
        for key in keys[:-1]:
            index = index[key]
        index[keys[-1]] = to

    return harm


A = ("domains", "a", "train")


@pytest.mark.parametrize(
    "harm",
    [
        change("format", to=2),
        change("extra", to=1),
        change("vocab_size", to=True),
        change("vocab_size", to="300"),
        change("dtype", to="<f8"),
        change("dtype", to="|u1"),
        change("domains", to={}),
        change("name", to="a\nb"),
        change("tokenizer", to="../tokenizer.0000000000000000.json"),
        change(*A, "shards", to=[]),
        change(*A, "tokens", to=1),
        change(*A, "tokens", to=-1),
        change(*A, "shards", 0, "file", to="/etc/passwd"),
        change(*A, "shards", 0, "file", to="../a.train.0000.0123456789abcdef.bin"),
        change(*A, "shards", 0, "file", to="a.train.0000.0123456789abcdef.bin\n"),
        change(*A, "shards", 0, "bytes", to=10),
        change(*A, "shards", 0, "tokens", to=2**63),
        change("domains", "a", "entropy_nats", to=float("nan")),
    ],
    ids=range(18),
)
def test_a_forged_index_is_refused(folder, harm):
    index = json.loads((folder / INDEX_NAME).read_text())
    harm(index)
    (folder / INDEX_NAME).write_text(json.dumps(index))
    with pytest.raises(CorpusError, match=r"tokens\.json: "):
        TokenStore.open(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 10_000, "\xff"])
def test_a_damaged_index_is_refused(folder, content):
    (folder / INDEX_NAME).write_text(content, encoding="latin-1")
    with pytest.raises(CorpusError, match=r"tokens\.json: "):
        TokenStore.open(folder)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"tokens\.json: there is no such file"):
        TokenStore.open(tmp_path)
    with pytest.raises(CorpusError, match="absent: there is no such folder"):
        TokenStore.open(tmp_path / "absent")


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 12), st.randoms(use_true_random=False))
def test_windows_tile_each_shard(sizes, context_length, random):
    shards, start = [], 0
    for size in sizes:
        shards.append(np.arange(start, start + size, dtype=np.uint16))
        start += size
    windows = Windows(shards, context_length)
    expected = [
        shard[place : place + context_length + 1]
        for shard in shards
        for place in range(0, len(shard) - context_length, context_length)
    ]
    assert len(windows) == len(expected)
    order = random.sample(range(len(expected)), len(expected))
    rows = windows.gather(np.array(order, int))
    np.testing.assert_array_equal(rows, np.array([expected[k] for k in order], int).reshape(-1, context_length + 1))
    for wrong in (-1, len(expected)):
        with pytest.raises(IndexError, match=f"there are {len(expected)}"):
            windows.gather(np.array([wrong]))


def test_a_context_must_have_a_token():
    with pytest.raises(ConfigError, match="context_length: got 0"):
        Windows([np.arange(5)], 0)


def test_shards_are_cut_where_they_are_full(tmp_path):
    tokens = np.arange(25)
    with ShardWriter(tmp_path, "a.train", np.dtype("<u2"), shard_tokens=10) as writer:
        for part in np.split(tokens, [1, 14, 14]):
            writer.write(part)
        shards = writer.finish()
    assert [shard.tokens for shard in shards] == [10, 10, 5]
    assert [shard.file.rsplit(".", 2)[0] for shard in shards] == ["a.train.0000", "a.train.0001", "a.train.0002"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [shard.file for shard in shards]
    read = [map_shard(tmp_path, shard, np.dtype("<u2")) for shard in shards]
    np.testing.assert_array_equal(np.concatenate(read), tokens)


def test_an_error_leaves_no_unfinished_shard(tmp_path):
    def fail():
        with ShardWriter(tmp_path, "a.train", np.dtype("<u2")) as writer:
            writer.write(np.arange(5))
            assert len(list(tmp_path.iterdir())) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_message(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    writer = ShardWriter(tmp_path, "a.train", np.dtype("<u2"))
    with writer:
        writer.write(np.arange(5))
        with pytest.raises(CorpusError, match="tokens can't be written: No space left on device"):
            writer.finish()
    assert not list(tmp_path.iterdir())
