"""`derive`: run the steps of a corpus and write what they keep as a corpus of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import CorpusError
from ....core.files import file_slug, sha256_file, write_json, write_text
from ....core.output.plain import visible
from ....core.progress import Progress
from ....core.reading.yaml_reader import dumps_yaml
from ...corpus.corpus import Corpus
from ...corpus.document import Document, Split
from ...corpus.documents import documents, raw_documents, source_digest
from ...provenance.domains import DomainProvenance
from ...provenance.manifest import write_manifest
from ..selection import Selection, select
from .destination import CORPORA_NAME, SELECTION_NAME, check_destination, replacing
from .leaks import LeakFinder
from .lines import Lines
from .result import Derived, DerivedDomain, Example, Leaks, Written

__all__ = ["derive"]

_EXAMPLES = 10
_EXAMPLE_CHARACTERS = 200
_MOST_PLACES = 5
_REPORT_EVERY = 500
_SELECTING, _VALIDATING = 0.7, 0.8  # shares of the work that are done after it


def derive(corpus: Corpus, out: str | os.PathLike[str], progress: Progress | None = None) -> Derived:
    """Run the steps of every domain that states some, and write the kept text as a corpus of its own.

    The folder is written whole: its earlier files stay until all is done. It holds `corpora.yaml`, which `prepare`,
    `inspect` and spaces of proxies take as it is; the documents of each side of each domain as JSON lines, `text` and
    `source`, where it stood, in a file for each provenance; `provenance.json`, which lists them with their digests; and
    `selection.json`, which says from what and how it was made. Domains without steps are
    copied, validation documents are taken over untouched, as a ready-made split; `unique_tokens` shrink by the share
    kept. Built-in domains without steps, and synthetic ones, stay what they are. Memory grows by some numbers for each
    training document, and by at most some 100 MB for validation text.

    Args:
        corpus: The corpus; one domain of it at least states steps.
        out: The folder: new, empty, or holding an earlier derived corpus.
        progress: Called with what is being done and the share done, 0 to 1.

    Returns:
        What was kept and what went.

    Raises:
        CorpusError: No domain states steps; text can't be read, a step can't be done or keeps nothing; or the folder
            holds something else, or the corpus's own text.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, text in {"1": "one two", "2": "one two", "3": "three"}.items():
    ...         _ = Path(folder, f"{name}.txt").write_text(text)
    ...     web = {"path": f"{folder}/*.txt", "select": [{"dedup": {"kind": "exact"}}]}
    ...     corpus = foretrain.Corpus.from_mapping({"validation_share": 0, "domains": {"web": web}})
    ...     derived = foretrain.derive(corpus, Path(folder, "kept"))
    >>> derived.kind, round(derived.keep, 2)
    ('dedup', 0.63)
    """
    if not any(domain.select for domain in corpus.domains.values()):
        raise CorpusError(
            f"{corpus.place('domains')}: no domain states steps of a selection; expected some in one of "
            f"{', '.join(corpus.domains)}, such as select: [{{dedup: {{kind: exact}}}}]"
        )
    folder = check_destination(corpus, out)
    return _Derivation(corpus, folder, progress or (lambda text, share: None)).run()


class _Derivation:
    """One run of `derive`."""

    def __init__(self, corpus: Corpus, folder: Path, progress: Progress) -> None:
        self._corpus, self._folder, self._progress = corpus, folder, progress
        self._texts = [name for name, domain in corpus.domains.items() if domain.synthetic is None]
        self._provenance = {name: DomainProvenance(corpus, name) for name in self._texts}
        self._finder = LeakFinder()

    def run(self) -> Derived:
        sources = {name: source_digest(self._corpus, name) for name in self._texts}
        selections = {name: self._selected(number, name) for number, name in enumerate(self._texts)}
        with replacing(self._folder) as new:
            valid = {name: self._validation(new, number, name) for number, name in enumerate(self._texts)}
            domains = {
                name: self._training(new, number, selections[name], valid[name])
                for number, name in enumerate(self._texts)
            }
            for name, domain in domains.items():
                if domain.source_digest != sources[name]:
                    raise self._changed(name)
            derived = Derived(
                folder=self._folder,
                name=self._corpus.name or "corpus",
                where=self._corpus.where,
                domains=domains,
                synthetic=tuple(name for name in self._corpus.domains if name not in domains),
            )
            write_json(new / SELECTION_NAME, derived.to_dict())
            write_manifest(new, {file.file: file.provenance for file in derived.files()})
            write_text(new / CORPORA_NAME, _described(self._corpus, derived))
        self._progress("done", 1.0)
        return derived

    def _selected(self, number: int, name: str) -> Selection:
        """Run the steps of a domain, none for one that states none."""

        def report(text: str, share: float) -> None:
            self._progress(text, _SELECTING * (number + share) / len(self._texts))

        return select(self._corpus, name, progress=report)

    def _validation(self, new: Path, number: int, name: str) -> Written | None:
        """Write the validation documents of a domain and learn their text; None where there are none."""
        before = _SELECTING + (_VALIDATING - _SELECTING) * number / len(self._texts)
        found = (
            document
            for side, document in raw_documents(self._corpus, name, ("valid",))
            if side == "valid" and document.text and not document.text.isspace()
        )
        with self._lines(new, name, "valid") as lines:
            for document in found:
                if lines.documents % _REPORT_EVERY == 0:
                    self._progress(f"{name}: {lines.documents:,} validation documents", before)
                self._finder.add(document)
                lines.add(document, self._source(document))
            written = lines.written()
        if written is None and self._corpus.domains[name].validation_path is not None:
            place = self._corpus.place("domains", name, "validation_path")
            raise CorpusError(f"{place}: domains.{name}.validation_path: holds no document with text; expected one")
        return written

    def _training(self, new: Path, number: int, selection: Selection, valid: Written | None) -> DerivedDomain:
        """Write the kept training documents of a domain; note examples of the others, and leaks."""
        name = selection.domain
        wanted = _examples(selection)
        examples: list[list[Example]] = [[] for _ in selection.outcomes]
        leaks = _LeakCounter(self._finder)
        place = -1
        with self._lines(new, name, "train") as lines:
            for place, document in enumerate(documents(self._corpus, name, "train")):
                if place % _REPORT_EVERY == 0:
                    done = (number + place / len(selection.kept)) / len(self._texts)
                    self._progress(f"{name}: {place:,} documents", _VALIDATING + (1.0 - _VALIDATING) * done)
                if place >= len(selection.kept):
                    break
                is_kept = bool(selection.kept[place])
                source = self._source(document)
                leaks.add(document, source, is_kept)
                if is_kept:
                    lines.add(document, source)
                elif place in wanted:
                    step, score = wanted[place]
                    examples[step].append(Example(document.text[:_EXAMPLE_CHARACTERS], source, score))
            if place + 1 != len(selection.kept):
                raise self._changed(name)
            train = lines.written()
        return DerivedDomain(
            selection=selection,
            source_digest=source_digest(self._corpus, name),
            inputs=tuple(
                {self._relative(str(path)): sha256_file(path) for path in outcome.step.inputs(self._corpus.folder)}
                for outcome in selection.outcomes
            ),
            examples=tuple(map(tuple, examples)),
            leaks=leaks.found(),
            train=train,
            valid=valid,
        )

    def _changed(self, name: str) -> CorpusError:
        where = self._corpus.place("domains", name)
        return CorpusError(f"{where}: domains.{name}: the text changed while it was read; select again")

    def _lines(self, new: Path, name: str, side: Split) -> Lines:
        """Where the documents of a side go; those of a domain that is taken over as it is go nowhere."""
        domain = self._corpus.domains[name]
        stays = domain.builtin is not None and not domain.select
        return Lines(new, file_slug(name), side, self._provenance[name], stays)

    def _source(self, document: Document) -> str:
        return self._relative(document.where)

    def _relative(self, where: str) -> str:
        """A place as seen from the corpora file, so that the same corpus gives the same files wherever one stands."""
        return visible(where.removeprefix(f"{self._corpus.folder}{os.sep}"))


class _LeakCounter:
    """Counts the training documents of a domain that stand in validation text."""

    def __init__(self, finder: LeakFinder) -> None:
        self._finder = finder
        self._counts: dict[str, int] = dict.fromkeys(("whole", "near", "whole_kept", "near_kept"), 0)
        self._where: list[str] = []

    def add(self, document: Document, source: str, is_kept: bool) -> None:
        """Add a training document."""
        kind = "whole" if self._finder.whole(document) else "near" if self._finder.near(document) else None
        if kind is None:
            return
        self._counts[kind] += 1
        if is_kept:
            self._counts[f"{kind}_kept"] += 1
            if len(self._where) < _MOST_PLACES:
                self._where.append(source)

    def found(self) -> Leaks:
        """What was counted."""
        return Leaks(**self._counts, where=tuple(self._where))


def _examples(selection: Selection) -> dict[int, tuple[int, float | None]]:
    """The documents to show of those that each step left out: their step and score by their number."""
    found: dict[int, tuple[int, float | None]] = {}
    for number, outcome in enumerate(selection.outcomes):
        gone = np.flatnonzero(~outcome.chosen.kept)
        rng = np.random.default_rng([outcome.step.seed, number])
        for place in np.sort(rng.permutation(gone)[:_EXAMPLES]).tolist():
            score = float(outcome.chosen.scores[place])
            found[int(outcome.reached[place])] = (number, score if np.isfinite(score) else None)
    return found


def _described(corpus: Corpus, derived: Derived) -> str:
    """The `corpora.yaml` of a derived corpus, with a name of its own, which run tables give as the source of runs."""
    mapping = corpus.to_mapping()
    mapping["name"] = corpus.text_name
    mapping["tokenizer"] = corpus.tokenizer.model_dump(mode="json", exclude_none=True)
    mapping["domains"] = {
        name: _domain(described, derived.domains[name]) if name in derived.domains else described
        for name, described in mapping["domains"].items()
    }
    head = (
        f"# Made by foretrain: {derived.kind}, {derived.keep:.4g} of the text kept; {SELECTION_NAME} says from what.\n"
    )
    return head + dumps_yaml({key: value for key, value in mapping.items() if value is not None})


def _domain(described: Mapping[str, Any], derived: DerivedDomain) -> dict[str, Any]:
    """A domain of the derived corpus: its files instead of its source, its stock by the share kept."""
    kept = dict(described)
    kept.pop("select", None)
    if derived.train is None:
        return kept
    for key in ("path", "validation_path", "text_field", "builtin"):
        kept.pop(key, None)
    files: Sequence[tuple[str, Written | None]] = (("path", derived.train), ("validation_path", derived.valid))
    if "unique_tokens" in kept:
        kept["unique_tokens"] = max(round(kept["unique_tokens"] * derived.selection.kept_share), 1)
    return {**{key: written.file for key, written in files if written is not None}, **kept}
