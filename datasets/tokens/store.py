"""A token store: one corpus under one tokenizer, as packed tokens on disk, and windows of it to train on.

The folder holds `tokens.json` (the index), a tokenizer, and shards. Files other than the index carry their digest in
their name and never change, so whoever holds an index holds exactly those tokens, and replacing the index replaces
everything at once. `prepare` writes stores; this module reads them.
"""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from ...core.errors import ConfigError, CorpusError, UsageError
from ...core.files import read_bounded_text
from ...core.reading.fields import Frozen, Label
from ...core.units import shown
from ..provenance.provenance import Provenance
from .shards import Shard, map_shard, verify_shard
from .tokenizer import Tokenizer, load_tokenizer

__all__ = [
    "INDEX_NAME",
    "TOKENIZER_NAME",
    "DomainIndex",
    "SelectedIndex",
    "Split",
    "SplitIndex",
    "StoreIndex",
    "TextIndex",
    "TokenStore",
    "Windows",
    "read_index",
]

INDEX_NAME = "tokens.json"
"""Name of the index in a store's folder."""

TOKENIZER_NAME = re.compile(r"tokenizer\.[0-9a-f]{16}\.json")
"""What the name of a store's tokenizer looks like."""

Split = Literal["train", "valid"]
"""Training text, or validation text, which is never trained on."""

_MAX_INDEX_BYTES = 64_000_000
_HEX = r"^[0-9a-f]{64}$"
_MOST = 1 << 50


class SplitIndex(Frozen, strict=True):
    """One split of a domain: its shards and what is in them."""

    shards: tuple[Shard, ...] = Field(min_length=1)
    tokens: int = Field(ge=1, le=_MOST, description="Tokens, ends of documents included.")
    documents: int = Field(ge=0, le=_MOST)
    text_bytes: int | None = Field(ge=0, le=_MOST, description="UTF-8 bytes of text; none where there is no text.")
    dropped: int = Field(ge=0, le=_MOST, description="Documents left out: repeated here, or held out for validation.")


class SelectedIndex(SplitIndex, strict=True):
    """What a selection keeps of a domain's training text, as further shards beside those of all of it."""

    kind: Label = Field(description="The name by which runs and plans know the selection.")
    made_from: str = Field(pattern=_HEX, description="Digest of the text, the steps, the tokenizer and the settings.")
    source_digest: str = Field(max_length=200)


class TextIndex(SplitIndex, strict=True):
    """A further training text beside the domains, such as what a model wrote; it is never validated on."""

    provenance: Provenance
    sample_tokens: int = Field(
        ge=2, le=_MOST, description="Tokens of each of its samples, which follow one another; no window crosses them."
    )
    replaced: int = Field(
        default=0,
        ge=0,
        le=_MOST,
        exclude_if=lambda samples: not samples,
        description="Samples that a filter left out, in the places of which there is real text.",
    )


class DomainIndex(Frozen, strict=True):
    """One domain: its two splits, where they came from, and what the corpus says about its stock."""

    made_from: str = Field(pattern=_HEX, description="Digest of the text, the tokenizer and the settings.")
    source_digest: str = Field(max_length=200)
    train: SplitIndex
    valid: SplitIndex
    unique_tokens: float | None = Field(ge=0)
    max_epochs: float | None = Field(gt=0)
    entropy_nats: float | None = Field(ge=0, description="Exact, per token; of synthetic domains only.")
    duplicates_checked: bool = Field(description="False where there were too many documents to compare them all.")
    selections: dict[Label, SelectedIndex] = Field(
        default={},
        exclude_if=lambda selections: not selections,  # an index without them stays as it was before there were any
        description="What selections keep of the training text, by key.",
    )
    provenance: tuple[Provenance, ...] = Field(
        default=(),
        exclude_if=lambda known: not known,  # an index without any stays as it was before it was recorded
        description="Where the text is from, each source once; none where nobody has said. It changes no token.",
    )


