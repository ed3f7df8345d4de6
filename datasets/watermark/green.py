"""Green lists: which tokens a watermark prefers after which others, by a secret key.

After h tokens, a keyed hash of them and of a candidate calls a share γ of the vocabulary green; whoever generates adds
δ to the logits of the green ones. Whoever holds the key counts them. Kirchenbauer et al. 2023, "A Watermark for Large
Language Models" (2301.10226), algorithm 2; with a longer context as in "On the Reliability of Watermarks for Large
Language Models" (2306.04634), section 2.

The hash is mix(m + Σ mᵢ·tᵢ) modulo 2⁶⁴ over the h tokens and the candidate, with secret odd numbers m of 64 bits, and
the finalizer of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 14) as
`mix`. Whether one token is green doesn't depend on the others, so that the number of green ones among different
(context, token) in text that doesn't know the key is binomial, exactly. It is made for speed: it resists whoever reads
marked text, not a cryptanalyst who may ask for the hash of whatever he likes.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, WithJsonSchema

from ...core.errors import ConfigError, UsageError
from ...core.reading.fields import Frozen, Real, Whole, whole_schema
from ...core.units import shown

__all__ = ["SHORTEST_KEY", "Watermark"]

SHORTEST_KEY = 16
"""Characters of a key at least: as hexadecimal digits 64 bits, the width of the hash."""

_LONGEST_KEY = 1000
_SHORTEST_CONTEXT = 3
_FINGERPRINT = "fingerprint:"
_TAG = b"foretrain watermark 1"  # change it when equal keys would call other tokens green
_BYTES = 256
_DIGEST = r"^[0-9a-f]{64}$"


def _text(key: object) -> object:
    """Refuse what isn't text, without showing it: digits alone are a number to YAML."""
    if not isinstance(key, str | SecretStr):
        raise ConfigError("got something other than text; expected the key in quotes")
    return key


def _key(key: SecretStr) -> SecretStr:
    """Refuse keys that can be guessed, and what stands for a key where one is shown."""
    text = key.get_secret_value()
    if text.startswith(_FINGERPRINT):
        raise ConfigError("got the fingerprint of a key; expected the key itself")
    if not SHORTEST_KEY <= len(text) <= _LONGEST_KEY:
        raise ConfigError(
            f"got {len(text)} characters; expected {SHORTEST_KEY} to {_LONGEST_KEY} that can't be guessed, "
            "such as 32 random hexadecimal digits"
        )
    return key


def _context(length: int) -> int:
    """Refuse contexts that real text repeats too often."""
    if length < _SHORTEST_CONTEXT:
        raise ConfigError(
            f"got {length}; expected {_SHORTEST_CONTEXT} tokens or more: a text has few different ones of {length + 1} "
            "in a row, and whether its commonest are green decides whether all real text looks marked"
        )
    return length


def _fingerprint(key: SecretStr) -> str:
    return _FINGERPRINT + hashlib.sha256(_TAG + b" fingerprint " + key.get_secret_value().encode()).hexdigest()[:16]


