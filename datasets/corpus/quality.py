"""What is in a corpus: sizes, copies, leaks between training and validation, and figures of quality, per domain.

One pass over the text, in memory that doesn't grow with it. What is exact and what is estimated is said where it is
computed (`duplicates`, `text_figures`) and in the report's notes. Near-copies (a page with another date) are not looked
for: the counts of copies are lower bounds of the repetition in the text.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar, get_args

from ...core.errors import CorpusError
from ...core.progress import Progress
from ..provenance.domains import DomainProvenance
from ..provenance.provenance import Origin, Provenance
from .builtin import LIMITS
from .corpus import Corpus
from .document import Document, Split
from .documents import files_of, raw_documents
from .duplicates import DuplicateTracker, SharedDocuments
from .synthetic import build_source
from .text_figures import FigureCounter, TextFigures
from .token_sample import TokenCounter, TokenSample

__all__ = ["CorpusReport", "DomainReport", "Overlap", "SourceReport", "SyntheticReport", "inspect"]

_log = logging.getLogger(__name__)
_Key = TypeVar("_Key")

_SIDES: tuple[Split, ...] = get_args(Split)
_REPORT_EVERY = 500
# Below these, a validation loss is mostly noise (proxies notes: 328 kB gave a standard error of .005 nats).
_FEW_DOCUMENTS, _FEW_BYTES = 20, 100_000
_MANY_COPIES = 0.05


@dataclass(frozen=True, slots=True)
class SourceReport:
    """The text of a domain that has one provenance: documents with text, and bytes of UTF-8 on either side."""

    provenance: Provenance
    documents: int
    train_bytes: int
    valid_bytes: int

    @property
    def bytes(self) -> int:
        """Of both sides."""
        return self.train_bytes + self.valid_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: what is known of the provenance, and the counts."""
        counts = {key: getattr(self, key) for key in ("documents", "train_bytes", "valid_bytes")}
        return {**self.provenance.model_dump(mode="json", exclude_none=True), **counts}


@dataclass(frozen=True, slots=True)
class DomainReport:
    """One domain of text. Counts are of documents with text; bytes are of UTF-8 as found, copies included."""

    kind: str
    files: int
    documents: int
    empty_documents: int
    bytes: int
    characters: int
    train_documents: int
    train_bytes: int
    valid_documents: int
    valid_bytes: int
    duplicate_documents: int
    """Documents whose normalised text occurred before in this domain; an estimate if the report's notes say so."""
    duplicate_bytes_share: float
    figures: TextFigures
    bytes_per_token: float | None = None
    """Bytes of text per token, counted on a sample; None where no tokenizer is given."""
    sources: tuple[SourceReport, ...] = ()
    """The text by provenance, as `corpora.yaml` or a manifest says it."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; keys have their unit in the name, those of `figures` stand beside the others."""
        plain = asdict(replace(self, sources=()))
        figures = plain.pop("figures")
        return {**plain, **figures, "sources": [source.to_dict() for source in self.sources]}


@dataclass(frozen=True, slots=True)
class SyntheticReport:
    """One synthetic domain: its vocabulary, and its entropies in nats per token."""

    vocab_size: int
    tokens: float
    entropy_nats: float
    unigram_entropy_nats: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"kind": "synthetic", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Overlap:
    """Different texts that occur in two places, each a domain and its side; `leak` if just one is for validation."""

    first_domain: str
    first_split: Split
    second_domain: str
    second_split: Split
    documents: int

    @property
    def leak(self) -> bool:
        """Is text that losses are measured on also trained on?"""
        return self.first_split != self.second_split

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, `leak` included."""
        return {**asdict(self), "leak": self.leak}


@dataclass(frozen=True)
class CorpusReport:
    """What `inspect` found: domains by name, text that occurs in two places, and notes in plain sentences.

    `duplicates_estimated` says that counts of copies and overlaps are scaled up from a sample.
    """

    where: str
    domains: dict[str, DomainReport | SyntheticReport]
    overlaps: tuple[Overlap, ...] = ()
    duplicates_estimated: bool = False
    notes: tuple[str, ...] = ()
    tokenizer: str | None = None
    vocab_size: int | None = None

    @property
    def bytes_per_token(self) -> float | None:
        """Of all domains of text together, each by its size; None where no tokenizer is given."""
        texts = [report for report in self.domains.values() if isinstance(report, DomainReport)]
        tokens = sum(text.bytes / text.bytes_per_token for text in texts if text.bytes_per_token)
        return sum(text.bytes for text in texts) / tokens if tokens else None

    def share_by_origin(self) -> dict[Origin, float]:
        """The share of the bytes of all domains of text that each origin wrote, as far as anybody has said."""
        return self._shares(lambda provenance: provenance.origin)

    def share_by_licence(self) -> dict[str | None, float]:
        """The same by licence; None for text whose licence nobody has said."""
        return self._shares(lambda provenance: provenance.licence)

    def _shares(self, key: Callable[[Provenance], _Key]) -> dict[_Key, float]:
        sources = [one for found in self.domains.values() if isinstance(found, DomainReport) for one in found.sources]
        sizes = Counter[_Key]()
        for source in sources:
            sizes[key(source.provenance)] += source.bytes
        return {value: size / sizes.total() for value, size in sizes.most_common()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; the same corpus gives the same."""
        return {
            "domains": {name: report.to_dict() for name, report in self.domains.items()},
            "share_by_origin": self.share_by_origin(),
            "share_by_licence": {name or "unknown": share for name, share in self.share_by_licence().items()},
            "overlaps": [overlap.to_dict() for overlap in self.overlaps],
            "duplicates_estimated": self.duplicates_estimated,
            "notes": list(self.notes),
            "tokenizer": self.tokenizer,
            "vocab_size": self.vocab_size,
            "bytes_per_token": self.bytes_per_token,
        }


