"""What a step of a selection must do, whatever it chooses by: checks for a step with its settings.

The checks make a small domain of their own: sentences on two topics, shuffled ones, copies, and pages of menus.
"""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import CorpusError
from ..datasets.corpus.corpus import Corpus
from ..datasets.corpus.document import Document, Split
from ..datasets.corpus.documents import documents
from ..datasets.selection.reading import step_mapping
from ..datasets.selection.selection import Selection, select, selected_digest, selected_documents
from ..datasets.selection.step import Chosen, Step

__all__ = ["CHECKS", "MOST_ALIVE", "check_step"]

MOST_ALIVE = 400
"""Most documents whose text a step may hold at once, of the 600 that one check streams."""

_STREAMED = 600
_DOCUMENTS = 90
_WORDS = ("moon", "tide", "river", "stone", "court", "law", "judge", "fine", "sees", "moves", "holds", "old", "small")

Prepare = Callable[[Path, Sequence[Document]], None]
"""Writes the files that a step reads into a folder, given the training documents of the domain."""


@dataclass(frozen=True)
class Case:
    """A step, and what writes the files that it reads."""

    step: Step
    prepare: Prepare

    def corpus(
        self, folder: Path, texts: Sequence[str], valid: str = "Held out for measuring.", seed: int = 0
    ) -> Corpus:
        """A corpus whose domain `a` holds these texts, with the step and its files."""
        (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        (folder / "a.valid.jsonl").write_text(json.dumps({"text": valid}) + "\n", encoding="utf-8")
        domain = {"path": "a.jsonl", "validation_path": "a.valid.jsonl"}
        stated = step_mapping(self.step.model_copy(update={"seed": self.step.seed + seed}))
        corpus = Corpus.from_mapping({"domains": {"a": {**domain, "select": [stated]}}}, "corpora.yaml", folder)
        self.prepare(folder, list(documents(corpus, "a", "train")))
        return corpus


Check = Callable[[Case, Path], None]
"""Takes a case and an empty folder; raises AssertionError where the step doesn't do what it must."""

CHECKS: list[Check] = []
"""Every check, in the order in which they are run."""


def _check(check: Check) -> Check:
    CHECKS.append(check)
    return check


def check_step(step: Step | str | Mapping[str, Any], prepare: Prepare | None = None) -> None:
    """Run every check on a step.

    A step that reads batches of more than 400 documents fails the check of streams; lower its batch for the check.

    Args:
        step: The step, or what corpora.yaml says: its name, or its name with its settings.
        prepare: Writes the files that the settings name into a folder, given the training documents of a domain:
            scores, labels, embeddings.

    Raises:
        ConfigError: There is no such step, or its settings are wrong.
        ExceptionGroup: Some checks failed; each error in it carries the name of its check.

    >>> check_step({"dedup": {"kind": "exact"}})
    """
    described = {"domains": {"a": {"path": "a.jsonl", "select": [step]}}}
    (read,) = Corpus.from_mapping(described).domain("a").select
    case = Case(read, prepare or (lambda folder, found: None))
    failed = []
    for check in CHECKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(case, Path(folder))
            except Exception as error:
                error.add_note(f"{check.__name__} of {step_mapping(read)}")
                failed.append(error)
    if failed:
        raise ExceptionGroup(read.name, failed)


@_check
def settings_are_read_as_they_are_written(case: Case, folder: Path) -> None:
    """A step as plain values is JSON, from which an equal step is read."""
    written = json.loads(json.dumps(step_mapping(case.step), allow_nan=False))
    (again,) = Corpus.from_mapping({"domains": {"a": {"path": "a", "select": [written]}}}).domain("a").select
    assert again == case.step, f"{written} is read as {again!r}; expected {case.step!r}"


@_check
def what_it_chooses_has_the_promised_form(case: Case, folder: Path) -> None:
    """`kept` and `scores` have one entry a document, facts are plain values."""
    found, _ = _chosen(case, folder)
    n = len(found.chosen.kept)
    kept, scores = found.chosen.kept, found.chosen.scores
    assert (kept.dtype, kept.shape) == (np.dtype(bool), (n,)), f"kept is {kept.dtype} {kept.shape}; expected bool {n}"
    assert scores.dtype.kind == "f", f"scores are {scores.dtype}; expected floats"
    assert scores.shape == (n,) == found.reached.shape, f"scores have the shape {scores.shape}; expected {(n,)}"
    assert not np.isinf(scores).any(), "scores are infinite; expected finite ones, or NaN where none was needed"
    json.dumps(found.to_dict(), allow_nan=False)


@_check
def equal_seeds_choose_alike(case: Case, folder: Path) -> None:
    """The same documents, settings and files give the same bits, in another folder, too."""
    first = _selected(case, folder / "first", _texts(_DOCUMENTS))
    second = _selected(case, folder / "second", _texts(_DOCUMENTS))
    np.testing.assert_array_equal(second.kept, first.kept)
    np.testing.assert_array_equal(second.outcomes[0].chosen.scores, first.outcomes[0].chosen.scores)
    assert second.digest == first.digest, "equal selections have other digests"


@_check
def a_share_is_kept_to_within_a_document(case: Case, folder: Path) -> None:
    """Where the settings state one, whatever the seed; a smaller share keeps less."""
    stated = getattr(case.step, "keep", None)
    if stated is None:
        return
    for seed, keep in enumerate((stated, stated / 3)):
        step = case.step.model_copy(update={"keep": keep})
        found = _selected(Case(step, case.prepare), folder / f"{seed}", _texts(_DOCUMENTS), seed=seed)
        total, kept = found.sizes_bytes.sum(), found.sizes_bytes[found.kept].sum()
        over = kept - keep * total
        assert -1 <= over <= found.sizes_bytes.max(), f"{kept} of {total} bytes are kept; expected a share of {keep:g}"


@_check
def documents_are_streamed(case: Case, folder: Path) -> None:
    """Of many documents, only some are held at once."""
    texts = _texts(_STREAMED)
    corpus = case.corpus(folder, texts)
    stream = _Stream([*documents(corpus, "a", "train")], folder)
    case.step.select(stream, np.random.default_rng([case.step.seed, 0]))
    assert stream.most_alive <= MOST_ALIVE, (
        f"{stream.most_alive} of {len(texts)} documents were held at once; expected {MOST_ALIVE} at most"
    )


@_check
def the_stream_may_be_of_any_kind(case: Case, folder: Path) -> None:
    """What a step chooses follows from what `Texts` promises: documents held elsewhere give the same."""
    found, corpus = _chosen(case, folder)
    stream = _Stream([*documents(corpus, "a", "train")], folder)
    chosen = case.step.select(stream, np.random.default_rng([case.step.seed, 0]))
    np.testing.assert_array_equal(chosen.kept, found.chosen.kept)
    np.testing.assert_array_equal(chosen.scores, found.chosen.scores)


@_check
def files_are_left_as_they_are(case: Case, folder: Path) -> None:
    """Nothing is written beside the corpus, and what is kept has the text that it had."""
    corpus = case.corpus(folder, _texts(_DOCUMENTS))
    before = {path: path.read_bytes() for path in folder.rglob("*")}
    found = select(corpus, "a")
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before, "the step changed files of the corpus"
    kept = [document for _, document in selected_documents(corpus, {"a": found}, "a", ("train",))]
    expected = [d for d, wanted in zip(documents(corpus, "a", "train"), found.kept, strict=True) if wanted]
    assert kept == expected, "kept documents aren't those of the corpus"


@_check
def validation_text_has_no_say_and_stays(case: Case, folder: Path) -> None:
    """Another validation text leaves the choice as it is, and is there afterwards."""
    found = []
    for number, valid in enumerate(("The old moon moves the tide.", "menu | menu | menu " * 50)):
        place = folder / f"{number}"
        place.mkdir()
        corpus = case.corpus(place, _texts(_DOCUMENTS), valid)
        found.append(select(corpus, "a"))
        held = [
            d.text for s, d in selected_documents(corpus, {"a": found[-1]}, "a", ("train", "valid")) if s == "valid"
        ]
        assert held == [valid], "validation text isn't all there after the selection"
    np.testing.assert_array_equal(found[1].kept, found[0].kept)
    np.testing.assert_array_equal(found[1].outcomes[0].chosen.scores, found[0].outcomes[0].chosen.scores)


@_check
def documents_that_are_gone_are_not_missed(case: Case, folder: Path) -> None:
    """After a step that left out a third, in files for all documents rows are found by `numbers`."""
    corpus = case.corpus(folder, _texts(_DOCUMENTS))
    found = select(corpus, "a", [_Third(), case.step])
    reached = found.outcomes[1].reached
    np.testing.assert_array_equal(reached, np.flatnonzero(np.arange(len(found.kept)) % 3 > 0))
    assert found.outcomes[1].chosen.kept.shape == reached.shape
    assert not found.kept[::3].any(), "a document that an earlier step left out is kept"


@_check
def one_document_is_kept_or_the_place_is_named(case: Case, folder: Path) -> None:
    """A single document may be too little for a step, which then says so."""
    corpus = case.corpus(folder, _texts(1))
    try:
        found = select(corpus, "a")
    except CorpusError as error:
        _assert_begins_with_place(case, error)
    else:
        assert found.kept.tolist() == [True], "the only document isn't kept"


@_check
def files_are_inputs(case: Case, folder: Path) -> None:
    """The digest follows the files that a step reads, and a missing one is named with the place."""
    corpus = case.corpus(folder, _texts(_DOCUMENTS))
    digest = selected_digest(corpus, "a")
    for path in case.step.inputs(folder):
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        assert selected_digest(corpus, "a") != digest, f"{path.name} changed, and the digest of the selection didn't"
        path.unlink()
        stream = _Stream([*documents(corpus, "a", "train")], folder)
        try:
            case.step.select(stream, np.random.default_rng(0))
        except CorpusError as error:
            _assert_begins_with_place(case, error, stream.place)
        else:
            raise AssertionError(f"{path.name} is missing; expected CorpusError")
        path.write_bytes(content)
    assert selected_digest(corpus, "a") == digest


class _Text(str):
    """A text that can be seen to be gone; a plain one can't."""


class _Stream:
    """Documents as `Texts`, made anew each time they are read, and how many of them were held at once."""

    place = "corpora.yaml:7: domains.a.select.0.checked"
    scores = None

    def __init__(self, held: list[Document], folder: Path) -> None:
        self._held, self.folder = held, folder
        self.sizes_bytes = np.array([len(document.text.encode()) for document in held], np.int64)
        self.numbers, self.total = np.arange(len(held)), len(held)
        self._alive: set[int] = set()
        self.most_alive = 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Document]:
        for document in self._held:
            text = _Text(document.text)
            self._watch(text)
            document = Document(text, document.where, document.digest)
            del text  # what a caller drops must be gone here, too
            yield document

    def everything(self) -> Iterator[tuple[Split, Document]]:
        """All of them are for training."""
        return (("train", document) for document in self)

    def _watch(self, text: _Text) -> None:
        key = id(text)
        self._alive.add(key)
        weakref.finalize(text, self._alive.discard, key)
        self.most_alive = max(self.most_alive, len(self._alive))


