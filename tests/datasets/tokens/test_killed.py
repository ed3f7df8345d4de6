"""A token store whose making dies at any step of its work on the disk: the old or the new one is there, whole."""

import os
import shutil
from pathlib import Path

import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.tokens.prepare import prepare
from foretrain.datasets.tokens.store import TokenStore

STEPS = ("mkdir", "rename", "replace", "link", "unlink", "fsync", "rmdir")


def corpus(seed: int) -> Corpus:
    """Two domains, one of them the same for all seeds."""
    source = {"kind": "zipf", "vocab_size": 32, "tokens": 4_000}
    domains = {"same": {"synthetic": source}, "other": {"synthetic": {**source, "seed": seed}}}
    return Corpus.from_mapping({"domains": domains})


def dies_at(step: int, folder: Path, made: Corpus) -> bool:
    """Prepare in a process that ends without a word at this step; whether it came that far."""
    child = os.fork()
    if child == 0:
        left = iter(range(step, -1, -1))

        def counted(function):
            def call(*arguments, **keywords):
                if next(left) == 0:
                    os._exit(9)
                return function(*arguments, **keywords)

            return call

        try:
            for name in STEPS:
                setattr(os, name, counted(getattr(os, name)))
            prepare(made, folder)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[int, TokenStore]:
    return {seed: prepare(corpus(seed), tmp_path_factory.mktemp("store")) for seed in (1, 2)}


def test_killed_at_every_step_old_or_new_is_there(stores, tmp_path):
    digests, seen = [store.digest for store in stores.values()], []
    for step in range(100):
        folder = tmp_path / str(step)
        shutil.copytree(stores[1].folder, folder)
        if not dies_at(step, folder, corpus(2)):
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


def test_killed_before_there_was_one_it_is_made_the_next_time(stores, tmp_path):
    for step in (0, 3, 6):
        assert dies_at(step, tmp_path / "new", corpus(1))
        with pytest.raises(CorpusError):
            TokenStore.open(tmp_path / "new")
    assert prepare(corpus(1), tmp_path / "new").digest == stores[1].digest
