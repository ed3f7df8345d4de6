"""Detection: does a text hold more green tokens than text that doesn't know the key?

Each different (context, token) of a text counts once, since a phrase that is repeated is no new evidence (Fernandez et
al. 2023, "Three Bricks to Consolidate Watermarks for Large Language Models", 2308.00113, section 3.3). In text written
without the key the number of green ones among n different ones is then binomial(n, γ) over the choice of the key, and

    p = P(at least as many green) = I_γ(green, n - green + 1),

the regularized incomplete beta function: exact for every length, where a normal approximation is not. Of several keys
the smallest p counts, corrected by Šidák, 1 - (1 - p)^keys, exact for keys that are drawn independently.

A text is `marked`, or it is `undecided`: what carries no mark that these keys show may still have been generated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import special, stats

from ...core.errors import UsageError
from ...core.units import shown
from .green import Watermark

__all__ = ["ALPHA", "Counts", "Detection", "Detector", "Verdict", "corrected", "count", "detect", "p_values"]

ALPHA = 3e-5
"""A z of 4, at which Kirchenbauer et al. 2023 (2301.10226, section 2) call a text marked."""

Verdict = Literal["marked", "undecided"]
"""What is said of a text. There is no verdict `human`: a missing mark is no evidence of who wrote it."""

_MOST_ALPHA = 0.5
_HASHES_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one text, or of each of several `(…)`: the different (context, token) in it, and the green ones of them."""

    scored: np.ndarray
    green: np.ndarray


def count(tokens: np.ndarray, watermark: Watermark) -> Counts:
    """Count the different (context, token) of one text, or of each of several of equal length, and the green ones.

    Args:
        tokens: Ids of tokens `(…, length)`.
        watermark: Whose green lists.

    Returns:
        int64 each `(…)`.

    >>> mark = Watermark(key="0123456789abcdef")
    >>> once, twice = (count(np.frombuffer(b"abcdefgh" * times, np.uint8), mark) for times in (2, 20))
    >>> int(once.scored), bool(once.scored == twice.scored), bool(once.green == twice.green)
    (8, True, True)
    """
    scored = np.zeros(tokens.shape[:-1], np.int64)
    green = np.zeros(tokens.shape[:-1], np.int64)
    rows = tokens.reshape(math.prod(tokens.shape[:-1]), tokens.shape[-1])
    for part in _parts(*rows.shape):
        hashes = np.sort(watermark.hashes(rows[part]), axis=-1)
        if not hashes.size:
            continue
        first = np.ones(hashes.shape, bool)
        first[:, 1:] = hashes[:, 1:] != hashes[:, :-1]
        scored.reshape(-1)[part] = first.sum(axis=-1)
        green.reshape(-1)[part] = (first & watermark.is_green(hashes)).sum(axis=-1)
    return Counts(scored, green)


def p_values(counts: Counts, gamma: float) -> np.ndarray:
    """The probability of at least so many green ones in text written without the key `(…)`; 1 where none is scored.

    Below 1e-308 it is 0.

    >>> p_values(Counts(np.array([10, 10, 0]), np.array([10, 0, 0])), 0.5).tolist()
    [0.0009765625, 1.0, 1.0]
    """
    green = np.asarray(counts.green)
    tail = special.betainc(np.maximum(green, 1), np.asarray(counts.scored) - green + 1.0, gamma)
    return np.where(green > 0, tail, 1.0)


def corrected(p: np.ndarray, keys: int) -> np.ndarray:
    """The probability that the smallest of the p-values of so many independent keys is as small as `p`, by Šidák.

    >>> corrected(np.array([1e-6, 0.5]), 3).round(9).tolist()
    [3e-06, 0.875]
    """
    with np.errstate(divide="ignore"):
        return -np.expm1(keys * np.log1p(-p))


