"""Where the text of a domain is from, file by file: as a manifest says, as `corpora.yaml` says, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..corpus.builtin import BuiltinName
from ..corpus.corpus import Corpus
from ..corpus.document import Document, Split
from ..corpus.documents import files_of
from .manifest import Manifests
from .provenance import Provenance

__all__ = ["BUILT_IN", "DomainProvenance"]

UNKNOWN = Provenance()

BUILT_IN: dict[BuiltinName, Provenance] = {
    "python_source": Provenance(source="Python's standard library", licence="PSF-2.0"),
    "documentation": Provenance(source="help and docstrings of installed packages", licence="PSF-2.0, BSD-3, MIT"),
    "headers": Provenance(source="headers of installed packages", licence="PSF-2.0, BSD-3, Apache-2.0"),
}
"""Built-in text: the licences under which the packages are published. Nobody has said what wrote it."""


class DomainProvenance:
    """The provenance of each document of a domain of text.

    What a manifest beside a file says of it holds; the `provenance` that the domain states is that of its other files.

    >>> corpus = Corpus.from_mapping({"domains": {"py": {"builtin": "python_source"}}})
    >>> [one.licence for one in DomainProvenance(corpus, "py").all()]
    ['PSF-2.0']
    """

    def __init__(self, corpus: Corpus, name: str) -> None:
        """Read the manifests. Raises CorpusError for one that is damaged, or lists a file that isn't what it was."""
        domain = corpus.domain(name)
        stated = domain.provenance
        if stated is None:
            stated = UNKNOWN if domain.builtin is None else BUILT_IN[domain.builtin]
        manifests = Manifests()
        sides: Sequence[Split] = ("train",) if domain.validation_path is None else ("train", "valid")
        self._sides: dict[Split, dict[Path, Provenance]] = {
            side: {file.path: manifests.of(file.path) or stated for file in files_of(corpus, name, side)}
            for side in sides
        }
        self._stated = stated
        self._by_place = {str(path): one for files in self._sides.values() for path, one in files.items()}

    def all(self, side: Split | None = None) -> tuple[Provenance, ...]:
        """Every provenance that a side's files have, or both sides', once, in the order in which they are read.

        Where the split is by hash, both sides have the same.
        """
        asked = list(self._sides.values()) if side is None else [self._sides.get(side, self._sides["train"])]
        found = [one for files in asked for one in files.values()]
        return tuple(dict.fromkeys(found or [self._stated]))

    def of(self, document: Document) -> Provenance:
        """The provenance of one document of the domain."""
        if not self._by_place:
            return self._stated
        found = self._by_place.get(document.where)
        return self._by_place[document.where.rpartition(":")[0]] if found is None else found

    @property
    def known(self) -> tuple[Provenance, ...]:
        """Those of which anything is known."""
        return tuple(one for one in self.all() if one != UNKNOWN)
