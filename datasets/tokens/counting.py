"""Counting tokens with a tokenizer from a file: our own, or a `tokenizer.json` of Hugging Face `tokenizers`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...core.errors import CorpusError
from ...core.extras import require
from ...core.files import read_json
from .tokenizer import load_tokenizer, one_thread

__all__ = ["FileTokenCounter"]

_MAX_FILE_BYTES = 100_000_000  # a vocabulary of 256,000 takes 33 MB
_CHARACTERS_AT_ONCE = 1_000_000


class FileTokenCounter:
    """Counts tokens as the tokenizer of a file cuts text; `name` is that of the file.

    Raises `CorpusError` for a file that can't be read, or holds no tokenizer.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = Path(path).name
        facts = read_json(path, _MAX_FILE_BYTES, CorpusError)
        self._ours = self._engine = None
        if isinstance(facts, dict) and "format" in facts:
            self._ours = load_tokenizer(path)
            self.vocab_size = self._ours.vocab_size
        else:
            self._engine = _engine(path, facts)
            self.vocab_size = int(self._engine.get_vocab_size())

    def count(self, texts: Sequence[str]) -> int:
        """Tokens of all texts together, without any that mark where a document begins or ends."""
        tokens = 0
        batch: list[str] = []
        for text in texts:
            batch.append(text)
            if sum(map(len, batch)) >= _CHARACTERS_AT_ONCE:
                tokens += self._count(batch)
                batch = []
        return tokens + self._count(batch)

    def _count(self, texts: Sequence[str]) -> int:
        if self._ours is not None:
            return sum(map(len, self._ours.encode_batch(texts)))
        assert self._engine is not None
        with one_thread():
            return sum(map(len, self._engine.encode_batch_fast(texts, add_special_tokens=False)))


def _engine(path: str | os.PathLike[str], facts: Any) -> Any:
    """Hugging Face's tokenizer. Raises `CorpusError` where the file holds none."""
    require("a tokenizer.json", "tokenizers")
    from tokenizers import Tokenizer

    if not isinstance(facts, dict) or not isinstance(facts.get("model"), dict):
        raise CorpusError(f"{path}: holds no tokenizer; expected a tokenizer.json with its model")
    # a tokenizer that cuts long texts or fills up short ones would be counted wrongly
    plain = {**facts, "truncation": None, "padding": None}
    try:
        return Tokenizer.from_str(json.dumps(plain))
    except Exception as cause:  # the library raises nothing more precise
        raise CorpusError(f"{path}: holds no tokenizer that can be read: {cause}") from None