@dataclass(frozen=True, slots=True)
class Detection:
    """What is known of a text: the verdict, and what it follows from.

    `p` is corrected for the number of keys; `scored`, `green` and `fingerprint` are those of the key that says most.
    Below `tokens_needed` no text can be called marked, whatever it holds.
    """

    verdict: Verdict
    p: float
    tokens: int
    scored: int
    green: int
    fingerprint: str
    keys: int
    tokens_needed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Detector:
    """Looks for the marks of some keys in text of one vocabulary.

    Args:
        watermarks: One of each key that may have marked the text; their keys differ.
        vocab_size: Tokens of the vocabulary that texts are given in.
        alpha: The probability at which text that was written without the keys is called marked, at most.
        tokenizer: Digest of the tokenizer that texts are given in, where it is known.

    Raises:
        UsageError: No key, one key twice, a watermark of another vocabulary, or another alpha than above 0 and at most
            one half.

    >>> detector = Detector([Watermark(key="0123456789abcdef")], vocab_size=256)
    >>> found = detector.detect(np.frombuffer(b"The mark is in the text, or not.", np.uint8))
    >>> found.verdict, found.scored, detector.tokens_needed
    ('undecided', 29, 19)
    """

    def __init__(
        self, watermarks: Sequence[Watermark], vocab_size: int, alpha: float = ALPHA, tokenizer: str | None = None
    ) -> None:
        if not watermarks:
            raise UsageError("watermark: no key; expected one at least: without it marked text looks like any other")
        if not 0 < alpha <= _MOST_ALPHA:
            raise UsageError(f"alpha: got {shown(alpha)}; expected a probability above 0 and at most {_MOST_ALPHA}")
        prints = [watermark.fingerprint for watermark in watermarks]
        if len(set(prints)) < len(prints):
            twice = next(one for one in prints if prints.count(one) > 1)
            raise UsageError(f"watermark: the key {twice} comes twice; expected each key once")
        for watermark in watermarks:
            watermark.check_vocabulary(vocab_size, tokenizer)
        self.watermarks = tuple(watermarks)
        self.alpha = alpha

    @property
    def alpha_of_a_key(self) -> float:
        """The p-value of one key, uncorrected, at which a text is marked."""
        return -math.expm1(math.log1p(-self.alpha) / len(self.watermarks))

    @property
    def tokens_needed(self) -> int:
        """The length in tokens below which no text can be called marked, even if all of it is green.

        Marked text of this length is rarely all green: most is found from a few times this length on.
        """
        level = math.log(self.alpha_of_a_key)
        return min(mark.context + math.ceil(level / math.log(mark.gamma)) for mark in self.watermarks)

    def p_values(self, texts: np.ndarray) -> np.ndarray:
        """The p-value of each of several texts of equal length, corrected for the number of keys.

        Args:
            texts: Ids of tokens `(n, length)`.

        Returns:
            float64 `(n,)`.
        """
        each = [p_values(count(texts, mark), mark.gamma) for mark in self.watermarks]
        return corrected(np.min(each, axis=0), len(self.watermarks))

    def detect(self, tokens: np.ndarray) -> Detection:
        """Say what is known of one text, of tokens `(length,)`."""
        return self.judged([count(tokens, mark) for mark in self.watermarks], len(tokens))

    def judged(self, counts: Sequence[Counts], tokens: int) -> Detection:
        """Say what follows from what was counted of one text with the key of each watermark."""
        each = [float(p_values(of, mark.gamma)) for of, mark in zip(counts, self.watermarks, strict=True)]
        best = int(np.argmin(each))
        p = float(corrected(np.array(each[best]), len(each)))
        return Detection(
            verdict="marked" if each[best] <= self.alpha_of_a_key else "undecided",
            p=p,
            tokens=tokens,
            scored=int(counts[best].scored),
            green=int(counts[best].green),
            fingerprint=self.watermarks[best].fingerprint,
            keys=len(each),
            tokens_needed=self.tokens_needed,
        )

    def false_positives(self, scored: np.ndarray) -> np.ndarray:
        """The probability, at most alpha, of calling a text marked that was written without the keys.

        Counts are whole numbers, so that it is below alpha, by the most for short texts.

        Args:
            scored: How many different (context, token) each text has `(n,)`.

        Returns:
            float64 `(n,)`.
        """
        different, places = np.unique(scored, return_inverse=True)
        missed = np.ones(len(different))
        for mark in self.watermarks:
            allowed = stats.binom.isf(self.alpha_of_a_key, different, mark.gamma)
            missed *= 1 - np.where(different > 0, stats.binom.sf(allowed, different, mark.gamma), 0.0)
        return (1 - missed)[places]


def detect(
    tokens: np.ndarray, watermark: Watermark | Sequence[Watermark], vocab_size: int, alpha: float = ALPHA
) -> Detection:
    """Say what is known of one text, of tokens `(length,)`; arguments and errors as those of `Detector`.

    >>> detect(np.zeros(1000, np.uint8), Watermark(key="0123456789abcdef"), 256).scored
    1
    """
    watermarks = [watermark] if isinstance(watermark, Watermark) else watermark
    return Detector(watermarks, vocab_size, alpha).detect(tokens)


def _parts(rows: int, length: int) -> Iterator[slice]:
    """Rows by parts whose hashes take some tens of megabytes."""
    step = max(1, _HASHES_AT_ONCE // max(length, 1))
    for start in range(0, rows, step):
        yield slice(start, start + step)
