"""The bandwidth at which copies show: chosen on copies made for the purpose.

With a bandwidth that is too narrow near-copies are not seen, with one that is too wide everything of a common topic
looks like a copy; in both cases the sums of the kernel tell nothing of copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..step import Texts
from .kernel_sums import kernel

__all__ = ["choose", "edited", "make_copies", "race_shares"]

BANDWIDTHS = tuple(np.geomspace(0.02, 1.0, 24).tolist())
"""Those that are tried: distances between vectors of length 1."""

_ORIGINALS = 64
_COPIES = 5  # of each
_CHANGED_WORDS = 0.1
_COSINE = 0.95  # of a made copy, where vectors come from a file
_REST = 2_048  # other documents that copies are compared with
_LONGEST = 4_000  # words of an original
_FEWEST = 8
_UNTOLD = 0.2  # bandwidth for fewer documents than that; from .1 to .3 served on our pool of 2.2 MB


def make_copies(
    texts: Texts,
    vectors: np.ndarray,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Make 5 copies of each of up to 64 documents, a tenth of the words changed.

    Where vectors come from a file (`encode` is None) noise is added to them, to a cosine of 0.95.

    Returns the vectors of these documents and their copies `(6 · documents, dimensions)`, and the documents' numbers.
    """
    count = min(_ORIGINALS, len(texts) // 4)
    originals = np.sort(rng.choice(len(texts), count, replace=False))
    if encode is None:
        noise = rng.standard_normal((count, _COPIES, vectors.shape[1])) / np.sqrt(vectors.shape[1])
        plain = np.asarray(vectors[originals], float)[:, None]
        copies = plain + noise * np.sqrt(_COSINE**-2 - 1)
        copies /= np.linalg.norm(copies, axis=2, keepdims=True)
        together = np.concatenate([plain, copies], axis=1)
        return together.reshape(-1, vectors.shape[1]).astype(np.float32), originals
    wanted = set(originals.tolist())
    of_originals = [document.text.split()[:_LONGEST] for number, document in enumerate(texts) if number in wanted]
    pool = [word for words in of_originals for word in words]
    made = [edited(words, pool, rng) if copy else words for words in of_originals for copy in range(_COPIES + 1)]
    return encode([" ".join(words) for words in made]), originals


def edited(words: Sequence[str], pool: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The words of a text, a tenth of them, one at least, changed to some of a pool.

    >>> edited(["a", "b", "c"], ["x"], np.random.default_rng(0))
    ['a', 'b', 'x']
    """
    parts = list(words)
    changed = rng.choice(len(parts), max(1, round(_CHANGED_WORDS * len(parts))), replace=False)
    for place in changed.tolist():
        parts[place] = pool[int(rng.integers(len(pool)))]
    return parts


def choose(
    texts: Texts,
    vectors: np.ndarray,
    encode: Callable[[Sequence[str]], np.ndarray] | None,
    keep: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Choose the bandwidth at which made copies are kept least often, relative to other documents.

    Args:
        texts: The documents.
        vectors: Of the documents `(n, dimensions)`.
        encode: Makes vectors of other texts; None where they come from a file.
        keep: Share that will be kept.
        rng: Draws documents, changes and samples.

    Returns:
        The bandwidth, and how often a copy is kept then relative to other documents, 1 for as often.
    """
    if len(texts) < _FEWEST:
        return _UNTOLD, 1.0
    copies, originals = make_copies(texts, vectors, encode, rng)
    others = np.setdiff1d(np.arange(len(vectors)), originals)
    rest = np.asarray(vectors[np.sort(rng.choice(others, min(_REST, len(others)), replace=False))])
    weight = len(others) / len(rest)
    ratios = [_kept_relative(copies, rest, weight, keep, bandwidth) for bandwidth in BANDWIDTHS]
    best = int(np.argmin(ratios))
    return float(BANDWIDTHS[best]), float(ratios[best])


def _kept_relative(copies: np.ndarray, rest: np.ndarray, weight: float, keep: float, bandwidth: float) -> float:
    """How often copies are kept relative to the rest, each of which stands for `weight` documents."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        across = kernel(rest, copies, bandwidth)
        of_copies = kernel(copies, copies, bandwidth).sum(axis=1) + weight * across.sum(axis=0)
        among = kernel(rest, rest, bandwidth)
        np.fill_diagonal(among, 0)
        of_rest = 1 + across.sum(axis=1) + weight * len(rest) / max(len(rest) - 1, 1) * among.sum(axis=1)
    weights = np.concatenate([np.ones(len(copies)), np.full(len(rest), weight)])
    shares = race_shares(1 / np.concatenate([of_copies, of_rest]), weights, keep)
    return float(shares[: len(copies)].mean() / shares[len(copies) :].mean())


def race_shares(rates: np.ndarray, weights: np.ndarray, keep: float) -> np.ndarray:
    """How often each document `(n,)` is among the first when they arrive at random at these rates, until a share
    `keep` of the weights is there: 1 − exp(−rate · t).

    >>> race_shares(np.array([1.0, 1.0]), np.ones(2), 0.5).round(3).tolist()
    [0.5, 0.5]
    """
    low, high = 0.0, 1.0
    target = min(keep, 1 - 1e-9) * weights.sum()
    while weights @ -np.expm1(-rates * high) < target:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if weights @ -np.expm1(-rates * middle) < target else (low, middle)
    return -np.expm1(-rates * high)
