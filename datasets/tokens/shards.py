"""Token shards: files of token ids and nothing else, streamed to disk, complete once they have their name.

A shard is little-endian unsigned integers of one, two or four bytes. It is written under a temporary name and renamed
when it is whole; its name then carries the digest of its content, so a new shard never overwrites another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import secrets
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from pydantic import Field

from ...core.errors import CorpusError
from ...core.files import sha256_file
from ...core.reading.fields import Frozen

__all__ = ["SHARD_NAME", "SHARD_TOKENS", "TEMPORARY_NAME", "Shard", "ShardWriter", "map_shard", "verify_shard"]

SHARD_TOKENS = 1 << 29
"""Tokens in a full shard: 537 million. Large, as each open shard takes one of the process's file descriptors."""

SHARD_NAME = re.compile(r"[a-z0-9_-]{1,80}\.(train|valid)\.\d{4,6}\.[0-9a-f]{16}\.bin")
"""What the name of a shard looks like: domain, split, number and the start of its digest."""

TEMPORARY_NAME = re.compile(r"\.tmp-[0-9a-f]{16}")
"""What the name of an unfinished file looks like."""


class Shard(Frozen, strict=True):
    """One file of tokens as the store's index lists it."""

    file: str = Field(pattern=rf"^{SHARD_NAME.pattern}$")
    tokens: int = Field(ge=1, le=1 << 48)
    bytes: int = Field(ge=1, le=1 << 50)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ShardWriter:
    """Write a stream of token arrays into shards of at most `shard_tokens` tokens. A context manager.

    Leaving it by an error removes the unfinished file; `finish` completes the last shard and returns all of them.
    """

    def __init__(self, folder: Path, stem: str, dtype: np.dtype[Any], shard_tokens: int = SHARD_TOKENS) -> None:
        self.dtype = dtype
        self._folder, self._stem, self._shard_tokens = folder, stem, shard_tokens
        self._done: list[Shard] = []
        self._stream: IO[bytes] | None = None
        self._temporary = folder
        self._tokens = 0
        self._sha = hashlib.sha256()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    def write(self, tokens: np.ndarray) -> None:
        """Append tokens, (n,). Raises CorpusError if the disk refuses them."""
        tokens = np.ascontiguousarray(tokens, self.dtype)
        try:
            while len(tokens):
                stream = self._stream or self._open()
                part = tokens[: self._shard_tokens - self._tokens]
                data = part.tobytes()
                stream.write(data)
                self._sha.update(data)
                self._tokens += len(part)
                tokens = tokens[len(part) :]
                if self._tokens == self._shard_tokens:
                    self._close(stream)
        except OSError as error:
            raise CorpusError(f"{self._folder}: tokens can't be written: {error.strerror or error}") from error

    def finish(self) -> tuple[Shard, ...]:
        """Complete the last shard and return every shard in order. Raises CorpusError if the disk refuses it."""
        try:
            if self._stream is not None:
                self._close(self._stream)
        except OSError as error:
            raise CorpusError(f"{self._folder}: tokens can't be written: {error.strerror or error}") from error
        return tuple(self._done)

    def _open(self) -> IO[bytes]:
        self._temporary = self._folder / f".tmp-{secrets.token_hex(8)}"
        self._stream = open(self._temporary, "xb", buffering=1 << 20)  # noqa: SIM115  closed by _close or __exit__
        self._tokens, self._sha = 0, hashlib.sha256()
        return self._stream

    def _close(self, stream: IO[bytes]) -> None:
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()
        digest = self._sha.hexdigest()
        name = f"{self._stem}.{len(self._done):04d}.{digest[:16]}.bin"
        os.replace(self._temporary, self._folder / name)
        self._stream = None
        size = self._tokens * self.dtype.itemsize
        self._done.append(Shard(file=name, tokens=self._tokens, bytes=size, sha256=digest))


def map_shard(folder: Path, shard: Shard, dtype: np.dtype[Any]) -> np.ndarray:
    """The tokens of a shard, (tokens,), read from disk as they are used. Raises CorpusError if it isn't what it was."""
    path = folder / shard.file
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            raise CorpusError(f"{path}: is damaged: it has {size} bytes, not {shard.bytes}; prepare the corpus again")
        with open(path, "rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        if isinstance(error, CorpusError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{path}: can't be read: {reason}; prepare the corpus again") from None
    return np.frombuffer(data, dtype)


def verify_shard(folder: Path, shard: Shard, dtype: np.dtype[Any], vocab_size: int) -> None:
    """Read a whole shard and raise CorpusError unless its digest is right and every id is in the vocabulary."""
    tokens = map_shard(folder, shard, dtype)
    if sha256_file(folder / shard.file) != shard.sha256:
        raise CorpusError(f"{folder / shard.file}: is damaged: its SHA-256 isn't the listed one; prepare it again")
    for start in range(0, len(tokens), 1 << 20):
        largest = int(tokens[start : start + (1 << 20)].max())
        if largest >= vocab_size:
            raise CorpusError(f"{folder / shard.file}: holds token {largest}; expected ids below {vocab_size}")