class StoreIndex(Frozen, strict=True):
    """All of `tokens.json`."""

    format: Literal[1]
    name: Label
    vocab_size: int = Field(ge=2, le=1 << 32)
    dtype: Literal["|u1", "<u2", "<u4"]
    tokenizer: str | None = Field(
        pattern=rf"^{TOKENIZER_NAME.pattern}$", description="File; none if no domain is text."
    )
    tokenizer_digest: str | None = Field(pattern=_HEX)
    tokenizer_made_from: str | None = Field(pattern=_HEX)
    domains: dict[Label, DomainIndex] = Field(min_length=1)
    texts: dict[Label, TextIndex] = Field(
        default={},
        exclude_if=lambda texts: not texts,  # an index without them stays as it was before there were any
        description="Further training texts, by key.",
    )

    def shards(self) -> list[Shard]:
        """Every shard of every domain, split, selection and text, once: those that keep the same share theirs."""
        splits = [split for domain in self.domains.values() for split in (domain.train, domain.valid)]
        selected = [selection for domain in self.domains.values() for selection in domain.selections.values()]
        all_splits = [*splits, *selected, *self.texts.values()]
        return [*{shard.file: shard for split in all_splits for shard in split.shards}.values()]

    def files(self) -> list[str]:
        """The names of every file that the index needs."""
        return [shard.file for shard in self.shards()] + ([] if self.tokenizer is None else [self.tokenizer])


