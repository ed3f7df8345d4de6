"""Nats per byte of a corpus' documents under a trained proxy, as the file that the step `perplexity` reads."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ...core.errors import UsageError
from ...core.files import write_text
from ...core.progress import Progress
from ...core.units import shown
from ...datasets.corpus.corpus import Corpus
from ...datasets.corpus.documents import documents
from ...datasets.tokens.tokenizer import Tokenizer
from .trained import TrainedProxy

__all__ = ["write_scores"]

_AT_ONCE = 256


def write_scores(
    proxy: TrainedProxy,
    corpus: Corpus,
    domain: str,
    out: str | os.PathLike[str],
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
) -> int:
    """Score the training documents of a domain and write a CSV of `digest` and `nats_per_byte`, whole; copies once.

    Documents that the proxy was trained on are easier for it than they would be for one that never saw them: score
    with a proxy of other text of the kind, or of so much that none was seen more than once.

    Args:
        proxy: The proxy.
        corpus: The corpus.
        domain: One of its domains, of text.
        out: The file, which ends in .csv.
        tokenizer: The one that the proxy was trained with, where tokens aren't bytes.
        progress: Called with how many documents are scored.

    Returns:
        How many documents have a row.

    Raises:
        UsageError: The file's name has another ending, or the tokenizer isn't the proxy's.
        CorpusError: There is no such domain, or its text can't be read.
        InputError: The file can't be written.
    """
    if Path(out).suffix.lower() != ".csv":
        raise UsageError(f"out: got {shown(str(out))}; expected a file that ends in .csv")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["digest", "nats_per_byte"])
    total = sum(1 for _ in _unlike(corpus, domain))  # reading takes a hundredth of the time that scoring does
    unlike = _unlike(corpus, domain)
    done = 0
    while batch := list(islice(unlike, _AT_ONCE)):
        nats = proxy.nats_per_byte((document for _, document in batch), tokenizer)
        writer.writerows(zip((digest for digest, _ in batch), map(repr, nats.tolist()), strict=True))
        done += len(batch)
        if progress is not None:
            progress(f"{done:,} of {total:,} documents", done / total)
    write_text(out, text.getvalue())
    return done


def _unlike(corpus: Corpus, domain: str) -> Iterator[tuple[str, str]]:
    """Digest and text of each training document, of equal ones the first."""
    seen: set[bytes] = set()
    for document in documents(corpus, domain, "train"):
        if document.digest not in seen:
            seen.add(document.digest)
            yield document.digest.hex(), document.text
