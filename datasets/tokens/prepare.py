"""`prepare`: make a token store from a corpus, redoing only what has changed.

A store that is there stays whole and in use until the new index replaces its index in one step. Domains that are done
are noted in a second, partial index, so that an interrupted run costs at most the domain it was in. A lock keeps two
runs out of one folder. `core.disk.folders` would keep nothing of an interrupted run, and shards, maybe terabytes,
need no second place: their names contain their digests, so new ones never stand where the index finds old ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...core.disk.locking import LOCK_NAME, locked
from ...core.errors import CorpusError, DataWarning
from ...core.files import write_json
from ...core.progress import Progress
from ...core.units import shown
from ..corpus.corpus import Corpus
from ..corpus.documents import raw_documents, source_digest
from ..provenance.domains import DomainProvenance
from ..selection.named import NamedSelection
from ..selection.selection import select, selected_digest
from .packing import pack_selected, pack_synthetic, pack_text
from .shards import SHARD_NAME, SHARD_TOKENS, TEMPORARY_NAME, Shard, verify_shard
from .store import INDEX_NAME, TOKENIZER_NAME, DomainIndex, SelectedIndex, StoreIndex, TokenStore, read_index
from .tokenizer import ByteTokenizer, Tokenizer, load_tokenizer, token_dtype, train_bpe

__all__ = ["prepare"]

_log = logging.getLogger(__name__)

_PARTIAL_NAME = "tokens.partial.json"
_BUSY = "another process is preparing this store; wait for it to end"
_SAMPLE_CHARACTERS = 10_000_000
# A sample is chosen from this many times its size, so that it isn't just the first file; more costs reading time.
_SAMPLE_SPREAD = 8
_RECIPE = "token store 1"  # change it when equal text would be packed into other tokens


def prepare(
    corpus: Corpus,
    out: str | os.PathLike[str],
    progress: Progress | None = None,
    selections: Sequence[NamedSelection] = (),
) -> TokenStore:
    """Tokenize a corpus into a folder and open the result.

    A change of what the corpus says of a domain's stock or provenance is noted in the index and packs nothing anew.
    Of a domain with `select` the training text is what its steps keep. A `bpe` tokenizer is learned on 10 MB of
    training text as it is before any selection, so that losses of different selections compare: an equal part of each
    domain, and learned anew when the text of any domain has changed. Memory does not grow with the corpus, except for
    8 bytes per document, used to find duplicates, up to 20 million documents of a domain (beyond that, a DataWarning is
    issued), and for what selections hold of each document.

    Args:
        corpus: The corpus.
        out: The folder: new, empty, or holding an earlier store. Of an earlier store, domains whose text, tokenizer and
            settings are unchanged and whose files are intact are kept.
        progress: Called with what is being done and the share done, 0 to 1.
        selections: Selections whose training text is held beside the corpus's own. Those that an earlier store holds of
            the same text stay, too.

    Returns:
        The token store, opened for reading.

    Raises:
        CorpusError: Text can't be read, a selection can't be made, a domain is too small, or the folder holds something
            else or is being prepared by another process.

    >>> import tempfile
    >>> import foretrain
    >>> source = {"kind": "zipf", "vocab_size": 64, "tokens": 20_000}
    >>> corpus = foretrain.Corpus.from_mapping({"domains": {"toy": {"synthetic": source}}})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = foretrain.prepare(corpus, folder)
    >>> list(store.domains), store.vocab_size
    (['toy'], 64)
    """
    folder = _destination(Path(out))
    with locked(folder, _BUSY, CorpusError):
        try:
            _Preparation(corpus, folder, progress, selections).run()
        finally:
            _sweep(folder)
    return TokenStore.open(folder)


class _Preparation:
    """One run of `prepare`, under the lock."""

    def __init__(
        self, corpus: Corpus, folder: Path, progress: Progress | None, selections: Sequence[NamedSelection]
    ) -> None:
        self._corpus, self._folder, self._selections = corpus, folder, selections
        self._progress = progress or (lambda text, share: None)
        self._earlier = _earlier(folder)
        if any(index.texts for index in self._earlier):
            raise CorpusError(f"{folder}: holds further texts, which would be lost; expected another folder")
        self._sources: dict[str, str] = {}  # digests of the text as it is
        self._selected: dict[str, str] = {}  # and of what the corpus's own steps make of it
        self._done: dict[str, DomainIndex] = {}

    def run(self) -> None:
        """Do everything, and replace the index last."""
        names = list(self._corpus.domains)
        for name in names:
            self._progress(f"{name}: reading", 0.0)
            self._sources[name] = self._selected[name] = source_digest(self._corpus, name)
            if self._corpus.domains[name].select:
                self._selected[name] = selected_digest(self._corpus, name, source=self._sources[name])
        tokenizer, made_from = self._tokenizer()
        if tokenizer is not None:
            tokenizer.save(self._folder / _tokenizer_name(tokenizer))
        for number, name in enumerate(names):
            share = number / len(names)
            made = self._recipe(name, tokenizer, self._selected[name])
            kept = self._kept(name, made, share)
            _log.info("%s: %s", name, "packing" if kept is None else "kept as it is")
            self._done[name] = self._packed(name, tokenizer, made, share) if kept is None else kept
            if kept is None:
                write_json(self._folder / _PARTIAL_NAME, self._index(tokenizer, made_from).model_dump())
            for selection in self._selections:
                if selection.applies_to(self._corpus, name) and self._add(name, tokenizer, selection, share):
                    write_json(self._folder / _PARTIAL_NAME, self._index(tokenizer, made_from).model_dump())
        write_json(self._folder / INDEX_NAME, self._index(tokenizer, made_from).model_dump())
        (self._folder / _PARTIAL_NAME).unlink(missing_ok=True)
        self._progress("done", 1.0)

    def _recipe(self, name: str, tokenizer: Tokenizer | None, source: str) -> str:
        """The digest of all that a domain's shards are made from; `source` is that of its selected documents."""
        of_text = tokenizer.digest if tokenizer is not None and self._corpus.domains[name].synthetic is None else None
        dtype = token_dtype(self._vocab_size(tokenizer)).str
        return _digest([_RECIPE, source, of_text, dtype, SHARD_TOKENS, self._corpus.validation_share])

    def _kept(self, name: str, made_from: str, share: float) -> DomainIndex | None:
        """The domain as an earlier run left it, if that is what this one would make and every file is intact."""
        kept: DomainIndex | None = None
        selections: dict[str, SelectedIndex] = {}
        for index in self._earlier:
            domain = index.domains.get(name)
            if domain is None or domain.made_from != made_from:
                continue
            self._progress(f"{name}: checking what is there", share)
            if kept is None and self._intact(index, (*domain.train.shards, *domain.valid.shards)):
                kept = domain
            for key, selection in domain.selections.items():
                if self._intact(index, selection.shards):
                    selections[key] = selection
        return None if kept is None else kept.model_copy(update={**self._stated(name), "selections": selections})

    def _intact(self, index: StoreIndex, shards: Sequence[Shard]) -> bool:
        """Whether every file is there as an index lists it."""
        with contextlib.suppress(CorpusError):
            for shard in shards:
                verify_shard(self._folder, shard, np.dtype(index.dtype), index.vocab_size)
            return True
        return False

    def _add(self, name: str, tokenizer: Tokenizer | None, selection: NamedSelection, share: float) -> bool:
        """Add a selection to a domain that is done, unless it is there; return whether it was packed."""
        assert tokenizer is not None
        done, key = self._done[name], selection.key
        source = selection.digest(self._corpus, name, self._sources[name])
        made_from = self._recipe(name, tokenizer, source)
        if key in done.selections and done.selections[key].made_from == made_from:
            return False
        _log.info("%s: packing the selection %s", name, key)
        dtype, report = token_dtype(self._vocab_size(tokenizer)), self._reporting(f"{name}: {selection.kind}", share)
        split = pack_selected(self._corpus, name, tokenizer, self._folder, dtype, report, selection)
        held = SelectedIndex(kind=selection.kind, made_from=made_from, source_digest=source, **dict(split))
        self._done[name] = done.model_copy(update={"selections": {**done.selections, key: held}})
        return True

    def _packed(self, name: str, tokenizer: Tokenizer | None, made_from: str, share: float) -> DomainIndex:
        """The domain, packed anew."""
        domain = self._corpus.domains[name]
        dtype, report = token_dtype(self._vocab_size(tokenizer)), self._reporting(name, share)
        if domain.synthetic is not None:
            packed = pack_synthetic(self._corpus, name, domain.synthetic, self._folder, dtype, report)
        else:
            assert tokenizer is not None
            selection = select(self._corpus, name) if domain.select else None
            packed = pack_text(self._corpus, name, tokenizer, self._folder, dtype, report, selection)
        if not packed.duplicates_checked:
            message = f"{self._corpus.where}: domains.{name}: too many documents to compare; some may be repeated"
            warnings.warn(message, DataWarning, stacklevel=4)
        facts = {"made_from": made_from, "source_digest": self._selected[name], **self._stated(name)}
        return DomainIndex(**facts, **packed._asdict())

    def _reporting(self, what: str, share: float) -> Callable[[float], None]:
        """A report of the megabytes that are done."""

        def report(megabytes: float) -> None:
            self._progress(f"{what}: {megabytes:,.1f} MB", share)

        report(0.0)
        return report

    def _stated(self, name: str) -> dict[str, object]:
        """What the corpus says about a domain that changes no token: the stock that it stands for, its provenance."""
        domain = self._corpus.domains[name]
        provenance = () if domain.synthetic is not None else DomainProvenance(self._corpus, name).known
        return {"unique_tokens": domain.unique_tokens, "max_epochs": domain.max_epochs, "provenance": provenance}

    def _tokenizer(self) -> tuple[Tokenizer | None, str | None]:
        """The tokenizer of the corpus's text and the digest of what it is made from; none without text."""
        texts = [name for name, domain in self._corpus.domains.items() if domain.synthetic is None]
        if not texts:
            return None, None
        config = self._corpus.tokenizer
        if config.kind == "bytes":
            return ByteTokenizer(), _digest([_RECIPE, "bytes"])
        sources = [[name, self._sources[name]] for name in texts]
        made_from = _digest([_RECIPE, "bpe", config.vocab_size, _SAMPLE_CHARACTERS, _SAMPLE_SPREAD, sources])
        for index in self._earlier:
            if index.tokenizer_made_from == made_from and index.tokenizer is not None:
                with contextlib.suppress(CorpusError):
                    tokenizer = load_tokenizer(self._folder / index.tokenizer)
                    if tokenizer.digest == index.tokenizer_digest:
                        return tokenizer, made_from
        self._progress("learning the tokenizer", 0.0)
        assert config.vocab_size is not None
        sample = (text for name in texts for text in _sample(self._corpus, name, _SAMPLE_CHARACTERS // len(texts)))
        return train_bpe(sample, config.vocab_size), made_from

    def _vocab_size(self, tokenizer: Tokenizer | None) -> int:
        """The largest vocabulary of what is in the store: tokens of text and of synthetic sources share their ids."""
        sizes = [domain.synthetic.vocab_size for domain in self._corpus.domains.values() if domain.synthetic]
        return max([*sizes, *([] if tokenizer is None else [tokenizer.vocab_size])])

    def _index(self, tokenizer: Tokenizer | None, made_from: str | None) -> StoreIndex:
        """The index of what is done so far."""
        vocab_size = self._vocab_size(tokenizer)
        return StoreIndex.model_validate(
            {
                "format": 1,
                "name": self._corpus.text_name,
                "vocab_size": vocab_size,
                "dtype": token_dtype(vocab_size).str,
                "tokenizer": None if tokenizer is None else _tokenizer_name(tokenizer),
                "tokenizer_digest": None if tokenizer is None else tokenizer.digest,
                "tokenizer_made_from": made_from,
                "domains": self._done,
            }
        )


def _tokenizer_name(tokenizer: Tokenizer) -> str:
    return f"tokenizer.{tokenizer.digest[:16]}.json"


def _sample(corpus: Corpus, name: str, characters: int) -> list[str]:
    """Training documents of a domain, about this many characters in all, chosen by their digests.

    They come from the first part of the domain, eight times as long, or from all of it if it is shorter.
    """
    chosen: list[tuple[int, str]] = []  # a heap, the document that goes next on top
    held = seen = 0
    for split, document in raw_documents(corpus, name, ("train",)):
        if split != "train" or document.text.isspace() or not document.text:
            continue
        text = document.text[:characters]
        heapq.heappush(chosen, (-int.from_bytes(document.digest, "big"), text))
        held += len(text)
        while held - len(chosen[0][1]) >= characters:
            held -= len(heapq.heappop(chosen)[1])
        seen += len(document.text)
        if seen >= _SAMPLE_SPREAD * characters:
            break
    return [text for _, text in sorted(chosen, reverse=True)]


def _digest(facts: list[object]) -> str:
    """SHA-256 (hex) of plain values."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _ours(name: str) -> bool:
    """May this file be in a store's folder?"""
    return name in (INDEX_NAME, _PARTIAL_NAME, LOCK_NAME) or _replaceable(name)


def _replaceable(name: str) -> bool:
    """Is this the name of a shard, a tokenizer or an unfinished file?"""
    return any(pattern.fullmatch(name) for pattern in (SHARD_NAME, TOKENIZER_NAME, TEMPORARY_NAME))


def _destination(folder: Path) -> Path:
    """Make the folder, or raise CorpusError if it can't be made or holds anything but a store."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted(path.name for path in folder.iterdir() if not _ours(path.name))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{shown(str(folder), 200)}: can't be a token store's folder: {reason}") from None
    if foreign:
        raise CorpusError(f"{folder}: holds other files, such as {shown(foreign[0])}; expected an empty or new folder")
    return folder


def _earlier(folder: Path) -> list[StoreIndex]:
    """The indexes of earlier runs, the finished one first; one that can't be read is as good as none."""
    found = []
    for name in (INDEX_NAME, _PARTIAL_NAME):
        with contextlib.suppress(CorpusError):
            found.append(read_index(folder / name))
    return found


def _sweep(folder: Path) -> None:
    """Remove unfinished files, and shards and tokenizers that no index lists."""
    needed = {name for index in _earlier(folder) for name in index.files()}
    for path in folder.iterdir():
        if _replaceable(path.name) and path.name not in needed:
            with contextlib.suppress(OSError):
                path.unlink()
