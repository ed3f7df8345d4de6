"""Bytes per token of a domain, counted on a fair draw of its documents in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Protocol

__all__ = ["TokenCounter", "TokenSample"]

# Half a per cent of bytes per token at most, at 16 million characters of documents that differ as web pages do.
_SAMPLE_CHARACTERS = 1 << 24
_DOCUMENT_CHARACTERS = 1 << 20


class TokenCounter(Protocol):
    """Counts the tokens of texts, as some tokenizer cuts them."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def vocab_size(self) -> int:
        """How many different tokens it has."""
        ...

    def count(self, texts: Sequence[str]) -> int:
        """Tokens of all texts together, without any that mark where a document begins or ends."""
        ...


class TokenSample:
    """Holds those documents whose digests are the smallest, 16 million characters at most, and counts their tokens.

    It doesn't depend on the order of the files. Of a document, the first million characters are held.
    """

    def __init__(self) -> None:
        # A heap whose top has the largest digest, negated as a number.
        self._held: list[tuple[int, str]] = []
        self._characters = 0

    def add(self, text: str, digest: bytes) -> None:
        """Take in a document; `digest` decides whether it is held."""
        rank = -int.from_bytes(digest, "big")
        if self._characters >= _SAMPLE_CHARACTERS and rank <= self._held[0][0]:
            return
        text = text[:_DOCUMENT_CHARACTERS]
        heapq.heappush(self._held, (rank, text))
        self._characters += len(text)
        while self._characters - len(self._held[0][1]) >= _SAMPLE_CHARACTERS:
            self._characters -= len(heapq.heappop(self._held)[1])

    def bytes_per_token(self, counter: TokenCounter) -> float:
        """Bytes of text per token of what is held, of which there must be something."""
        texts = [text for _, text in self._held]
        return sum(len(text.encode("utf-8")) for text in texts) / max(1, counter.count(texts))