class TokenStore:
    """The tokens of a prepared corpus. Open it with `TokenStore.open`; it is never changed through this class.

    `index` is everything that `tokens.json` says; `folder` is where it lies.
    """

    def __init__(self, folder: Path, index: StoreIndex) -> None:
        self.folder = folder
        self.index = index
        self._dtype = np.dtype(index.dtype)
        self._mapped: dict[tuple[str, str, str | None], list[np.ndarray]] = {}
        self._mapped_texts: dict[str, list[np.ndarray]] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> TokenStore:
        """Open a store's folder, check that each shard is there in its full size, and load the tokenizer.

        Raises CorpusError, naming the file, for a folder that isn't a store or is damaged. `verify` checks content too.
        What is open stays readable even while `prepare` replaces the store.
        """
        path = Path(folder)
        if not os.path.isdir(path):
            raise CorpusError(f"{path}: there is no such folder; expected one made from a corpus by prepare")
        store = cls(path, read_index(path / INDEX_NAME))
        _ = store.tokenizer
        for domain in store.domains:
            for split in ("train", "valid"):
                store._map(domain, split)
            for selection in store.index.domains[domain].selections:
                store._map(domain, "train", selection)
        for text in store.texts:
            store._map_text(text)
        return store

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of the domains, sorted, so that equal tokens are met in equal order however they were described."""
        return tuple(sorted(self.index.domains))

    @property
    def vocab_size(self) -> int:
        """Every token is from 0 to vocab_size - 1."""
        return self.index.vocab_size

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer; None where every domain is synthetic. Raises CorpusError if its file is damaged."""
        if self.index.tokenizer is None:
            return None
        path = self.folder / self.index.tokenizer
        tokenizer = load_tokenizer(path)
        if tokenizer.digest != self.index.tokenizer_digest:
            raise CorpusError(f"{path}: isn't the tokenizer that {INDEX_NAME} names; prepare the corpus again")
        return tokenizer

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) that stands for exactly these tokens: domains, splits, shards in order, tokenizer.

        Selections and further texts have digests of their own (`selection_digest`, `text_digest`): they come and go
        beside the same text.
        """
        sha = hashlib.sha256(f"token store 1\n{self.vocab_size}\n{self.index.tokenizer_digest}\n".encode())
        for name, domain in sorted(self.index.domains.items()):
            for split in (domain.train, domain.valid):
                sha.update(f"{len(name)} {name} {len(split.shards)}\n".encode())
                sha.update("".join(f"{shard.sha256} {shard.tokens}\n" for shard in split.shards).encode())
        return sha.hexdigest()

    @property
    def selections(self) -> dict[str, str]:
        """The kind of each selection of training text that is held, by key, sorted."""
        found = {key: held.kind for domain in self.index.domains.values() for key, held in domain.selections.items()}
        return dict(sorted(found.items()))

    def selection_digest(self, selection: str) -> str:
        """SHA-256 (hex) that stands for exactly what a selection keeps. Raises CorpusError for an unknown one."""
        self._check_selection(selection)
        sha = hashlib.sha256(b"selection of a token store 1\n")
        for name in self.domains:
            held = self.index.domains[name].selections.get(selection)
            shards = () if held is None else held.shards
            sha.update(f"{len(name)} {name} {len(shards)}\n".encode())
            sha.update("".join(f"{shard.sha256} {shard.tokens}\n" for shard in shards).encode())
        return sha.hexdigest()

    @property
    def texts(self) -> tuple[str, ...]:
        """The keys of the further training texts, sorted."""
        return tuple(sorted(self.index.texts))

    def text(self, key: str) -> TextIndex:
        """What the index says of a further text. Raises CorpusError for an unknown one."""
        try:
            return self.index.texts[key]
        except KeyError:
            known = ", ".join(self.texts) or "none"
            raise CorpusError(f"{self.folder}: there is no text {shown(key)}; those that are held: {known}") from None

    def text_digest(self, key: str) -> str:
        """SHA-256 (hex) that stands for exactly the tokens of a further text. Raises CorpusError for an unknown one."""
        text = self.text(key)
        sha = hashlib.sha256(f"text of a token store 1\n{text.sample_tokens}\n".encode())
        sha.update("".join(f"{shard.sha256} {shard.tokens}\n" for shard in text.shards).encode())
        return sha.hexdigest()

    def kept_share(self, domain: str, selection: str | None) -> float:
        """Share of the bytes of a domain's training text that a selection keeps; 1 without one, and without text."""
        whole, held = self._split(domain, "train"), self._split(domain, "train", selection)
        return 1.0 if held.text_bytes is None or not whole.text_bytes else min(1.0, held.text_bytes / whole.text_bytes)

    def count(self, domain: str, split: Split, selection: str | None = None) -> int:
        """Tokens of one split, or of what a selection keeps of it, ends of documents included.

        Raises CorpusError for an unknown domain or selection.
        """
        return self._split(domain, split, selection).tokens

    def bytes_per_token(self, domain: str) -> float | None:
        """Bytes of validation text per token; nats per token / this / ln 2 is bits per byte. None without text."""
        split = self._split(domain, "valid")
        return None if split.text_bytes is None else split.text_bytes / split.tokens

    def entropy_nats(self, domain: str) -> float | None:
        """Exact entropy per token of a synthetic domain, the loss of a perfect model; None for text."""
        return self._domain(domain).entropy_nats

    def windows(self, domain: str, split: Split, context_length: int, selection: str | None = None) -> Windows:
        """Non-overlapping windows of one split, or of what a selection, by key, keeps of the training text.

        Raises CorpusError for an unknown domain or selection; else as `Windows` does.
        """
        return Windows(self._map(domain, split, selection), context_length)

    def text_windows(self, key: str, context_length: int) -> Windows:
        """Windows of a further text, none across two samples. Raises CorpusError for an unknown one."""
        return Windows(self._map_text(key), context_length, self.text(key).sample_tokens)

    def verify(self) -> None:
        """Read every shard and check it against its digest. Raises CorpusError that names the first damaged file."""
        for shard in self.index.shards():
            verify_shard(self.folder, shard, self._dtype, self.vocab_size)

    def to_dict(self) -> dict[str, Any]:
        """Return what the store holds as plain data: digest, vocabulary, and counts by domain and split."""
        return {
            "folder": str(self.folder),
            "name": self.index.name,
            "digest": self.digest,
            "tokenizer": None if self.tokenizer is None else self.tokenizer.kind,
            "vocab_size": self.vocab_size,
            "domains": {name: self._domain_facts(name) for name in self.domains},
            **({"selections": self.selections} if self.selections else {}),
            **({"texts": {key: self._text_facts(key) for key in self.texts}} if self.texts else {}),
        }

    def _text_facts(self, key: str) -> dict[str, Any]:
        return {"digest": self.text_digest(key), **self.text(key).model_dump(mode="json", exclude={"shards"})}

    def _domain_facts(self, name: str) -> dict[str, Any]:
        domain = self.index.domains[name]
        splits = {
            f"{side}_{key}": getattr(split, key)
            for side, split in (("train", domain.train), ("valid", domain.valid))
            for key in ("tokens", "documents", "text_bytes", "dropped")
        }
        stock = {key: getattr(domain, key) for key in ("unique_tokens", "max_epochs", "entropy_nats")}
        selected = {
            key: {"tokens": held.tokens, "documents": held.documents, "kept_share": self.kept_share(name, key)}
            for key, held in sorted(domain.selections.items())
        }
        more: dict[str, Any] = {"selections": selected} if selected else {}
        if domain.provenance:
            more["provenance"] = [one.model_dump(mode="json", exclude_none=True) for one in domain.provenance]
        return {**splits, "bytes_per_token": self.bytes_per_token(name), **stock, **more}

    def _domain(self, name: str) -> DomainIndex:
        try:
            return self.index.domains[name]
        except KeyError:
            known = ", ".join(self.domains)
            raise CorpusError(f"{self.folder}: there is no domain {shown(name)}; the domains are {known}") from None

    def _split(self, domain: str, split: str, selection: str | None = None) -> SplitIndex:
        """A split, or what a selection keeps of it: nothing is selected of validation text, nor where there is none."""
        found = self._domain(domain)
        if split not in ("train", "valid"):
            raise UsageError(f"split: got {shown(split)}; expected train or valid")
        if split == "valid":
            return found.valid
        if selection is None or found.train.text_bytes is None:
            return found.train
        self._check_selection(selection)
        if selection not in found.selections:
            raise CorpusError(f"{self.folder}: domain {shown(domain)} has no selection {shown(selection)}")
        return found.selections[selection]

    def _check_selection(self, selection: str) -> None:
        if selection not in self.selections:
            known = ", ".join(self.selections) or "none"
            raise CorpusError(f"{self.folder}: there is no selection {shown(selection)}; those that are held: {known}")

    def _map(self, domain: str, split: str, selection: str | None = None) -> list[np.ndarray]:
        """The shards of a split, or of what a selection keeps of it, mapped once per store."""
        key = (domain, split, selection)
        if key not in self._mapped:
            shards = self._split(domain, split, selection).shards
            self._mapped[key] = [map_shard(self.folder, shard, self._dtype) for shard in shards]
        return self._mapped[key]

    def _map_text(self, key: str) -> list[np.ndarray]:
        """The shards of a further text, mapped once per store. Raises CorpusError that says what is lost."""
        if key not in self._mapped_texts:
            text = self.text(key)
            try:
                self._mapped_texts[key] = [map_shard(self.folder, shard, self._dtype) for shard in text.shards]
            except CorpusError as error:
                what = str(error).removesuffix("; prepare the corpus again")
                by = text.provenance.generator
                wrote = "" if by is None else f" that {by.kind} {by.digest[:16]} wrote for generation {by.generation}"
                how = "put the file back, or make it again"
                raise CorpusError(f"the text {key}{wrote} is lost: {what}; {how}") from None
        return self._mapped_texts[key]


