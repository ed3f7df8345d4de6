"""The documents of a domain as a stream, split into training and validation by a hash of their text.

The hash of its normalised text decides whether a document is for validation: the same text lands on the same side in
every domain, file and order, so that a copy of a training document is never used for validation. A ready-made split
(`validation_path`) is used as it is; `quality` then reports documents that occur on both sides.

Memory doesn't grow with the corpus. Blank documents are skipped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import get_args

from ...core.errors import CorpusError, UsageError
from ...core.files import sha256_file
from ...core.units import shown
from . import builtin
from .corpus import Corpus
from .document import Document, Split, digest_of
from .text_files import TextFile, find_files
from .text_readers import RawText, read_texts

__all__ = ["documents", "files_of", "is_validation", "raw_documents", "source_digest"]

_PARTS = 10_000  # the finest split is one document in so many


def documents(corpus: Corpus, domain_name: str, split: Split) -> Iterator[Document]:
    """Yield the documents of one side of a domain, always in the same order.

    Raises `CorpusError` for an unknown or synthetic domain, text that can't be read, and a side without documents.
    """
    if split not in get_args(Split):
        raise UsageError(f"split: got {shown(split)}; expected train or valid")
    corpus.domain(domain_name)
    return _one_side(corpus, domain_name, split)


def raw_documents(corpus: Corpus, domain_name: str, sides: tuple[Split, ...]) -> Iterator[tuple[Split, Document]]:
    """Yield the documents of a domain with their side, blank ones included, in one pass.

    Where the split is by hash, both sides come whatever `sides` says; a ready-made split is read only as far as asked.
    Raises `CorpusError` as `documents` does, except for sides without documents.
    """
    domain = corpus.domain(domain_name)
    if domain.validation_path is not None:
        for side in sides:
            for raw in _raw_texts(corpus, domain_name, side):
                yield side, Document(*raw, digest_of(raw.text))
        return
    for raw in _raw_texts(corpus, domain_name, "train"):
        document = Document(*raw, digest_of(raw.text))
        yield "valid" if is_validation(document.digest, corpus.validation_share) else "train", document


def files_of(corpus: Corpus, domain_name: str, split: Split) -> list[TextFile]:
    """Return the files that a side of a domain is read from, in order; the same for both where the split is by hash.

    Built-in and synthetic domains have none. Raises `CorpusError` if a path leads to nothing that can be read, or both
    to the same file.
    """
    domain = corpus.domain(domain_name)
    if domain.path is None:
        return []
    train = _found(corpus, domain_name, "path", domain.path)
    if domain.validation_path is None:
        return train
    valid = _found(corpus, domain_name, "validation_path", domain.validation_path)
    both = {file.path.resolve() for file in train}.intersection(file.path.resolve() for file in valid)
    if both:
        place = _place(corpus, domain_name, "validation_path")
        raise CorpusError(
            f"{place}: {min(both)} is read for training, too, by domains.{domain_name}.path; expected other files"
        )
    return train if split == "train" else valid


def is_validation(digest: bytes, validation_share: float) -> bool:
    """Is the document with this digest kept for validation? So is a share of all texts, to one part in 10,000."""
    return int.from_bytes(digest[:4], "big") % _PARTS < round(validation_share * _PARTS)


def source_digest(corpus: Corpus, domain_name: str) -> str:
    """Return a digest (64 hexadecimal digits) that changes when the documents of a domain, or their split, may change.

    It covers the content of the files in reading order, not their names, places and times, so a copy elsewhere has the
    same one; the text field and the share kept for validation; the text of a built-in domain; the configuration of a
    synthetic one. Files are read once, at the speed of SHA-256. Raises `CorpusError` if they can't be.
    """
    domain = corpus.domain(domain_name)
    share = None if domain.validation_path is not None else corpus.validation_share
    facts: list[object] = ["corpus source 1", domain.kind, share]
    if domain.synthetic is not None:
        facts += [domain.synthetic.model_dump(mode="json")]
    elif domain.builtin is not None:
        facts += [[text.name, digest_of(text.text).hex()] for text in builtin.texts(domain.builtin)]
    else:
        facts += [domain.text_field]
        sides: tuple[Split, ...] = ("train",) if domain.validation_path is None else ("train", "valid")
        for side in sides:
            facts += [side, *([file.kind, file.packing, _sha256(file)] for file in files_of(corpus, domain_name, side))]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _one_side(corpus: Corpus, domain_name: str, split: Split) -> Iterator[Document]:
    """Yield what `documents` promises."""
    wanted = others = 0
    for side, document in raw_documents(corpus, domain_name, (split,)):
        if document.text.isspace() or not document.text:
            continue
        if side == split:
            wanted += 1
            yield document
        else:
            others += 1
    if not wanted:
        raise CorpusError(_no_documents(corpus, domain_name, split, others))


def _no_documents(corpus: Corpus, domain_name: str, split: Split, others: int) -> str:
    """Return why a side has no documents, `others` being the documents of the other side, and what to do."""
    place = _place(corpus, domain_name)
    if not others:
        return f"{place}: holds no document with text; expected at least one"
    if split == "train":
        return f"{place}: all {others} documents fall to validation; give more documents or a lower validation_share"
    if not corpus.validation_share:
        return f"{place}: validation_share is 0; expected a share above 0, or a validation_path"
    return (
        f"{place}: none of {others} documents falls to validation, with a validation_share of "
        f"{corpus.validation_share:g}; give more (shorter) documents, a higher share, or a validation_path"
    )


def _raw_texts(corpus: Corpus, domain_name: str, side: Split) -> Iterator[RawText]:
    """Yield the texts of a domain's path or validation path, or of its built-in source."""
    domain = corpus.domain(domain_name)
    if domain.synthetic is not None:
        raise CorpusError(
            f"{_place(corpus, domain_name)}: is synthetic and has tokens, not documents; expected a domain of text"
        )
    if domain.builtin is not None:
        yield from (RawText(text.text, f"{domain.builtin}:{text.name}") for text in builtin.texts(domain.builtin))
    for file in files_of(corpus, domain_name, side):
        yield from read_texts(file, domain.text_field)


def _found(corpus: Corpus, domain_name: str, key: str, pattern: str) -> list[TextFile]:
    """Return the files that a domain's path or validation path names."""
    return find_files(corpus.folder, pattern, _place(corpus, domain_name, key))


def _place(corpus: Corpus, *keys: str) -> str:
    """Return where a domain, or a key of it, was set, and its name, to start a message with."""
    return f"{corpus.place('domains', *keys)}: {'.'.join(('domains', *keys))}"


def _sha256(file: TextFile) -> str:
    try:
        return sha256_file(file.path)
    except OSError as error:
        raise CorpusError(f"{file.path}: can't be read: {error.strerror or error}") from error
