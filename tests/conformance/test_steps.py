"""Every registered step of a selection meets the contract of `foretrain.testing`, with settings of each kind."""

from typing import ClassVar

import numpy as np
import pytest
from foretrain.core.errors import CorpusError
from foretrain.datasets.selection import registry
from foretrain.datasets.selection.embeddings import hashed
from foretrain.datasets.selection.quota import best
from foretrain.datasets.selection.registry import register_step, steps
from foretrain.datasets.selection.step import Chosen, Step
from foretrain.datasets.selection.steps import perplexity
from foretrain.testing.steps import CHECKS, check_step


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


def keys(folder, documents):
    (folder / "k.yaml").write_text('key: "9f86d081884c7d65"\n')


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
    ({"watermark": {"keys": "k.yaml"}}, keys),
]


@pytest.mark.parametrize(("step", "prepare"), CASES, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_step_meets_the_contract(step, prepare, monkeypatch):
    monkeypatch.setattr(hashed, "_BATCH_DOCUMENTS", 100)  # so that 600 documents are several batches
    monkeypatch.setattr(perplexity, "_BATCH_BYTES", 1 << 13)
    check_step(step, prepare)


def test_every_step_is_checked():
    assert {name for step, _ in CASES for name in step} == set(steps())


class Faulty(Step):
    """Keeps short documents, with one fault."""

    fault: str
    keep: float = 0.5
    calls: ClassVar[list[int]] = []

    def select(self, texts, rng):
        """Choose, wrongly in one respect."""
        held = list(texts) if self.fault == "documents_are_streamed" else texts
        scores = np.array([-len(document.text) for document in held], float)
        if self.fault == "equal_seeds_choose_alike":
            self.calls.append(1)
            scores *= (-1) ** len(self.calls)
        if self.fault == "validation_text_has_no_say_and_stays":
            scores[0] = max(len(document.text) for side, document in texts.everything() if side == "valid")
        if self.fault == "files_are_left_as_they_are":
            (texts.folder / "cache").write_text("kept for later")
        if self.fault == "one_document_is_kept_or_the_place_is_named" and len(texts) == 1:
            raise CorpusError("too few documents")
        keep = 0.9 if self.fault == "a_share_is_kept_to_within_a_document" else self.keep
        kept = best(scores, texts.sizes_bytes, keep, rng)
        if self.fault == "what_it_chooses_has_the_promised_form":
            scores[3] = np.inf
        return Chosen(kept, scores)

    def inputs(self, folder):
        """A file that isn't there."""
        return [folder / "a.jsonl"] if self.fault == "files_are_inputs" else []


@pytest.fixture
def faulty():
    register_step("faulty")(Faulty)
    yield
    registry._STEPS.remove("faulty")


FAULTS = [
    "what_it_chooses_has_the_promised_form",
    "equal_seeds_choose_alike",
    "a_share_is_kept_to_within_a_document",
    "documents_are_streamed",
    "files_are_left_as_they_are",
    "validation_text_has_no_say_and_stays",
    "one_document_is_kept_or_the_place_is_named",
    "files_are_inputs",
]


def test_a_step_without_a_fault_passes(faulty):
    check_step({"faulty": {"fault": "none"}})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(faulty, fault):
    assert fault in {check.__name__ for check in CHECKS}
    with pytest.raises(ExceptionGroup) as caught:
        check_step({"faulty": {"fault": fault}})
    assert any(note.startswith(f"{fault} of ") for error in caught.value.exceptions for note in error.__notes__)