def inspect(corpus: Corpus, progress: Progress | None = None, tokenizer: TokenCounter | None = None) -> CorpusReport:
    """Read a whole corpus once and report sizes, duplicates, overlaps between domains and figures of the text.

    Args:
        corpus: The corpus.
        progress: Called with the number of documents read so far, and the share of domains that are done.
        tokenizer: Whose bytes per token are counted, on a sample of each domain.

    Returns:
        The report; `domains` has one entry per domain, `notes` says in plain sentences what looks wrong.

    Raises:
        CorpusError: Text is missing or can't be read.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, text in {"1": "one two", "2": "one two", "3": "three"}.items():
    ...         _ = Path(folder, f"{name}.txt").write_text(text)
    ...     corpus = foretrain.Corpus.from_mapping({"domains": {"web": {"path": f"{folder}/*.txt"}}})
    ...     web = foretrain.inspect(corpus).domains["web"]
    >>> web.documents, web.duplicate_documents, web.bytes
    (3, 1, 19)
    """
    tracker = DuplicateTracker()
    domains: dict[str, DomainReport | SyntheticReport] = {}
    for number, (name, domain) in enumerate(corpus.domains.items()):
        if domain.synthetic is not None:
            source = build_source(domain.synthetic)
            domains[name] = SyntheticReport(
                source.vocab_size, domain.synthetic.tokens, source.entropy_nats, source.unigram_entropy_nats
            )
        else:
            domains[name] = _inspected(corpus, name, number, tracker, progress, tokenizer)
    overlaps = tuple(_overlap(shared, list(domains)) for shared in tracker.shared())
    notes = _notes(corpus, domains, overlaps, tracker.estimated)
    if progress is not None:
        progress("done", 1.0)
    report = CorpusReport(corpus.where, domains, overlaps, tracker.estimated, notes)
    return report if tokenizer is None else replace(report, tokenizer=tokenizer.name, vocab_size=tokenizer.vocab_size)


def _inspected(
    corpus: Corpus,
    name: str,
    number: int,
    tracker: DuplicateTracker,
    progress: Progress | None,
    tokenizer: TokenCounter | None,
) -> DomainReport:
    """Return the report on one domain of text, the `number`-th; add its documents to the tracker."""
    before = number / len(corpus.domains)
    counter = FigureCounter()
    sample = None if tokenizer is None else TokenSample()
    sources = _SourceCounter(DomainProvenance(corpus, name))
    documents, sizes = dict.fromkeys(_SIDES, 0), dict.fromkeys(_SIDES, 0)
    empty = 0
    for done, (side, document) in enumerate(raw_documents(corpus, name, _SIDES)):
        if progress is not None and done % _REPORT_EVERY == 0:
            progress(f"{name}: {done:,} documents", before)
        if not document.text or document.text.isspace():
            empty += 1
            continue
        size = len(document.text.encode("utf-8"))
        documents[side] += 1
        sizes[side] += size
        counter.add(document.text, document.digest)
        sources.add(document, side, size)
        if sample is not None:
            sample.add(document.text, document.digest)
        tracker.add(number, _SIDES.index(side), document.digest, size)
    if not counter.documents:
        place = corpus.place("domains", name)
        raise CorpusError(f"{place}: domains.{name}: holds no document with text; expected at least one")
    if progress is not None:
        progress(f"{name}: {counter.documents + empty:,} documents", before)
    _log.info("%s: read %d documents, %d of them empty", name, counter.documents + empty, empty)
    copies = tracker.copies(number)
    total = sum(sizes.values())
    return DomainReport(
        kind=corpus.domains[name].kind,
        files=_file_count(corpus, name),
        documents=counter.documents,
        empty_documents=empty,
        bytes=total,
        characters=counter.characters,
        **{f"{side}_documents": documents[side] for side in _SIDES},
        **{f"{side}_bytes": sizes[side] for side in _SIDES},
        duplicate_documents=copies.documents,
        duplicate_bytes_share=min(1.0, copies.bytes / total),
        figures=counter.figures(),
        bytes_per_token=None if sample is None or tokenizer is None else sample.bytes_per_token(tokenizer),
        sources=sources.reports(),
    )


