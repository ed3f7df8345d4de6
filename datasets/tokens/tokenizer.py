"""Tokenizers: text to token ids and back, exactly.

There is one kind of token: a sequence of bytes. Ids 0 to 255 are the single bytes, and id 0, the byte that text can't
hold, closes each document; ids from 256 up are what merges made of smaller tokens. `ByteTokenizer` has no merges;
`BpeTokenizer` learns them from text with Hugging Face `tokenizers`. No text can ever produce id 0, and every text
without NUL comes back as it was, in any language.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from ...core.errors import CorpusError
from ...core.extras import require
from ...core.files import read_json, write_text
from ...core.units import shown

__all__ = [
    "MAX_VOCAB_SIZE",
    "MIN_BPE_VOCAB_SIZE",
    "BpeTokenizer",
    "ByteTokenizer",
    "Tokenizer",
    "load_tokenizer",
    "one_thread",
    "token_dtype",
    "train_bpe",
]

MIN_BPE_VOCAB_SIZE = 272
"""The 256 bytes and a few merges; with fewer, take the bytes alone."""
MAX_VOCAB_SIZE = 65_536
"""The largest vocabulary that two bytes per token hold on disk."""

_BYTES = 256
_END = 0
_FORMAT = 1
_MAX_FILE_BYTES = 4_000_000  # 65,280 merges take about 1 MB
_PIECE_CHARACTERS = 1_000_000
_ENVIRONMENT = threading.RLock()


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest little-endian unsigned type that holds the ids 0 to vocab_size - 1."""
    return np.dtype("u1" if vocab_size <= 1 << 8 else "<u2" if vocab_size <= 1 << 16 else "<u4")


class Tokenizer(ABC):
    """Turns text into token ids and back. `encode` adds no end of document; whoever packs documents does."""

    kind: str
    """`bytes` or `bpe`."""
    end_of_document = _END
    """The id that closes a document. It decodes to NUL, which no text may hold."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """How many ids there are; each is from 0 to vocab_size - 1."""

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, (n_tokens,) each, of type `dtype`, without an end of document.

        Raises CorpusError for a text that would not come back as it was: one that holds NUL or half a surrogate pair.
        """

    @abstractmethod
    def decode_bytes(self, ids: np.ndarray) -> bytes:
        """The bytes that ids, (n_tokens,), stand for; an end of document is a zero byte."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All that makes this tokenizer, in plain JSON types; `load_tokenizer` reads it back."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the ids in memory and on disk."""
        return token_dtype(self.vocab_size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what the tokenizer is: equal digests give equal ids for every text."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    def encode(self, text: str) -> np.ndarray:
        """The ids of one text, (n_tokens,). Errors as in `encode_batch`."""
        return self.encode_batch([text])[0]

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids, (n_tokens,). A part of a character, as at the edge of a window, becomes U+FFFD.

        Raises CorpusError for an id that isn't in the vocabulary.
        """
        ids = np.asarray(ids)
        wrong = ids[(ids < 0) | (ids >= self.vocab_size)]
        if len(wrong):
            raise CorpusError(f"token id {int(wrong[0])} isn't in the vocabulary; expected 0 to {self.vocab_size - 1}")
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer as JSON, whole. Raises InputError if the file can't be written."""
        write_text(path, self._json())

    def _json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":")) + "\n"


class ByteTokenizer(Tokenizer):
    """Each byte of the text's UTF-8 form is a token: 256 ids, nothing to learn, the fastest.

    >>> ByteTokenizer().encode("Añ").tolist()
    [65, 195, 177]
    """

    kind = "bytes"

    @property
    @override
    def vocab_size(self) -> int:
        return _BYTES

    @override
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(_utf8(text), np.uint8) for text in texts]

    @override
    def decode_bytes(self, ids: np.ndarray) -> bytes:
        return np.asarray(ids).astype(np.uint8).tobytes()

    @override
    def to_dict(self) -> dict[str, Any]:
        return {"format": _FORMAT, "kind": self.kind}


class BpeTokenizer(Tokenizer):
    """Byte-level byte-pair encoding. `merges` holds pairs of ids; pair number k joins two tokens that were there.

    A pair that spells a token which is there already adds none. Raises CorpusError for merges that make no sense.
    """

    kind = "bpe"

    def __init__(self, merges: Iterable[tuple[int, int]]) -> None:
        self._merges = tuple(merges)
        self._spelling = [bytes([value]) for value in range(_BYTES)]
        known = set(self._spelling)
        for number, pair in enumerate(self._merges):
            if not all(type(part) is int and 0 < part < len(self._spelling) for part in pair):
                raise CorpusError(f"merge {number}: got {shown(pair)}; expected two ids of earlier tokens, above 0")
            joined = self._spelling[pair[0]] + self._spelling[pair[1]]
            if joined not in known:
                known.add(joined)
                self._spelling.append(joined)
        if len(self._spelling) > MAX_VOCAB_SIZE:
            raise CorpusError(f"{len(self._spelling)} tokens; expected at most {MAX_VOCAB_SIZE}")

    @property
    @override
    def vocab_size(self) -> int:
        return len(self._spelling)

    @override
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        wanted = [_utf8(text) for text in texts]
        parts: list[list[np.ndarray]] = [[] for _ in texts]
        for group in _groups(texts):
            with one_thread():
                encodings = self._engine.encode_batch_fast([piece for _, piece in group])
            for (number, _), encoding in zip(group, encodings, strict=True):
                parts[number].append(np.asarray(encoding.ids, self.dtype))
        results = [np.concatenate(of_text) for of_text in parts]
        for text, data, ids in zip(texts, wanted, results, strict=True):
            if self.decode_bytes(ids) != data:
                raise CorpusError(f"{shown(text[:60])}: doesn't come back from its tokens; the tokenizer is damaged")
        return results

    @override
    def decode_bytes(self, ids: np.ndarray) -> bytes:
        # In parts, as Python numbers take many times the memory of an array's.
        parts = (ids[start : start + _PIECE_CHARACTERS].tolist() for start in range(0, len(ids), _PIECE_CHARACTERS))
        return b"".join(b"".join(map(self._spelling.__getitem__, part)) for part in parts)

    @override
    def to_dict(self) -> dict[str, Any]:
        return {"format": _FORMAT, "kind": self.kind, "merges": [list(pair) for pair in self._merges]}

    @cached_property
    def _engine(self) -> Any:
        """Hugging Face's fast encoder with these merges; ids are ours."""
        require("a bpe tokenizer", "tokenizers")
        from tokenizers import Tokenizer as Engine
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel

        spelt = ["".join(_ALPHABET[byte] for byte in token) for token in self._spelling]
        vocabulary = {token: number for number, token in enumerate(spelt)}
        engine = Engine(BPE(vocabulary, [(spelt[left], spelt[right]) for left, right in self._merges]))
        engine.pre_tokenizer = ByteLevel(add_prefix_space=False)
        return engine