class _Third(Step):
    """Leaves out every third document."""

    name = "third"
    ranks = False

    def select(self, texts: Any, rng: np.random.Generator) -> Chosen:
        kept = np.arange(len(texts)) % 3 > 0
        return Chosen(kept, kept.astype(float))


def _selected(case: Case, folder: Path, texts: Sequence[str], seed: int = 0) -> Selection:
    folder.mkdir()
    return select(case.corpus(folder, texts, seed=seed), "a")


def _chosen(case: Case, folder: Path) -> tuple[Any, Corpus]:
    """What the step did with the checks' documents, and their corpus."""
    corpus = case.corpus(folder, _texts(_DOCUMENTS))
    return select(corpus, "a").outcomes[0], corpus


def _assert_begins_with_place(case: Case, error: Exception, place: str | None = None) -> None:
    place = place or f"corpora.yaml: domains.a.select.0.{case.step.name}"
    assert str(error).startswith(place), f"got the message {str(error)!r}; expected it to begin with {place}"


def _texts(count: int) -> list[str]:
    """So many documents: of each five, two of sentences, one of shuffled ones, one near-copy, and one of menus."""
    rng = np.random.default_rng(7)

    def sentences(topic: int) -> str:
        words = [*_WORDS[4 * topic : 4 * topic + 4], *_WORDS[8:]]
        some = (
            f"The {' '.join(rng.choice(words, 4))} number {rng.integers(10_000)}." for _ in range(rng.integers(2, 6))
        )
        return " ".join(some)

    texts = [sentences(0)]
    while len(texts) < count:
        kind = len(texts) % 5
        if kind < 2:
            texts.append(sentences(kind))
        elif kind == 2:
            texts.append(" ".join(rng.permutation(sentences(0).split())))
        elif kind == 3:
            texts.append(f"{texts[0]} Copy {len(texts)}.")
        else:
            texts.append(" | ".join(rng.choice(_WORDS, 12)))
    return texts