class _SourceCounter:
    """Counts the text of a domain by its provenance."""

    def __init__(self, provenance: DomainProvenance) -> None:
        self._provenance = provenance
        self._documents = Counter[Provenance]()
        self._bytes: dict[Split, Counter[Provenance]] = {side: Counter() for side in _SIDES}

    def add(self, document: Document, side: Split, size: int) -> None:
        """Add a document of so many bytes."""
        found = self._provenance.of(document)
        self._documents[found] += 1
        self._bytes[side][found] += size

    def reports(self) -> tuple[SourceReport, ...]:
        """What was counted, in the order in which it was met."""
        return tuple(
            SourceReport(one, count, **{f"{side}_bytes": self._bytes[side][one] for side in _SIDES})
            for one, count in self._documents.items()
        )


def _file_count(corpus: Corpus, name: str) -> int:
    """Return the number of files of both sides."""
    sides = _SIDES if corpus.domains[name].validation_path is not None else _SIDES[:1]
    return sum(len(files_of(corpus, name, side)) for side in sides)


def _overlap(shared: SharedDocuments, names: list[str]) -> Overlap:
    """Return what two places share, with names for numbers."""
    (first, first_side), (second, second_side) = shared.first, shared.second
    return Overlap(names[first], _SIDES[first_side], names[second], _SIDES[second_side], shared.documents)


def _notes(
    corpus: Corpus, domains: dict[str, DomainReport | SyntheticReport], overlaps: tuple[Overlap, ...], estimated: bool
) -> tuple[str, ...]:
    """Return the report's notes, as sentences."""
    notes = [_overlap_note(overlap, estimated) for overlap in overlaps]
    for name, report in domains.items():
        if isinstance(report, DomainReport):
            notes += _domain_notes(name, report)
    for name, domain in corpus.domains.items():
        if domain.select:
            steps = ", ".join(step.name for step in domain.select)
            notes.append(f"{name}: figures are of the text before its selection ({steps}).")
    if any(domain.builtin for domain in corpus.domains.values()):
        notes.append(LIMITS)
    if estimated:
        notes.append("There are too many documents to track each: counts of copies are scaled up from a sample.")
    return tuple(notes)


def _overlap_note(overlap: Overlap, estimated: bool) -> str:
    """Return a sentence on text that occurs in two places."""
    count = f"{'About ' if estimated else ''}{overlap.documents} {'text' if overlap.documents == 1 else 'texts'}"
    if not overlap.leak:
        return f"{count} of {overlap.first_domain} also in {overlap.second_domain} ({overlap.first_split})."
    sides = {overlap.first_split: overlap.first_domain, overlap.second_split: overlap.second_domain}
    return (
        f"{count} of the validation split of {sides['valid']} also in the training split of {sides['train']}: "
        "losses measured on that text are too low; take it out of training."
    )


def _domain_notes(name: str, report: DomainReport) -> list[str]:
    """Return what stands out in one domain."""
    notes = []
    if not report.train_documents or not report.valid_documents:
        side = "validation" if report.train_documents else "training"
        notes.append(f"{name}: no document falls to {side}; give more documents or a validation_path.")
    elif report.valid_documents < _FEW_DOCUMENTS or report.valid_bytes < _FEW_BYTES:
        count = f"{report.valid_documents} document{'s' if report.valid_documents > 1 else ''}"
        size = f"{count} and {report.valid_bytes} bytes"
        notes.append(f"{name}: the validation split has only {size}; losses measured on it are noisy.")
    if report.duplicate_bytes_share > _MANY_COPIES:
        notes.append(f"{name}: {report.duplicate_bytes_share:.0%} of its bytes repeat earlier documents.")
    written = sum(source.valid_bytes for source in report.sources if source.provenance.origin == "generator")
    if written:
        share = f"{written / report.valid_bytes:.1%}"
        notes.append(f"{name}: generators wrote {share} of its validation text; losses on it don't tell of real text.")
    if report.figures.replacement_share > 1e-4:
        notes.append(f"{name}: {report.figures.replacement_share:.2%} of its characters are U+FFFD: wrongly decoded?")
    return notes
