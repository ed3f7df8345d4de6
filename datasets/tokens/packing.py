"""Packing of one domain: its documents are read, deduplicated, encoded and written as a stream.

Memory holds a batch of documents, one large document at most, and the digests of `repeats`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import CorpusError
from ...core.files import file_slug
from ..corpus.corpus import Corpus
from ..corpus.document import Document
from ..corpus.repeats import Repeats
from ..corpus.synthetic import SyntheticConfig, build_source
from ..selection.named import NamedSelection
from ..selection.selection import Place, Selection, in_corpus, selected_documents
from .shards import ShardWriter
from .store import Split, SplitIndex
from .tokenizer import Tokenizer

__all__ = ["MIN_TOKENS", "Packed", "pack_selected", "pack_synthetic", "pack_text"]

MIN_TOKENS = 129
"""The smallest split: one window of 128 tokens, the context of the small proxies, and the last target."""

Report = Callable[[float], None]
"""Called now and then with the megabytes of text, or of tokens, that are done."""

_BATCH_CHARACTERS = 1_000_000
_BATCH_DOCUMENTS = 1_000
_SYNTHETIC_AT_ONCE = 1 << 22
# Enough validation tokens for a standard error of about .003 nats, whatever validation_share says.
_SYNTHETIC_VALIDATION = 200_000
_SPLITS: tuple[Split, Split] = ("valid", "train")


class Packed(NamedTuple):
    """What a domain became."""

    train: SplitIndex
    valid: SplitIndex
    duplicates_checked: bool
    entropy_nats: float | None


class _Side:
    """One split being written, and its counts."""

    def __init__(self, writer: ShardWriter) -> None:
        self.writer = writer
        self.tokens = self.documents = self.text_bytes = self.dropped = 0

    def index(self, *, of_text: bool) -> SplitIndex:
        text_bytes = self.text_bytes if of_text else None
        shards = self.writer.finish()
        return SplitIndex(
            shards=shards, tokens=self.tokens, documents=self.documents, text_bytes=text_bytes, dropped=self.dropped
        )


def pack_text(
    corpus: Corpus,
    name: str,
    tokenizer: Tokenizer,
    folder: Path,
    dtype: Any,
    report: Report,
    selection: Selection | None = None,
) -> Packed:
    """Write the tokens of a domain of text into `folder`, each document closed by the end of document.

    Training documents that the selection leaves out are left out.

    A document that was there before, but for white space, is left out: what is trained on or measured twice by
    accident distorts losses. A ready-made validation split comes first, so its documents are left out of training
    and never the other way round; where documents are split by hash, none can be on both sides.
    Raises CorpusError for text that can't be read or kept, and for a domain that is too small.
    """
    with _writer(folder, name, "train", dtype) as train, _writer(folder, name, "valid", dtype) as valid:
        sides: dict[Split, _Side] = {"train": _Side(train), "valid": _Side(valid)}
        checked = _pack(corpus, name, tokenizer, sides, selection, report)
        if selection is not None:
            _check_selected(selection, sides["train"], in_corpus(corpus, name))
        _check_sizes(corpus, name, sides)
        return Packed(sides["train"].index(of_text=True), sides["valid"].index(of_text=True), checked, None)


def pack_selected(
    corpus: Corpus, name: str, tokenizer: Tokenizer, folder: Path, dtype: Any, report: Report, named: NamedSelection
) -> SplitIndex:
    """Write what a selection keeps of a domain's training text, as `pack_text` would; validation text isn't written.

    Raises CorpusError as `pack_text` and `select` do.
    """
    selection = named.select(corpus, name)
    with _writer(folder, name, "train", dtype) as train:
        side = _Side(train)
        _pack(corpus, name, tokenizer, {"train": side}, selection, report)
        _check_selected(selection, side, named.place_in(corpus, name))
        return side.index(of_text=True)


def _pack(
    corpus: Corpus,
    name: str,
    tokenizer: Tokenizer,
    sides: dict[Split, _Side],
    selection: Selection | None,
    report: Report,
) -> bool:
    """Write the documents of these sides; say whether all could be compared. What is on another side is known only."""
    end = np.array([tokenizer.end_of_document], sides["train"].writer.dtype)
    selections = {} if selection is None else {name: selection}
    repeats = Repeats()
    done = 0
    for batch in _batches(corpus, selections, name):
        is_new = repeats.new([document.digest for _, document in batch]).tolist()
        kept: list[tuple[Split, Document]] = []
        for (split, document), new in zip(batch, is_new, strict=True):
            if split in sides:
                sides[split].dropped += not new
                if new:
                    kept.append((split, document))
        for (split, document), ids in zip(kept, _encode(tokenizer, kept), strict=True):
            side, size = sides[split], len(document.text.encode())
            side.writer.write(np.concatenate([ids, end], dtype=end.dtype))
            side.tokens += len(ids) + 1
            side.documents += 1
            side.text_bytes += size
            done += size
        report(done / 1e6)
    return repeats.complete


def pack_synthetic(
    corpus: Corpus, name: str, config: SyntheticConfig, folder: Path, dtype: Any, report: Report
) -> Packed:
    """Draw the tokens of a synthetic domain, training and validation from streams of their own, into `folder`.

    There are no documents in them; validation has its share of the tokens, and 200,000 at least.
    """
    source = build_source(config)
    count = round(config.tokens)
    share = round(count * corpus.validation_share)
    sizes: dict[Split, int] = {"valid": max(share, _SYNTHETIC_VALIDATION), "train": count}
    with _writer(folder, name, "train", dtype) as train, _writer(folder, name, "valid", dtype) as valid:
        sides: dict[Split, _Side] = {"train": _Side(train), "valid": _Side(valid)}
        done = 0
        for number, split in enumerate(_SPLITS):
            rng = np.random.default_rng([config.seed, number])
            while (left := sizes[split] - sides[split].tokens) > 0:
                tokens = source.sample(rng, min(left, _SYNTHETIC_AT_ONCE))
                sides[split].writer.write(tokens)
                sides[split].tokens += len(tokens)
                done += len(tokens)
                report(done / 1e6)
        _check_sizes(corpus, name, sides)
        return Packed(
            sides["train"].index(of_text=False), sides["valid"].index(of_text=False), True, source.entropy_nats
        )


def _writer(folder: Path, name: str, split: Split, dtype: Any) -> ShardWriter:
    return ShardWriter(folder, f"{file_slug(name)}.{split}", np.dtype(dtype))


def _batches(corpus: Corpus, selections: dict[str, Selection], name: str) -> Iterator[list[tuple[Split, Document]]]:
    """The documents of both sides in batches of about a megabyte; a document may be larger than that."""
    batch: list[tuple[Split, Document]] = []
    size = 0
    for split, document in selected_documents(corpus, selections, name, _SPLITS):
        if not document.text or document.text.isspace():
            continue
        batch.append((split, document))
        size += len(document.text)
        if size >= _BATCH_CHARACTERS or len(batch) >= _BATCH_DOCUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encode(tokenizer: Tokenizer, batch: list[tuple[Split, Document]]) -> list[np.ndarray]:
    """The ids of each document; CorpusError names the document that can't be encoded."""
    try:
        return tokenizer.encode_batch([document.text for _, document in batch])
    except CorpusError:
        for _, document in batch:
            try:
                tokenizer.encode(document.text)
            except CorpusError as error:
                raise CorpusError(f"{document.where}: {error}") from None
        raise


