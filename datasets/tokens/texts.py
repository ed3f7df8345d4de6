"""Further training texts in a token store: samples that a model wrote, or windows of real text, each with a provenance.

They lie beside the domains, which they leave as they are: the store's digest stays, nothing is validated on them, and
each has a digest of its own. A store with texts is a copy whose domains are links to the shards of the one it was made
from, so that `prepare` may go on replacing that one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import CorpusError
from ...core.files import file_slug, write_json
from ...core.units import shown
from ..provenance.provenance import Provenance
from .shards import SHARD_NAME, SHARD_TOKENS, ShardWriter, map_shard, verify_shard
from .store import INDEX_NAME, SplitIndex, StoreIndex, TextIndex, TokenStore, read_index

__all__ = ["NewText", "add_texts", "linked_store", "lost_texts", "split_digest", "text_made_of", "text_rows"]


@dataclass(frozen=True, eq=False)
class NewText:
    """A text to be added to a store.

    Args:
        key: By which runs name it; no domain has this name.
        rows: Its samples, (samples, sample_tokens), token ids.
        provenance: Where it is from.
        replaced: How many of the samples were left out by a filter, and are real text instead.
    """

    key: str
    rows: np.ndarray
    provenance: Provenance
    replaced: int = 0


def linked_store(store: TokenStore, folder: str | os.PathLike[str]) -> TokenStore:
    """A store in `folder` with the domains of `store`, their shards linked, or copied where the disk has no links.

    What is there stays, if it is of the same tokens: a store that has got texts keeps them.

    Raises:
        CorpusError: The folder can't be written, or is a store of other tokens.
    """
    target = Path(folder)
    if (target / INDEX_NAME).is_file():
        there = TokenStore(target, read_index(target / INDEX_NAME))
        if there.digest != store.digest:
            raise CorpusError(f"{target}: holds other tokens (digest {there.digest[:16]}); expected a new folder")
        return there
    domains = {name: domain.model_copy(update={"selections": {}}) for name, domain in store.index.domains.items()}
    index = store.index.model_copy(update={"domains": domains, "texts": {}})
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in index.files():
            _link(store.folder / name, target / name)
    except OSError as error:
        raise CorpusError(f"{target}: tokens can't be put there: {error.strerror or error}") from None
    write_json(target / INDEX_NAME, index.model_dump())
    return TokenStore.open(target)


def add_texts(folder: str | os.PathLike[str], texts: Sequence[NewText]) -> None:
    """Write texts into a store's folder, all of them or none. Whoever calls it holds the folder alone.

    A text that is listed already is written again, if it comes out as it was: a lost file is restored.

    Raises:
        CorpusError: The disk refuses them; a text has no sample; one is listed with other tokens or another
            provenance; or its generator was fitted to text that the store validates on.
    """
    path = Path(folder)
    index = read_index(path / INDEX_NAME)
    _sweep(path, index)
    written = {text.key: _written(path, index, text) for text in texts}
    if index.texts.keys() & written.keys() != written.keys():
        index = index.model_copy(update={"texts": {**index.texts, **written}})
        write_json(path / INDEX_NAME, index.model_dump(mode="json"))


def lost_texts(folder: str | os.PathLike[str]) -> dict[str, str]:
    """What is wrong with each text of a store whose file is absent or damaged, by its key; files are read whole.

    Raises CorpusError where the index can't be read.
    """
    path = Path(folder)
    index = read_index(path / INDEX_NAME)
    found = {}
    for key, text in sorted(index.texts.items()):
        try:
            for shard in text.shards:
                verify_shard(path, shard, np.dtype(index.dtype), index.vocab_size)
        except CorpusError as error:
            found[key] = str(error).split("; prepare")[0]
    return found


def text_made_of(*parts: str) -> str:
    """SHA-256 (hex) of what a text was made of, such as the digests of its parts and how much of each was taken."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _written(folder: Path, index: StoreIndex, text: NewText) -> TextIndex:
    """The shards of a text, written. Raises CorpusError as `add_texts` does."""
    rows = np.asarray(text.rows)
    if text.key in index.domains:
        raise CorpusError(f"{folder}: the text {shown(text.key)} is named as a domain is; expected another key")
    if rows.ndim != 2 or not rows.size or rows.shape[1] < 2:
        raise CorpusError(f"{folder}: the text {text.key} has no sample of 2 tokens or more")
    low, high = int(rows.min()), int(rows.max())
    if low < 0 or high >= index.vocab_size:
        wrong = low if low < 0 else high
        raise CorpusError(f"{folder}: the text {text.key} has token {wrong}; expected ids below {index.vocab_size}")
    _check_validation(folder, index, text)
    samples, sample_tokens = rows.shape
    dtype = np.dtype(index.dtype)
    whole = SHARD_TOKENS // sample_tokens * sample_tokens  # a sample isn't cut in two
    with ShardWriter(folder, f"{file_slug(text.key)}.train", dtype, whole) as writer:
        writer.write(rows.reshape(-1))
        shards = writer.finish()
    made = TextIndex(
        shards=shards,
        tokens=rows.size,
        documents=samples,
        text_bytes=None,
        dropped=0,
        provenance=text.provenance,
        sample_tokens=sample_tokens,
        replaced=text.replaced,
    )
    listed = index.texts.get(text.key)
    if listed is not None and listed != made:
        for shard in made.shards:
            if shard not in listed.shards:
                (folder / shard.file).unlink(missing_ok=True)
        raise CorpusError(
            f"{folder}: the text {text.key} came out otherwise than it was (SHA-256 {made.shards[0].sha256[:16]}, it "
            f"had {listed.shards[0].sha256[:16]}): what wrote it has changed; nothing is trained on it"
        )
    return made


def _sweep(folder: Path, index: StoreIndex) -> None:
    """Remove what a killed process has left: unfinished files, and shards that the index doesn't list."""
    listed = set(index.files())
    for path in folder.iterdir():
        if path.name.startswith(".tmp-") or (SHARD_NAME.fullmatch(path.name) and path.name not in listed):
            with contextlib.suppress(OSError):
                path.unlink()


def _check_validation(folder: Path, index: StoreIndex, text: NewText) -> None:
    """Raise CorpusError for a text whose generator, or which itself, is of text that is validated on."""
    by = text.provenance.generator
    for name, domain in index.domains.items():
        if by is not None and by.parent in (split_digest(domain.valid), *(s.sha256 for s in domain.valid.shards)):
            raise CorpusError(
                f"{folder}: the text {text.key}: its generator {by.kind} {by.digest[:16]} was fitted to the validation "
                f"text of {shown(name)} ({by.parent[:16]}), on which losses would be too low; expected one fitted to "
                "training text"
            )


def split_digest(split: SplitIndex) -> str:
    """SHA-256 (hex) that stands for the tokens of a split, shard by shard."""
    return text_made_of(*(f"{shard.sha256} {shard.tokens}" for shard in split.shards))


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy; a file of this name is the same one, as names hold digests."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        temporary = target.with_name(f".tmp-{target.name}")
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)


def text_rows(store: TokenStore, key: str) -> np.ndarray:
    """The samples of a text, (samples, sample_tokens), in their order. Raises CorpusError for an unknown one."""
    text = store.text(key)
    dtype = np.dtype(store.index.dtype)
    parts = [map_shard(store.folder, shard, dtype) for shard in text.shards]
    return np.concatenate(parts).reshape(-1, text.sample_tokens)
