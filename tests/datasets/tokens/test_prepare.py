import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from foretrain.core.errors import CorpusError, DataWarning
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.corpus.repeats import Repeats
from foretrain.datasets.tokens import packing
from foretrain.datasets.tokens.mixture import Mixture
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.shards import ShardWriter
from foretrain.datasets.tokens.store import TokenStore

MODULE = sys.modules["foretrain.datasets.tokens.prepare"]
CORPORA = Path(__file__).parents[3].parent / "shared" / "corpora"
WORDS = np.array(["alpha", "beta", "gamma", "delta", "naïve", "words", "of", "some", "text", "\n", "42", "def"])


def text(rng, words=60):
    return " ".join(rng.choice(WORDS, words))


def write(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def corpus(tmp_path, rng):
    """`corpus(**top)`: domains a, b and c of 150 documents each."""
    for name in "abc":
        write(tmp_path / f"{name}.jsonl", [text(rng) for _ in range(150)])

    def make(domains=None, **top):
        domains = domains or {name: {"path": f"{name}.jsonl"} for name in "abc"}
        return Corpus.from_mapping({"domains": domains, "validation_share": 0.1, **top}, folder=tmp_path)

    return make


@pytest.fixture
def packed(monkeypatch):
    """The names of the domains that are packed rather than kept."""
    names = []
    real = MODULE.pack_text

    def spy(corpus, name, *rest):
        names.append(name)
        return real(corpus, name, *rest)

    monkeypatch.setattr(MODULE, "pack_text", spy)
    return names


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("tokenizer", [{"kind": "bytes"}, {"kind": "bpe", "vocab_size": 400}])
def test_every_document_is_there_once_in_order_and_closed(corpus, tmp_path, tokenizer):
    described = corpus(tokenizer=tokenizer)
    store = prepare(described, tmp_path / "out")
    store.verify()
    for name in "abc":
        whole = [json.loads(line)["text"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        found = []
        for split in ("train", "valid"):
            decoded = store.tokenizer.decode(np.concatenate(store._map(name, split)))
            assert decoded.endswith("\0")
            documents = decoded[:-1].split("\0")
            assert documents == [document for document in whole if document in set(documents)]
            found += documents
        assert sorted(found) == sorted(whole)


def test_the_same_corpus_gives_the_same_tokens_anywhere(corpus, tmp_path):
    described = corpus(tokenizer={"kind": "bpe", "vocab_size": 400})
    assert prepare(described, tmp_path / "x").digest == prepare(described, tmp_path / "y").digest


def test_nothing_is_redone_if_nothing_changed(corpus, tmp_path, packed):
    described = corpus(tokenizer={"kind": "bpe", "vocab_size": 400})
    first = prepare(described, tmp_path / "out")
    before = files(tmp_path / "out")
    packed.clear()
    again = prepare(described, tmp_path / "out")
    assert packed == []
    assert again.digest == first.digest
    assert {name: time for name, time in files(tmp_path / "out").items() if name.endswith(".bin")} == {
        name: time for name, time in before.items() if name.endswith(".bin")
    }


def test_only_what_changed_is_redone(corpus, tmp_path, packed, rng):
    first = prepare(corpus(), tmp_path / "out")
    packed.clear()
    write(tmp_path / "b.jsonl", [text(rng) for _ in range(100)])
    second = prepare(corpus(), tmp_path / "out")
    assert packed == ["b"]
    assert second.digest != first.digest
    assert second.index.domains["c"] == first.index.domains["c"]
    # The old shards of b are gone, and so is every file that the index doesn't name.
    assert {*files(tmp_path / "out")} == {*second.index.files(), "tokens.json", ".lock"}
    packed.clear()
    with_stock = {name: {"path": f"{name}.jsonl", "unique_tokens": "5B", "max_epochs": 3} for name in "abc"}
    third = prepare(corpus(with_stock), tmp_path / "out")
    assert (packed, third.digest, third.index.domains["a"].unique_tokens) == ([], second.digest, 5e9)
    prepare(corpus(validation_share=0.2), tmp_path / "out")
    assert packed == ["a", "b", "c"]


def test_a_bpe_tokenizer_is_learned_on_the_text_it_is_for(corpus, tmp_path, packed, rng):
    bpe = {"tokenizer": {"kind": "bpe", "vocab_size": 400}}
    first = prepare(corpus(**bpe), tmp_path / "out")
    write(tmp_path / "b.jsonl", [f"{text(rng)} novelty" for _ in range(150)])
    packed.clear()
    second = prepare(corpus(**bpe), tmp_path / "out")
    assert packed == ["a", "b", "c"]
    assert second.tokenizer.digest != first.tokenizer.digest


def test_a_damaged_store_is_repaired(corpus, tmp_path, packed):
    store = prepare(corpus(), tmp_path / "out")
    path = tmp_path / "out" / store.index.domains["b"].train.shards[0].file
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    packed.clear()
    again = prepare(corpus(), tmp_path / "out")
    assert packed == ["b"]
    again.verify()
    assert again.digest == store.digest
    (tmp_path / "out" / "tokens.json").write_text("{")
    assert prepare(corpus(), tmp_path / "out").digest == store.digest


def test_ctrl_c_keeps_what_is_done_and_what_was_there(corpus, tmp_path, packed, monkeypatch, rng):
    def interrupt(message, share):
        if message.startswith("c: 0.1"):
            raise KeyboardInterrupt

    out = tmp_path / "out"
    monkeypatch.setattr(packing, "_BATCH_DOCUMENTS", 10)
    write(tmp_path / "c.jsonl", [text(rng, 400) for _ in range(150)])
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus(), out, interrupt)
    assert not [name for name in files(out) if name.startswith((".tmp", "c."))]
    with pytest.raises(CorpusError, match="no such file"):
        TokenStore.open(out)
    packed.clear()
    store = prepare(corpus(), out)
    assert packed == ["c"]
    # A finished store stays whole while it is replaced, until the very end.
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus(validation_share=0.3), out, interrupt)
    assert TokenStore.open(out).digest == store.digest
    store.verify()


def test_a_killed_process_leaves_what_can_be_gone_on_with(corpus, tmp_path, packed):
    code = f"""
import os, signal
from foretrain.datasets.tokens import packing
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
packing._BATCH_DOCUMENTS = 10
batches = []
def die(message, share):
    batches.append(message.startswith("b: 0.0 MB"))
    if sum(batches) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
corpus = Corpus.from_mapping({corpus().to_mapping()!r}, folder={str(tmp_path)!r})
prepare(corpus, {str(tmp_path / "out")!r}, die)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    assert [name for name in files(tmp_path / "out") if name.startswith(".tmp-")]
    store = prepare(corpus(), tmp_path / "out")
    assert packed == ["b", "c"]
    assert {*files(tmp_path / "out")} == {*store.index.files(), "tokens.json", ".lock"}
    assert store.digest == prepare(corpus(), tmp_path / "other").digest


def test_repeated_documents_are_left_out_and_counted(corpus, tmp_path, rng):
    train = [text(rng) for _ in range(40)]
    valid = [text(rng) for _ in range(20)]
    write(tmp_path / "a.jsonl", [*train, *train[:5], *(t.replace(" ", "  ") for t in train[5:8]), *valid[:4]])
    write(tmp_path / "v.jsonl", [*valid, *valid[:2], "", " \n"])
    store = prepare(corpus({"a": {"path": "a.jsonl", "validation_path": "v.jsonl"}}), tmp_path / "out")
    index = store.index.domains["a"]
    assert (index.train.documents, index.train.dropped) == (40, 12)
    assert (index.valid.documents, index.valid.dropped) == (20, 2)
    trained = store.tokenizer.decode(np.concatenate(store._map("a", "train"))).split("\0")
    assert not set(valid) & set(trained)


def test_too_many_documents_to_compare_is_said(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "Repeats", lambda: Repeats(limit=20))
    with pytest.warns(DataWarning, match="domains.a: too many documents to compare"):
        store = prepare(corpus({"a": {"path": "a.jsonl"}}), tmp_path / "out")
    assert not store.index.domains["a"].duplicates_checked
    assert store.index.domains["a"].train.documents > 100


@pytest.mark.parametrize(
    ("train", "valid", "share", "fragment"),
    [
        (["x"], ["y" * 200], None, "domains.a: its training text is 2 tokens in 1 documents; expected at least 129"),
        (["x" * 200], ["y"], None, "domains.a: its validation text is 2 tokens in 1 documents.*add text to validation"),
        (["x" * 200], ["x" * 200], None, r"training text is 0 tokens \(1 more are repeated, or in the other split\)"),
        (["x" * 200], None, 0, r"validation text is 0 tokens.*raise validation_share \(now 0\) or give a validation_"),
        (["x" * 200], None, 0.05, "validation text is 0 tokens.*add documents, raise validation_share"),
    ],
)
def test_a_domain_that_is_too_small_says_how_much_there_is(corpus, tmp_path, train, valid, share, fragment):
    write(tmp_path / "a.jsonl", train)
    domain = {"path": "a.jsonl"}
    if valid is not None:
        write(tmp_path / "v.jsonl", valid)
        domain["validation_path"] = "v.jsonl"
    with pytest.raises(CorpusError, match=fragment):
        prepare(corpus({"a": domain}, validation_share=0.05 if share is None else share), tmp_path / "out")
    assert {*files(tmp_path / "out")} == {".lock"}


def test_text_that_can_not_be_kept_is_named(corpus, tmp_path, rng):
    texts = [text(rng) for _ in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in [*texts, "half \ud800"]))
    with pytest.raises(CorpusError, match=r"a\.jsonl:31"):
        prepare(corpus(), tmp_path / "out")


def test_synthetic_domains_need_no_tokenizer(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_SYNTHETIC_AT_ONCE", 3000)
    source = {"kind": "zipf_markov", "vocab_size": 64, "branching": 8, "tokens": 10_000}
    store = prepare(corpus({"z": {"synthetic": source}}), tmp_path / "out")
    assert store.tokenizer is None
    assert (store.vocab_size, store.count("z", "train"), store.count("z", "valid")) == (64, 10_000, 200_000)
    train, valid = (np.concatenate(store._map("z", split)) for split in ("train", "valid"))
    assert not np.array_equal(train, valid[: len(train)])
    assert store.digest == prepare(corpus({"z": {"synthetic": source}}), tmp_path / "out").digest
    other = prepare(corpus({"z": {"synthetic": {**source, "seed": 1}}}), tmp_path / "out")
    assert other.digest != store.digest
    with pytest.raises(CorpusError, match=r"training text is 100 tokens.*raise synthetic\.tokens"):
        prepare(corpus({"z": {"synthetic": {**source, "tokens": 100}}}), tmp_path / "small")


def test_a_larger_vocabulary_beside_it_changes_the_width_of_all(corpus, tmp_path, packed):
    one = {"a": {"path": "a.jsonl"}}
    assert prepare(corpus(one), tmp_path / "out").index.dtype == "|u1"
    packed.clear()
    both = {**one, "z": {"synthetic": {"kind": "zipf", "vocab_size": 500, "tokens": 1000}}}
    store = prepare(corpus(both), tmp_path / "out")
    store.verify()
    assert (packed, store.index.dtype, store.vocab_size) == (["a"], "<u2", 500)


def test_several_shards_read_as_one(corpus, tmp_path, monkeypatch):
    whole = prepare(corpus(), tmp_path / "whole")

    def small(folder, name, split, dtype):
        return ShardWriter(folder, f"{name}.{split}", dtype, shard_tokens=5000)

    monkeypatch.setattr(packing, "_writer", small)
    store = prepare(corpus(), tmp_path / "out")
    assert len(store._map("a", "train")) > 5
    for split in ("train", "valid"):
        np.testing.assert_array_equal(np.concatenate(store._map("a", split)), np.concatenate(whole._map("a", split)))
    rows = Mixture(store, {"a": 1}, 64, 100, 0).rows(0, 100)
    assert len({row.tobytes() for row in rows}) == 100


def test_names_that_no_file_may_have_are_fine(corpus, tmp_path):
    domains = {name: {"path": "a.jsonl"} for name in ("../A", "..-a", "ü/\\:*", "a" * 200)}
    store = prepare(corpus(domains), tmp_path / "out")
    assert store.domains == tuple(sorted(domains))
    assert {path.parent for path in (tmp_path / "out").rglob("*")} == {tmp_path / "out"}


def test_two_at_once_are_refused(corpus, tmp_path):
    (tmp_path / "out").mkdir()
    with (
        FileLock(tmp_path / "out" / ".lock"),
        pytest.raises(CorpusError, match="another process is preparing this store"),
    ):
        prepare(corpus(), tmp_path / "out")
    prepare(corpus(), tmp_path / "out")


def test_only_a_store_s_folder_is_written_into(corpus, tmp_path):
    with pytest.raises(CorpusError, match=r"holds other files, such as 'a\.jsonl'"):
        prepare(corpus(), tmp_path)
    for place in (tmp_path / "a.jsonl", tmp_path / "a.jsonl" / "x", tmp_path / "a\0b"):
        with pytest.raises(CorpusError, match="can't be a token store's folder"):
            prepare(corpus(), place)


def test_progress_never_goes_back(corpus, tmp_path):
    seen = []
    prepare(corpus(), tmp_path / "out", lambda message, share: seen.append((message, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert any(message == "b: 0.0 MB" for message, _ in seen)


_PEAK = """
import json, resource, sys
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
prepare(Corpus.from_mapping(json.loads(sys.argv[1]), folder=sys.argv[2]), sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_does_not_grow_with_the_corpus(tmp_path, rng):
    """A corpus eight times as large, 40 MB, takes about the same memory (kB of peak resident set)."""
    peaks = []
    for documents in (200, 1600):
        noise = [rng.choice(WORDS, 100).tolist() for _ in range(1000)]
        with open(tmp_path / f"{documents}.jsonl", "w") as stream:
            for number in range(documents):
                parts = " ".join(" ".join(noise[k]) for k in rng.integers(0, 1000, 50))
                stream.write(json.dumps({"text": f"{number} {parts}"}) + "\n")
        mapping = {"domains": {"a": {"path": f"{documents}.jsonl"}}}
        command = [sys.executable, "-c", _PEAK, json.dumps(mapping), str(tmp_path), str(tmp_path / f"out{documents}")]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert os.path.getsize(tmp_path / "1600.jsonl") > 35e6
    assert peaks[1] - peaks[0] < 10_000


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the text corpora are not beside this checkout (shared/corpora)")
def test_real_text_in_two_languages(tmp_path):
    """The smallest parts of the real corpora: their validation files, split anew by hash."""
    domains = {name: {"path": f"{name}.valid.jsonl.gz"} for name in ("arxiv_math", "law_german")}
    described = {"tokenizer": {"kind": "bpe", "vocab_size": 1024}, "domains": domains}
    store = prepare(Corpus.from_mapping(described, folder=CORPORA), tmp_path / "out")
    store.verify()
    assert store.vocab_size == 1024
    for name in store.domains:
        assert 1.7 < store.bytes_per_token(name) < 4
    sample = store.tokenizer.decode(store.windows("law_german", "train", 400)[3])
    assert re.search(r"\b(der|die|das|und)\b", sample)
