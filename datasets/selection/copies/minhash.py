"""Near-copies: documents that share most of their word sequences, told by MinHash signatures.

The share of equal entries in two signatures estimates the Jaccard similarity of the documents' sets of word sequences
(Broder 1997). Documents whose signatures agree in a whole band of entries are compared (locality-sensitive hashing),
and those found alike form groups, of which the first document is kept; a group can hold documents that are alike
through others only.
"""

from __future__ import annotations

import zlib

import numpy as np

from ....core.extras import require
from ...corpus.document import normalised
from ..embeddings.arrays import empty
from ..step import Texts

__all__ = ["band_rows", "groups", "signatures"]

_FOUND = 0.95  # least probability that two documents at the threshold meet in a band
_MOST_ROUNDS = 64  # comparisons of a document within a band
_BLOCK_PAIRS = 1 << 16


def signatures(texts: Texts, words: int, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """MinHash signatures of the documents' sequences of so many `words`: `(n, permutations)`, unsigned 32-bit numbers.

    A shorter document is one sequence. Memory: 4 · permutations bytes a document; beyond 512 MiB in a temporary file.
    """
    require("near-copies of documents", "datasketch")
    from datasketch import MinHash

    plain = MinHash(permutations, seed=int(rng.integers(2**32)), hashfunc=zlib.crc32, scheme="affine32")
    # unsigned numbers in an array of floats of the same width, which is only ever seen as the former
    made = empty(len(texts), permutations).view(np.uint32)
    for number, document in enumerate(texts):
        parts = normalised(document.text).split(" ")
        starts = range(max(1, len(parts) - words + 1))
        one = plain.copy()
        one.update_batch({" ".join(parts[start : start + words]).encode() for start in starts})
        made[number] = one.hashvalues
    return made


def band_rows(permutations: int, threshold: float) -> int:
    """Entries in a band: the most with which documents of similarity `threshold` still meet in 95 of 100 cases.

    Two signatures agree in a band of r entries with probability s^r, so in one of b with 1 − (1 − s^r)^b (Leskovec,
    Rajaraman, Ullman, Mining of Massive Datasets, section 3.4).

    >>> band_rows(128, 0.7)
    5
    """
    fits = [
        rows for rows in range(1, permutations + 1) if 1 - (1 - threshold**rows) ** (permutations // rows) >= _FOUND
    ]
    return max(fits, default=1)


def groups(signatures: np.ndarray, threshold: float) -> np.ndarray:
    """Say to which group of near-copies each document belongs `(n,)`: the number of the group's first document.

    Documents that meet in a band are compared with the first among them, those unlike it with the first of the rest,
    and so on, 64 times at most, so that a form letter in a million versions doesn't take for ever.
    """
    rows = band_rows(signatures.shape[1], threshold)
    group = np.arange(len(signatures))
    for start in range(0, signatures.shape[1] - rows + 1, rows):
        first, second = _alike(signatures, np.ascontiguousarray(signatures[:, start : start + rows]), group, threshold)
        group = _joined(group, first, second)
    return group


def _alike(
    signatures: np.ndarray, band: np.ndarray, group: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of documents that meet in a band `(n, rows)` and are alike `(pairs,)` each, not yet of one group."""
    bucket = np.unique(band.view(f"S{band.itemsize * band.shape[1]}").ravel(), return_inverse=True)[1]
    # documents of a bucket beside each other, in order
    left = np.argsort(bucket, kind="stable")
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(_MOST_ROUNDS):
        first = _first_of_runs(bucket[left])
        others = np.arange(len(left)) != first
        pivots, rest = left[first[others]], left[others]
        if not len(rest):
            break
        open_ = group[pivots] != group[rest]
        close = np.zeros(len(rest), bool)
        close[open_] = _similar(signatures, pivots[open_], rest[open_], threshold)
        found.append((pivots[close], rest[close]))
        left = rest[open_ & ~close]
    if not found:
        return np.empty(0, int), np.empty(0, int)
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _first_of_runs(values: np.ndarray) -> np.ndarray:
    """Where the run of equal values begins that each value `(n,)` stands in.

    >>> _first_of_runs(np.array([4, 4, 2, 7, 7])).tolist()
    [0, 0, 2, 3, 3]
    """
    starts = np.ones(len(values), bool)
    starts[1:] = values[1:] != values[:-1]
    return np.maximum.accumulate(np.where(starts, np.arange(len(values)), 0))


def _similar(signatures: np.ndarray, first: np.ndarray, second: np.ndarray, threshold: float) -> np.ndarray:
    """Whether the estimated similarity of pairs of documents reaches the threshold `(pairs,)`."""
    similar = np.empty(len(first), bool)
    for start in range(0, len(first), _BLOCK_PAIRS):
        block = slice(start, start + _BLOCK_PAIRS)
        similar[block] = (signatures[first[block]] == signatures[second[block]]).mean(axis=1) >= threshold
    return similar


def _joined(group: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Groups `(n,)` after those of pairs of documents became one, each named by its first document."""
    if not len(first):
        return group
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first), bool), (group[first], group[second])), shape=(len(group), len(group)))
    part = connected_components(links, directed=False)[1]
    # the groups of the pairs' parts, each by the least of its members
    name = np.full(part.max() + 1, len(group))
    np.minimum.at(name, part, np.arange(len(group)))
    return name[part[group]]