def _check_selected(selection: Selection, side: _Side, place: Place) -> None:
    """Raise CorpusError, naming the step that left the least, unless a selection leaves a window."""
    if side.tokens >= MIN_TOKENS or not selection.outcomes:
        return
    left = [int(outcome.sizes_bytes[outcome.chosen.kept].sum()) for outcome in selection.outcomes]
    number = left.index(min(left))
    before = int(selection.outcomes[number].sizes_bytes.sum())
    raise CorpusError(
        f"{place(number, selection.outcomes[number].step)}: keeps {left[number]:,} of {before:,} bytes, of "
        f"which training has {side.tokens} tokens in {side.documents} documents; "
        f"expected at least {MIN_TOKENS} tokens: keep more, or add text"
    )


def _check_sizes(corpus: Corpus, name: str, sides: dict[Split, _Side]) -> None:
    """Raise CorpusError, saying how much there is and what to do, unless each side holds a window."""
    domain = corpus.domains[name]
    place = f"{corpus.where}: domains.{name}"
    for split in _SPLITS:
        side = sides[split]
        if side.tokens >= MIN_TOKENS:
            continue
        what = "training" if split == "train" else "validation"
        found = f"{side.tokens} tokens in {side.documents} documents" if side.documents else f"{side.tokens} tokens"
        if side.dropped:
            found += f" ({side.dropped} more are repeated, or in the other split)"
        if domain.synthetic is not None:
            remedy = "raise synthetic.tokens"
        elif split == "train":
            remedy = "add text" if domain.validation_path is not None else "add text or lower validation_share"
        elif domain.validation_path is not None:
            remedy = "add text to validation_path"
        else:
            remedy = (
                f"add documents, raise validation_share (now {corpus.validation_share:g}) or give a validation_path"
            )
        raise CorpusError(f"{place}: its {what} text is {found}; expected at least {MIN_TOKENS} tokens: {remedy}")
