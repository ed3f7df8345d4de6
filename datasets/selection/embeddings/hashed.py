"""Vectors made of words: their counts, hashed, weighed by TF-IDF, and turned to the 128 directions that hold most.

Counts enter as 1 + log, so that a page that repeats itself looks like one that doesn't. Weights and directions are
learned from a sample of documents, so that memory does not grow with their words. Bags of words don't see order: two
documents of the same words, shuffled, have the same vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ....core.errors import CorpusError
from ....core.extras import require
from ..step import Texts
from . import arrays

__all__ = ["DIMENSIONS", "all_vectors", "batches", "learn"]

DIMENSIONS = 128
"""Of the vectors; fewer where there are fewer documents. With 64, documents of a narrow topic look like copies of each
other: semantic copies at .9 took most dialogues of the benchmarks' pool (`selection.py screening`), with 128 few."""

_WORDS = 1 << 16  # columns that words are hashed to
_SAMPLE = 8_192  # documents that weights and directions are learned from
_BATCH_DOCUMENTS = 2_048
_BATCH_CHARACTERS = 1 << 23

_Encode = Callable[[Sequence[str]], np.ndarray]


def learn(texts: Texts, rng: np.random.Generator) -> _Encode:
    """Learn weights and directions from a sample of the documents.

    Returns a function from texts to vectors `(n, dimensions)`, float32, rows of length 1 (or 0: no known word). Raises
    CorpusError where none of the documents holds a word.
    """
    require("embedding documents", "sklearn")
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    counter = HashingVectorizer(n_features=_WORDS, alternate_sign=False, norm=None)  # pyright: ignore[reportArgumentType]
    counts = _counts(texts, _sample(len(texts), rng), counter.transform)
    if not counts.nnz:
        raise CorpusError(
            f"{texts.place}: embeddings: no document holds a word of two letters, of which vectors are made; expected "
            "text with words, or a .npy of vectors"
        )
    weigh: Any = TfidfTransformer(sublinear_tf=True).fit(counts)
    occurs = np.unique(counts.indices)
    # with one thread: sums of floats depend on how many share them
    with threadpool_limits(1):
        weighed, seed = weigh.transform(counts)[:, occurs], int(rng.integers(2**32))
        directions = np.zeros((_WORDS, min(DIMENSIONS, *weighed.shape)))
        directions[occurs] = randomized_svd(weighed, directions.shape[1], random_state=seed)[2].T

    def encode(some: Sequence[str]) -> np.ndarray:
        with threadpool_limits(1):
            return arrays.unit_rows(weigh.transform(counter.transform(some)) @ directions)

    return encode


def all_vectors(texts: Texts, encode: _Encode) -> np.ndarray:
    """The vectors of all documents `(n, dimensions)`, read as a stream."""
    vectors, done = None, 0
    for batch in batches(texts):
        made = encode(batch)
        vectors = arrays.empty(len(texts), made.shape[1]) if vectors is None else vectors
        vectors[done : done + len(made)] = made
        done += len(made)
    assert vectors is not None  # a step has one document at least
    return vectors


def batches(texts: Texts, wanted: np.ndarray | None = None) -> Iterator[list[str]]:
    """Yield the texts of documents, all or those that are `wanted` `(n,)`, some at a time."""
    batch, characters = [], 0
    for number, document in enumerate(texts):
        if wanted is not None and not wanted[number]:
            continue
        batch.append(document.text)
        characters += len(document.text)
        if len(batch) == _BATCH_DOCUMENTS or characters > _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _sample(documents: int, rng: np.random.Generator) -> np.ndarray:
    """Which documents are learned from `(n,)`."""
    wanted = np.zeros(documents, bool)
    wanted[rng.choice(documents, min(documents, _SAMPLE), replace=False)] = True
    return wanted


def _counts(texts: Texts, wanted: np.ndarray, count: Callable[[list[str]], Any]) -> Any:
    """Hashed words of the documents that are wanted, a sparse matrix."""
    import scipy.sparse

    return scipy.sparse.vstack([count(batch) for batch in batches(texts, wanted)], format="csr")