class Windows:
    """Windows of `context_length` + 1 tokens: inputs `window[:-1]`, targets `window[1:]`.

    Each starts `context_length` tokens after the last, so every token is a target once, but for a shard's first and
    its remainder; none crosses from one shard into the next. Documents follow one another inside a window. With
    `sample_tokens`, shards are samples of so many tokens each, and the same holds for every sample.

    Raises ConfigError for a context below 1.
    """

    def __init__(self, shards: Sequence[np.ndarray], context_length: int, sample_tokens: int | None = None) -> None:
        if context_length < 1:
            raise ConfigError(f"context_length: got {shown(context_length)}; expected at least 1")
        self.context_length = context_length
        self._shards = list(shards)
        self._sample_tokens = sample_tokens
        if sample_tokens is None:
            counts = [max(0, (len(tokens) - 1) // context_length) for tokens in self._shards]
        else:
            self._per_sample = (sample_tokens - 1) // context_length
            counts = [len(tokens) // sample_tokens * self._per_sample for tokens in self._shards]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._starts = self._ends - counts
        self._offsets = np.arange(context_length + 1)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> np.ndarray:
        """One window, (context_length + 1,) int64. Raises IndexError outside 0 to len."""
        return self.gather(np.array([index]))[0]

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """The windows of these numbers, (n,), as int64, (n, context_length + 1). Raises IndexError outside 0 to len."""
        indices = np.asarray(indices, np.int64)
        if not len(indices):
            return np.empty((0, self.context_length + 1), np.int64)
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= len(self):
            raise IndexError(f"window {low if low < 0 else high}: there are {len(self)}")
        first, last = bisect_right(self._ends, low), bisect_right(self._ends, high)
        if first == last:
            return self._take(first, indices)
        rows = np.empty((len(indices), self.context_length + 1), np.int64)
        owner = np.searchsorted(self._ends, indices, side="right")
        for shard in np.unique(owner):
            here = owner == shard
            rows[here] = self._take(int(shard), indices[here])
        return rows

    def _take(self, shard: int, indices: np.ndarray) -> np.ndarray:
        numbers = indices - self._starts[shard]
        if self._sample_tokens is None:
            starts = numbers * self.context_length
        else:
            sample, within = np.divmod(numbers, self._per_sample)
            starts = sample * self._sample_tokens + within * self.context_length
        return self._shards[shard][starts[:, None] + self._offsets].astype(np.int64)


def read_index(path: Path) -> StoreIndex:
    """Read an index, every part of it checked but for the files it names. Raises CorpusError, naming what is wrong."""
    text = read_bounded_text(path, _MAX_INDEX_BYTES, CorpusError)
    try:
        index = StoreIndex.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])[:200]
        what = f"{key}: {first['msg']}" if key else first["msg"]
        raise CorpusError(f"{path}: isn't the index of a token store: {what}") from None
    _check_sums(path, index)
    return index


def _check_sums(path: Path, index: StoreIndex) -> None:
    """Raise CorpusError where the parts of an index contradict one another."""
    size = np.dtype(index.dtype).itemsize
    for name, domain in index.domains.items():
        for split in (domain.train, domain.valid, *domain.selections.values()):
            if sum(shard.tokens for shard in split.shards) != split.tokens:
                raise CorpusError(f"{path}: {shown(name)}: the shards' tokens don't add up; prepare the corpus again")
            if any(shard.bytes != shard.tokens * size for shard in split.shards):
                raise CorpusError(f"{path}: {shown(name)}: bytes and tokens disagree; prepare the corpus again")
    for key, text in index.texts.items():
        whole = all(shard.tokens % text.sample_tokens == 0 for shard in text.shards)
        if not whole or sum(shard.tokens for shard in text.shards) != text.tokens:
            raise CorpusError(f"{path}: texts: {shown(key)}: the shards' tokens aren't whole samples that add up")
        if key in index.domains:
            raise CorpusError(f"{path}: texts: {shown(key)} is named as a domain is; expected another key")
    splits = [split for domain in index.domains.values() for split in (domain.train, domain.valid)]
    files = [shard.file for split in splits for shard in split.shards]
    if len(set(files)) != len(files):
        raise CorpusError(f"{path}: the same shard is listed twice; prepare the corpus again")
