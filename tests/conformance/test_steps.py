"""Every registered step of a selection meets the contract of `foretrain.testing`, with settings of each kind."""

import numpy as np
import pytest
from foretrain.datasets.selection.embeddings import hashed
from foretrain.datasets.selection.registry import steps
from foretrain.datasets.selection.steps import perplexity
from foretrain.testing import check_step


def no_files(folder, documents):
    pass


def vectors(folder, documents):
    np.save(folder / "v.npy", np.random.default_rng(0).standard_normal((len(documents), 6)))


def scores(folder, documents):
    rows = {document.digest.hex(): len(document.text) + number / 1000 for number, document in enumerate(documents)}
    (folder / "s.csv").write_text("digest,score\n" + "".join(f"{d},{score}\n" for d, score in rows.items()))


def labels(folder, documents):
    rows = [f"{n},{int(' | ' not in document.text)}\n" for n, document in enumerate(documents) if n % 2]
    (folder / "l.csv").write_text("document,label\n" + "".join(rows))


CASES = [
    ({"dedup": {"kind": "exact"}}, no_files),
    ({"dedup": {"kind": "minhash", "permutations": 16}}, no_files),
    ({"dedup": {"kind": "semantic"}}, no_files),
    ({"density": {"bandwidth": 0.2}}, no_files),
    ({"density": {"bandwidth": 0.2, "embeddings": "v.npy", "keep": 0.3}}, vectors),
    ({"strata": {"clusters": 4, "keep": 0.6}}, no_files),
    ({"strata": {"clusters": 3, "embeddings": "v.npy", "quotas": "proportional"}}, vectors),
    ({"perplexity": {"order": 3}}, no_files),
    ({"perplexity": {"band": [0.2, 0.9], "order": 2}}, no_files),
    ({"sample": {"keep": 0.4}}, no_files),
    ({"judge": {"scores": "s.csv", "keep": 0.3}}, scores),
    ({"judge": {"labels": "l.csv"}}, labels),
]


@pytest.mark.parametrize(("step", "prepare"), CASES, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_step_meets_the_contract(step, prepare, monkeypatch):
    monkeypatch.setattr(hashed, "_BATCH_DOCUMENTS", 100)  # so that 600 documents are several batches
    monkeypatch.setattr(perplexity, "_BATCH_BYTES", 1 << 13)
    check_step(step, prepare)


def test_every_step_is_checked():
    assert {name for step, _ in CASES for name in step} == set(steps())
