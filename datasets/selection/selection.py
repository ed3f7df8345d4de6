"""`select`: run the steps of a domain, one after the other, and say what each kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import CorpusError
from ...core.files import sha256_file
from ...core.progress import Progress
from ..corpus.corpus import Corpus
from ..corpus.document import Document, Split
from ..corpus.documents import raw_documents, source_digest
from .reading import step_mapping
from .step import Chosen, Step, checked

__all__ = ["Place", "Selection", "StepOutcome", "in_corpus", "select", "selected_digest", "selected_documents"]

Place = Callable[[int, Step], str]
"""File, line and key of a step, by its number and itself, to begin a message with."""

_FORMAT = "selection 1"  # change it when equal settings would choose other documents


@dataclass(frozen=True)
class StepOutcome:
    """What one step did: of the documents that reached it, which it kept and why.

    `reached` are the numbers of these documents among the domain's training documents `(n,)`, `chosen` is about them.
    """

    step: Step
    reached: np.ndarray
    sizes_bytes: np.ndarray
    chosen: Chosen
    scores_digest: str

    @property
    def kept_share(self) -> float:
        """Share of the bytes that reached the step which it kept."""
        return float(self.sizes_bytes[self.chosen.kept].sum() / self.sizes_bytes.sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        facts = {
            "step": self.step.name,
            "settings": self.step.model_dump(mode="json"),
            "documents": len(self.reached),
            "documents_kept": int(self.chosen.kept.sum()),
            "bytes": int(self.sizes_bytes.sum()),
            "bytes_kept": int(self.sizes_bytes[self.chosen.kept].sum()),
            "scores_digest": self.scores_digest,
        }
        return facts | dict(self.chosen.facts) | facts


@dataclass(frozen=True)
class Selection:
    """Which training documents of a domain are kept, as `select` chose them.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "web.jsonl").write_text('{"text": "one two"}\\n{"text": "one  two"}\\n')
    ...     web = {"path": "web.jsonl", "select": ["dedup"]}
    ...     corpus = foretrain.Corpus.from_mapping({"validation_share": 0, "domains": {"web": web}}, folder=folder)
    ...     found = foretrain.select(corpus, "web")
    >>> found.domain, round(found.kept_share, 2), [outcome.step.name for outcome in found.outcomes]
    ('web', 0.47, ['dedup'])
    """

    domain: str
    """The domain."""
    kept: np.ndarray
    """Whether each training document is kept, blank ones not counted `(n,)`."""
    sizes_bytes: np.ndarray
    """The UTF-8 bytes of each `(n,)`."""
    outcomes: tuple[StepOutcome, ...]
    """What each step did, in order."""
    digest: str
    """Stands for the text, the settings, the files that steps read, and the scores: 64 hexadecimal digits."""

    @property
    def kept_share(self) -> float:
        """Share of the bytes of training text that is kept."""
        return float(self.sizes_bytes[self.kept].sum() / self.sizes_bytes.sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "documents": len(self.kept),
            "documents_kept": int(self.kept.sum()),
            "bytes": int(self.sizes_bytes.sum()),
            "bytes_kept": int(self.sizes_bytes[self.kept].sum()),
            "kept_share": self.kept_share,
            "digest": self.digest,
            "steps": [outcome.to_dict() for outcome in self.outcomes],
        }


def select(
    corpus: Corpus,
    domain_name: str,
    steps: Sequence[Step] | None = None,
    progress: Progress | None = None,
    place: Place | None = None,
) -> Selection:
    """Run steps over the training documents of a domain. Memory grows by some numbers a document, never by its text.

    Args:
        corpus: The corpus.
        domain_name: A domain of text.
        steps: The steps; by default those that the corpus states for the domain.
        progress: Called with the step that runs, and the share of steps done.
        place: Where each of the steps is stated; by default in the corpus.

    Raises:
        CorpusError: Text can't be read, a step can't be done, or one keeps nothing.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, text in {"1": "one two", "2": "one two", "3": "three"}.items():
    ...         _ = Path(folder, f"{name}.txt").write_text(text)
    ...     web = {"path": f"{folder}/*.txt", "select": [{"dedup": {"kind": "exact"}}]}
    ...     corpus = foretrain.Corpus.from_mapping({"validation_share": 0, "domains": {"web": web}})
    ...     select(corpus, "web").kept.tolist()
    [True, False, True]
    """
    steps = _of_domain(corpus, domain_name, steps)
    place = place or in_corpus(corpus, domain_name)
    report = progress or (lambda text, share: None)
    report(f"{domain_name}: reading", 0.0)
    sizes = np.array([len(document.text.encode()) for document in _training(corpus, domain_name)], np.int64)
    if not len(sizes):
        where = corpus.place("domains", domain_name)
        raise CorpusError(f"{where}: domains.{domain_name}: holds no training document to select among")
    kept, scores = np.ones(len(sizes), bool), None
    outcomes: list[StepOutcome] = []
    for number, step in enumerate(steps):
        report(f"{domain_name}: {step.name}", number / len(steps))
        texts = _Reaching(corpus, domain_name, kept, sizes, scores, place(number, step))
        chosen = checked(step.select(texts, np.random.default_rng([step.seed, number])), texts)
        reached = np.flatnonzero(kept)
        kept = kept.copy()
        kept[reached] = chosen.kept
        if step.ranks:
            scores = np.full(len(sizes), np.nan)
            scores[reached] = chosen.scores
        if not kept.any():
            raise CorpusError(f"{texts.place}: keeps none of {len(reached)} documents; expected one at least")
        scores_digest = hashlib.sha256(np.ascontiguousarray(chosen.scores, "<f8").tobytes()).hexdigest()
        outcomes.append(StepOutcome(step, reached, sizes[reached], chosen, scores_digest))
    digests = [outcome.scores_digest for outcome in outcomes]
    digest = _digest([_FORMAT, selected_digest(corpus, domain_name, steps, place), digests, kept.tobytes().hex()])
    return Selection(domain_name, kept, sizes, tuple(outcomes), digest)


def selected_documents(
    corpus: Corpus, selections: Mapping[str, Selection], domain_name: str, sides: tuple[Split, ...]
) -> Iterator[tuple[Split, Document]]:
    """Yield the documents of a domain with their side, as `raw_documents` does, without training documents that a
    selection, by domain, leaves out."""
    selection = selections.get(domain_name)
    number = 0
    for side, document in raw_documents(corpus, domain_name, sides):
        if selection is not None and side == "train" and _has_text(document):
            number += 1
            if not selection.kept[number - 1]:
                continue
        yield side, document


def selected_digest(
    corpus: Corpus,
    domain_name: str,
    steps: Sequence[Step] | None = None,
    place: Place | None = None,
    source: str | None = None,
) -> str:
    """Return a digest (64 hexadecimal digits) that changes when the text of a domain, the steps, or a file that they
    read changes. Without steps it is that of the source, which may be given. Errors as `source_digest`."""
    steps = _of_domain(corpus, domain_name, steps)
    place = place or in_corpus(corpus, domain_name)
    source = source or source_digest(corpus, domain_name)
    if not steps:
        return source
    facts: list[Any] = [_FORMAT, source]
    for number, step in enumerate(steps):
        facts.append(step_mapping(step))
        for path in step.inputs(corpus.folder):
            facts.append(_sha256(path, place(number, step)))
    return _digest(facts)


def _of_domain(corpus: Corpus, domain_name: str, steps: Sequence[Step] | None) -> list[Step]:
    """The steps for one domain, by default those that the corpus states for it."""
    domain = corpus.domain(domain_name)
    return [step.of_domain(domain_name) for step in (domain.select if steps is None else steps)]


@dataclass(frozen=True)
class _Reaching:
    """The `Texts` that reach a step: those of the domain's training documents that are kept so far."""

    corpus: Corpus
    domain_name: str
    reached: np.ndarray
    all_sizes_bytes: np.ndarray
    all_scores: np.ndarray | None
    place: str

    @property
    def folder(self) -> Path:
        return self.corpus.folder

    @property
    def sizes_bytes(self) -> np.ndarray:
        return self.all_sizes_bytes[self.reached]

    @property
    def scores(self) -> np.ndarray | None:
        return None if self.all_scores is None else self.all_scores[self.reached]

    @property
    def numbers(self) -> np.ndarray:
        return np.flatnonzero(self.reached)

    @property
    def total(self) -> int:
        return len(self.reached)

    def __len__(self) -> int:
        return int(self.reached.sum())

    def __iter__(self) -> Iterator[Document]:
        reached, number = self.reached.tolist(), -1
        for number, document in enumerate(_training(self.corpus, self.domain_name)):
            if number >= len(reached):
                raise self._changed()
            if reached[number]:
                yield document
        if number + 1 < len(reached):
            raise self._changed()

    def everything(self) -> Iterator[tuple[Split, Document]]:
        for side, document in raw_documents(self.corpus, self.domain_name, ("train", "valid")):
            if _has_text(document):
                yield side, document

    def _changed(self) -> CorpusError:
        return CorpusError(f"{self.place}: the text changed while it was read; select again")


def _training(corpus: Corpus, domain_name: str) -> Iterator[Document]:
    """The training documents of a domain that hold text."""
    for side, document in raw_documents(corpus, domain_name, ("train",)):
        if side == "train" and _has_text(document):
            yield document


def _has_text(document: Document) -> bool:
    return bool(document.text) and not document.text.isspace()


def in_corpus(corpus: Corpus, domain_name: str) -> Place:
    """Where the corpus states the steps of a domain."""

    def place(number: int, step: Step) -> str:
        keys = ("domains", domain_name, "select", str(number), step.name)
        return f"{corpus.place(*keys)}: {'.'.join(keys)}"

    return place


def _sha256(path: Path, place: str) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise CorpusError(f"{place}: {path}: can't be read: {error.strerror or error}") from None


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