class Watermark(Frozen):
    """A watermark: its key, its strength, and the tokens that it marks.

    The key is a secret. It is neither printed nor written: where settings are shown or digested, its fingerprint
    stands for it.

    >>> mark = Watermark(key="0123456789abcdef")
    >>> contexts, tokens = np.array([[1, 2, 3], [2, 2, 3]]), np.array([4, 4])
    >>> mark.green(contexts, tokens).tolist()
    [True, False]
    >>> mark.bias(contexts, 256)[:, 4:8].tolist()
    [[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]
    >>> mark.model_dump(mode="json")["key"]
    'fingerprint:b5b44debff566ab8'
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    key: Annotated[
        SecretStr,
        BeforeValidator(_text),
        AfterValidator(_key),
        PlainSerializer(_fingerprint, when_used="json"),
        WithJsonSchema({"type": "string", "minLength": SHORTEST_KEY, "maxLength": _LONGEST_KEY}),
    ] = Field(description="The secret, 16 characters or more that can't be guessed.")
    gamma: Annotated[Real, Field(gt=0, lt=1)] = Field(default=0.5, description="Share of the vocabulary that is green.")
    delta: Annotated[Real, Field(gt=0, le=100)] = Field(
        default=2.0, description="What is added to the logits of green tokens, in nats."
    )
    context: Annotated[Whole, Field(ge=1, le=16), AfterValidator(_context), whole_schema(_SHORTEST_CONTEXT, 16)] = (
        Field(default=3, description="Tokens before a token on which it depends whether it is green: 3 or more.")
    )
    vocab_size: Annotated[Whole, Field(ge=2, le=2**24), whole_schema(2, 2**24)] = Field(
        default=_BYTES, description="Tokens of the vocabulary that is marked; 256 are bytes."
    )
    tokenizer: str | None = Field(
        default=None,
        pattern=_DIGEST,
        description="SHA-256 of the tokenizer whose tokens are marked, where they aren't bytes.",
    )

    @property
    def fingerprint(self) -> str:
        """What stands for the key where it is shown."""
        return _fingerprint(self.key)

    def check_vocabulary(self, vocab_size: int, tokenizer: str | None = None) -> None:
        """Raise UsageError for another vocabulary than the watermark's; `tokenizer` is its digest, where it is known,
        and compared where the watermark states one."""
        if vocab_size != self.vocab_size:
            raise UsageError(
                f"watermark {self.fingerprint}: marks a vocabulary of {self.vocab_size} tokens, got one of "
                f"{vocab_size}; expected the vocabulary that was marked, stated as vocab_size"
            )
        if None not in (tokenizer, self.tokenizer) and tokenizer != self.tokenizer:
            raise UsageError(
                f"watermark {self.fingerprint}: marks tokens of the tokenizer {self.tokenizer}, got those of "
                f"{tokenizer}; expected the tokenizer whose tokens were marked"
            )

    def green(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Say of each token whether it is green after its context.

        Args:
            contexts: Ids of the tokens before, the last one last `(n, context)`.
            tokens: Ids of the tokens `(n,)`.

        Returns:
            bool `(n,)`.

        Raises:
            UsageError: Contexts of another length.
        """
        hashes = self.of_contexts(contexts)
        hashes += _uint64(tokens) * self._factors[-1]
        return self.is_green(_mixed(hashes))

    def bias(self, contexts: np.ndarray, vocab_size: int) -> np.ndarray:
        """What is added to the logits of each token of the vocabulary after each context, `delta` or 0.

        Args:
            contexts: Ids of the tokens before, the last one last `(n, context)`.
            vocab_size: V, which must be the watermark's.

        Returns:
            float32 `(n, V)`.

        Raises:
            UsageError: Contexts of another length, or another vocabulary.
        """
        self.check_vocabulary(vocab_size)
        hashes = self.of_contexts(contexts)[:, None] + np.arange(vocab_size, dtype=np.uint64) * self._factors[-1]
        return np.where(self.is_green(_mixed(hashes)), np.float32(self.delta), np.float32(0.0))

    def hashes(self, tokens: np.ndarray) -> np.ndarray:
        """The hash of every token of a text that has a whole context before it, with that context.

        Equal hashes are equal (context, token), but for about one pair in 2⁴⁸.

        Args:
            tokens: Ids of one text, or of some of equal length `(…, n)`.

        Returns:
            uint64 `(…, max(n - context, 0))`.
        """
        count = max(tokens.shape[-1] - self.context, 0)
        hashes = np.full((*tokens.shape[:-1], count), self._start, np.uint64)
        for place, factor in enumerate(self._factors):
            hashes += _uint64(tokens[..., place : place + count]) * factor
        return _mixed(hashes)

    def is_green(self, hashes: np.ndarray) -> np.ndarray:
        """Say of each hash whether its token is green after its context, bool of the same shape."""
        return hashes < np.uint64(self.gamma * 2.0**64)

    def of_contexts(self, contexts: np.ndarray) -> np.ndarray:
        """The part of the hash that is each context's, uint64 `(n,)`; the same contexts have the same.

        Raises UsageError for contexts of another length.
        """
        if contexts.ndim != 2 or contexts.shape[1] != self.context:
            raise UsageError(
                f"watermark: contexts: got an array of shape {shown(contexts.shape)}; expected (n, {self.context})"
            )
        hashes = np.full(len(contexts), self._start, np.uint64)
        for place, factor in enumerate(self._factors[:-1]):
            hashes += _uint64(contexts[:, place]) * factor
        return hashes

    @property
    def _start(self) -> np.uint64:
        return _secrets(self.key, self.context)[0]

    @property
    def _factors(self) -> tuple[np.uint64, ...]:
        """A factor for each token of a context, then that of the token itself."""
        return _secrets(self.key, self.context)[1]


@functools.lru_cache(maxsize=64)
def _secrets(key: SecretStr, context: int) -> tuple[np.uint64, tuple[np.uint64, ...]]:
    """What the hash starts from, and its factors: odd, so that no token of a context goes unread."""
    numbers = []
    for place in range(context + 2):
        data = hashlib.sha256(_TAG + f" {context} {place} ".encode() + key.get_secret_value().encode()).digest()
        numbers.append(np.uint64(int.from_bytes(data[:8], "little") | 1))
    return numbers[0], tuple(numbers[1:])


def _uint64(tokens: np.ndarray) -> np.ndarray:
    return np.asarray(tokens).astype(np.uint64)


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64, in place."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values
