"""Marks in a corpus: how many documents of each domain carry one, and how many would by chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from ...core.progress import Progress
from ..corpus.corpus import Corpus
from ..corpus.document import Document, Split
from ..corpus.documents import raw_documents
from ..tokens.tokenizer import Tokenizer
from .detection import Detector
from .texts import encoded, scan

__all__ = ["marks_by_domain"]

_REPORT_EVERY = 500


def marks_by_domain(
    corpus: Corpus, detector: Detector, tokenizer: Tokenizer, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Read every document of each domain of text once, for training or validation, and look for marks.

    Args:
        corpus: The corpus.
        detector: Whose keys.
        tokenizer: Whose tokens are marked.
        progress: Called with the number of documents read so far, and the share of domains that are done.

    Returns:
        Plain values by domain, as `Scan.facts` says.

    Raises:
        CorpusError: Text is missing or can't be read.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> from foretrain.datasets.tokens.tokenizer import ByteTokenizer
    >>> from foretrain.datasets.watermark.green import Watermark
    >>> detector = Detector([Watermark(key="0123456789abcdef")], vocab_size=256)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "1.txt").write_text("A text that nobody has marked.")
    ...     corpus = foretrain.Corpus.from_mapping({"domains": {"web": {"path": f"{folder}/*.txt"}}})
    ...     web = marks_by_domain(corpus, detector, ByteTokenizer())["web"]
    >>> web["documents"], web["documents_marked"], web["tokens_needed"]
    (1, 0, 19)
    """
    names = [name for name, domain in corpus.domains.items() if domain.synthetic is None]
    found = {}
    for number, name in enumerate(names):
        sizes: list[int] = []
        texts = _texts(corpus, name, sizes, number / len(names), progress)
        found[name] = scan(encoded(texts, tokenizer), detector).facts(np.array(sizes, np.int64), detector)
    return found


def _texts(corpus: Corpus, name: str, sizes: list[int], done: float, progress: Progress | None) -> Iterator[Document]:
    """The documents of a domain that hold text; their UTF-8 bytes go into `sizes`."""
    for _, document in raw_documents(corpus, name, get_args(Split)):
        if progress is not None and len(sizes) % _REPORT_EVERY == 0:
            progress(f"{name}: marks in {len(sizes):,} documents", done)
        if document.text and not document.text.isspace():
            sizes.append(len(document.text.encode()))
            yield document
