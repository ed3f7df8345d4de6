"""A token store whose making dies at any step of its work on the disk: the old or the new one is there, whole."""

import shutil
from functools import partial

import numpy as np
import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.provenance.provenance import Provenance
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore
from foretrain.datasets.tokens.texts import NewText, add_texts, linked_store


def corpus(seed: int) -> Corpus:
    """Two domains, one of them the same for all seeds."""
    source = {"kind": "zipf", "vocab_size": 32, "tokens": 4_000}
    domains = {"same": {"synthetic": source}, "other": {"synthetic": {**source, "seed": seed}}}
    return Corpus.from_mapping({"domains": domains})


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[int, TokenStore]:
    return {seed: prepare(corpus(seed), tmp_path_factory.mktemp("store")) for seed in (1, 2)}


def test_killed_at_every_step_old_or_new_is_there(dies_at, stores, tmp_path):
    digests, seen = [store.digest for store in stores.values()], []
    for step in range(100):
        folder = tmp_path / str(step)
        shutil.copytree(stores[1].folder, folder)
        if not dies_at(step, partial(prepare, corpus(2), folder)):
            break
        there = TokenStore.open(folder)
        there.verify()
        seen.append(digests.index(there.digest))
        store = prepare(corpus(2), folder)
        assert store.digest == digests[1]
        assert {path.name for path in folder.iterdir()} == {*store.index.files(), "tokens.json", ".lock"}
    assert step > 8
    assert seen == sorted(seen)  # old up to some step, new from it on
    assert set(seen) == {0, 1}


def test_killed_before_there_was_one_it_is_made_the_next_time(dies_at, stores, tmp_path):
    for step in (0, 3, 6):
        assert dies_at(step, partial(prepare, corpus(1), tmp_path / "new"))
        with pytest.raises(CorpusError):
            TokenStore.open(tmp_path / "new")
    assert prepare(corpus(1), tmp_path / "new").digest == stores[1].digest


def test_killed_while_a_text_is_added_all_of_it_is_there_or_none(dies_at, stores, tmp_path):
    text = NewText("written", np.arange(300).reshape(30, 10) % 32, Provenance(origin="human"))
    seen = []
    for step in range(100):
        folder = tmp_path / str(step)
        died = dies_at(step, lambda folder=folder: add_texts(linked_store(stores[1], folder).folder, [text]))
        if not died:
            break
        if (folder / "tokens.json").is_file():
            store = TokenStore.open(folder)
            store.verify()
            seen.append(len(store.texts))
        add_texts(linked_store(stores[1], folder).folder, [text])
        store = TokenStore.open(folder)
        assert (store.texts, store.digest) == (("written",), stores[1].digest)
        assert {path.name for path in folder.iterdir()} == {*store.index.files(), "tokens.json"}
    assert step > 5
    assert seen == sorted(seen)
    assert set(seen) == {0, 1}
