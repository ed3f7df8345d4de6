"""What a derived corpus is: what was kept of each domain, what went, and how the text has shifted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....core.version import __version__
from ...provenance.provenance import Provenance
from ..selection import Selection

__all__ = ["FORMAT", "Derived", "DerivedDomain", "Example", "Leaks", "Written", "WrittenFile"]

FORMAT = 1
"""Of `selection.json`."""

_QUARTILES = (0.25, 0.5, 0.75)
_NOT_SELECTED = "none"


@dataclass(frozen=True, slots=True)
class Example:
    """The beginning of a document that a step left out, where it stands, and its score; None where it had none."""

    text: str
    where: str
    score: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"text": self.text, "where": self.where, "score": self.score}


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of documents of one provenance: its name in the folder, how many it holds, and their bytes of text."""

    file: str
    documents: int
    bytes: int
    sha256: str
    """Of the file as it is on disk."""
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        counts = {"file": self.file, "documents": self.documents, "bytes": self.bytes}
        return {**counts, "sha256": self.sha256, "provenance": self.provenance.model_dump(mode="json")}


@dataclass(frozen=True, slots=True)
class Written:
    """One side of a domain: how it is named in `corpora.yaml`, a file or a pattern, and its files by provenance."""

    file: str
    files: tuple[WrittenFile, ...]

    @property
    def documents(self) -> int:
        """Documents of all files."""
        return sum(file.documents for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of text of all files."""
        return sum(file.bytes for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        files = [file.to_dict() for file in self.files]
        return {"file": self.file, "documents": self.documents, "bytes": self.bytes, "files": files}


@dataclass(frozen=True, slots=True)
class Leaks:
    """Training documents of a domain whose text is also for validation, of any domain, before and after the selection.

    `whole` are copies but for white space, `near` share half of their text at least with validation documents (see
    `LeakFinder`); `where` are the places of some that were kept.
    """

    whole: int = 0
    near: int = 0
    whole_kept: int = 0
    near_kept: int = 0
    where: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        kept = {"whole_kept": self.whole_kept, "near_kept": self.near_kept}
        return {"whole": self.whole, "near": self.near, **kept, "where": list(self.where)}


@dataclass(frozen=True)
class DerivedDomain:
    """One domain of text.

    `inputs` and `examples` have one entry a step: the SHA-256 of the files that it read, by name, and documents that it
    left out, drawn at random. `train` and `valid` are None where no file was written: text that is built in, and a
    split without validation documents.
    """

    selection: Selection
    source_digest: str
    inputs: tuple[Mapping[str, str], ...]
    examples: tuple[tuple[Example, ...], ...]
    leaks: Leaks
    train: Written | None
    valid: Written | None

    @property
    def lengths_before(self) -> tuple[float, float, float]:
        """Quartiles of the sizes of training documents before the selection, bytes."""
        return _quartiles(self.selection.sizes_bytes)

    @property
    def lengths_after(self) -> tuple[float, float, float]:
        """The same of those that are kept."""
        return _quartiles(self.selection.sizes_bytes[self.selection.kept])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        selected = self.selection.to_dict()
        steps = [
            {**step, "inputs": dict(read), "examples_left_out": [example.to_dict() for example in examples]}
            for step, read, examples in zip(selected["steps"], self.inputs, self.examples, strict=True)
        ]
        return _plain(
            {
                **selected,
                "source_digest": self.source_digest,
                "length_quartiles_bytes": list(self.lengths_before),
                "length_quartiles_kept_bytes": list(self.lengths_after),
                "leaks": self.leaks.to_dict(),
                "train": None if self.train is None else self.train.to_dict(),
                "valid": None if self.valid is None else self.valid.to_dict(),
                "steps": steps,
            }
        )


@dataclass(frozen=True)
class Derived:
    """A derived corpus: where it is, what it was made from, and what was kept of each domain of text.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "web.jsonl").write_text('{"text": "one two"}\\n{"text": "one  two"}\\n')
    ...     web = {"path": "web.jsonl", "select": ["dedup"]}
    ...     corpus = foretrain.Corpus.from_mapping({"validation_share": 0, "domains": {"web": web}}, folder=folder)
    ...     derived = foretrain.derive(corpus, Path(folder, "kept"))
    >>> derived.kind, round(derived.keep, 2), derived.domains["web"].train.documents
    ('dedup', 0.47, 1)
    """

    folder: Path
    """Its folder."""
    name: str
    """The corpus's name."""
    where: str
    """The file that described the source."""
    domains: Mapping[str, DerivedDomain]
    """What was kept of each domain of text."""
    synthetic: tuple[str, ...] = ()
    """The domains that have tokens and no documents, which are taken over as they are."""

    @property
    def kind(self) -> str:
        """The kind of selection, as run tables and plans know it: the names of its steps joined by `+`. Of domains with
        different steps, all of them, in the order in which they are met."""
        steps = [outcome.step.name for domain in self.domains.values() for outcome in domain.selection.outcomes]
        return "+".join(dict.fromkeys(steps)) or _NOT_SELECTED

    @property
    def keep(self) -> float:
        """Share of the bytes of all training text that is kept."""
        return self.bytes_kept / self.bytes

    @property
    def bytes(self) -> int:
        """Bytes of training text before the selection."""
        return sum(int(domain.selection.sizes_bytes.sum()) for domain in self.domains.values())

    @property
    def bytes_kept(self) -> int:
        """Bytes of training text that is kept."""
        return sum(int(one.selection.sizes_bytes[one.selection.kept].sum()) for one in self.domains.values())

    def files(self) -> tuple[WrittenFile, ...]:
        """Every file of text that was written."""
        sides = [side for domain in self.domains.values() for side in (domain.train, domain.valid)]
        return tuple(file for side in sides if side is not None for file in side.files)

    def shares(self) -> dict[str, tuple[float, float]]:
        """Each domain's share of the bytes of training text, before and after."""
        before, after = self.bytes, self.bytes_kept
        return {
            name: (
                float(one.selection.sizes_bytes.sum() / before),
                float(one.selection.sizes_bytes[one.selection.kept].sum() / after),
            )
            for name, one in self.domains.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the same corpus and settings give the same."""
        shares = self.shares()
        return {
            "format": FORMAT,
            "foretrain": __version__,
            "name": self.name,
            "kind": self.kind,
            "keep": self.keep,
            "bytes": self.bytes,
            "bytes_kept": self.bytes_kept,
            "domains": {
                name: {"kind": kind_of(one.selection), "share": shares[name][0], "share_kept": shares[name][1]}
                | one.to_dict()
                for name, one in self.domains.items()
            },
            "synthetic": list(self.synthetic),
        }


def kind_of(selection: Selection) -> str:
    """The name under which runs and plans know a selection: its steps joined by `+`, `none` without any."""
    return "+".join(outcome.step.name for outcome in selection.outcomes) or _NOT_SELECTED


def _quartiles(sizes: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = np.quantile(sizes, _QUARTILES).tolist()
    return low, middle, high


def _plain(value: Any) -> Any:
    """A nest as JSON can say it: numbers of NumPy as Python's, those that aren't finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