def train_bpe(texts: Iterable[str], vocab_size: int) -> BpeTokenizer:
    """Learn byte pairs from text. Equal texts in equal order give the same tokenizer.

    `vocab_size` counts the 256 bytes; it comes out smaller where the text has too few pairs. `texts` are held in
    memory: give a sample, 10 MB is plenty. Raises CorpusError for another vocab_size than 272 to 65,536, or no text.
    """
    require("a bpe tokenizer", "tokenizers")
    from tokenizers import Tokenizer as Engine
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

    if not MIN_BPE_VOCAB_SIZE <= vocab_size <= MAX_VOCAB_SIZE:
        raise CorpusError(
            f"tokenizer: vocab_size: got {shown(vocab_size)}; expected {MIN_BPE_VOCAB_SIZE} to {MAX_VOCAB_SIZE}"
        )
    sample = [text for text in texts if _utf8(text)]
    if not sample:
        raise CorpusError("tokenizer: there is no text to learn byte pairs from; expected some training documents")
    engine = Engine(BPE())
    engine.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(vocab_size=vocab_size, initial_alphabet=list(_ALPHABET), show_progress=False)
    with one_thread():
        engine.train_from_iterator(sample, trainer)
    numbers = {character: byte for byte, character in enumerate(_ALPHABET)}
    merges = []
    for left, right in json.loads(engine.to_str())["model"]["merges"]:
        merges.append((numbers[left], numbers[right]))
        numbers.setdefault(left + right, len(numbers))
    return BpeTokenizer(merges)


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Read what `Tokenizer.save` wrote. Raises CorpusError, naming the file, for anything else."""
    data = read_json(path, _MAX_FILE_BYTES, CorpusError)
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise CorpusError(f"{path}: isn't a tokenizer of format {_FORMAT}; was it made by another version?")
    if data.get("kind") == ByteTokenizer.kind:
        return ByteTokenizer()
    merges = data.get("merges")
    if data.get("kind") != BpeTokenizer.kind or not isinstance(merges, list):
        raise CorpusError(f"{path}: kind {shown(data.get('kind'))}: expected bytes, or bpe with its merges")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in merges):
        raise CorpusError(f"{path}: merges: expected a list of pairs of ids")
    try:
        return BpeTokenizer((left, right) for left, right in merges)
    except CorpusError as error:
        raise CorpusError(f"{Path(path)}: {error}") from None


def _utf8(text: str) -> bytes:
    """The text's bytes, or CorpusError if it isn't text that every tokenizer keeps."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CorpusError(f"character {error.start} is half a surrogate pair; expected Unicode text") from None
    if b"\0" in data:
        raise CorpusError(f"byte {data.index(0)} is NUL, which ends a document; expected text, not binary data")
    return data


def _pieces(text: str) -> Iterator[str]:
    """Cut a very long text where words are cut anyway, before white space, so that memory stays bounded.

    Byte pairs never cross from a word into the space after it, so the ids are those of the whole text; only a stretch
    of a million characters without a space or a line end is cut anywhere.
    """
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        end = start + _PIECE_CHARACTERS
        cut = next((k for k in range(end, start, -1) if text[k] in " \n" and not text[k - 1].isspace()), end)
        yield text[start:cut]
        start = cut
    yield text[start:]


def _groups(texts: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    """The pieces of all texts, each with its text's number, in groups that the encoder can hold at once."""
    group: list[tuple[int, str]] = []
    size = 0
    for number, text in enumerate(texts):
        for piece in _pieces(text):
            if group and size + len(piece) > _PIECE_CHARACTERS:
                yield group
                group, size = [], 0
            group.append((number, piece))
            size += len(piece)
    if group:
        yield group


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep the encoder on this thread, unless the user's environment says otherwise.

    Threads would have to be forgotten by every process that is forked later. The library reads its setting from the
    environment at each call and offers no other way; the variable is there only while a call runs.
    """
    name = "TOKENIZERS_PARALLELISM"
    with _ENVIRONMENT:
        if name in os.environ:
            yield
            return
        os.environ[name] = "false"
        try:
            yield
        finally:
            del os.environ[name]


def _alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte inside byte-level encoders: itself, or one past U+00FF."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(spare)) for byte in range(_BYTES))


_ALPHABET = _alphabet()
