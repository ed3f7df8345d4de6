"""Vectors that the user has: a `.npy` with one row for each training document of a domain, in order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....core.errors import CorpusError
from ..step import Texts
from . import arrays

__all__ = ["read"]

_BLOCK_ROWS = 65_536


def read(texts: Texts, path: str) -> np.ndarray:
    """Read the rows of the documents that reach a step `(n, dimensions)`, float32, each divided by its length.

    Raises CorpusError for a file that isn't an array of numbers with a row for every training document, and for rows
    that aren't finite or hold zeros only.
    """
    where = f"{texts.place}: embeddings: {path}"
    rows = _opened(texts, path, where)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or not rows.shape[1]:
        raise CorpusError(f"{where}: holds {rows.dtype} of shape {rows.shape}; expected numbers, one row a document")
    if len(rows) != texts.total:
        what = "lacks" if len(rows) < texts.total else "has too many"
        raise CorpusError(
            f"{where}: {what} rows: got {len(rows):,}; expected {texts.total:,}, one for each training document of the "
            "domain in order, blank ones left out"
        )
    for start, block in _blocks(rows):
        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1) | ~block.any(axis=1))
        if len(wrong):
            row = block[wrong[0]]
            what = "holds zeros only" if np.isfinite(row).all() else "isn't finite"
            raise CorpusError(f"{where}: row {start + wrong[0]} (from 0) {what}; expected a vector with a direction")
    numbers = texts.numbers
    vectors = arrays.empty(len(numbers), rows.shape[1])
    for start in range(0, len(numbers), _BLOCK_ROWS):
        some = numbers[start : start + _BLOCK_ROWS]
        vectors[start : start + len(some)] = arrays.unit_rows(rows[some])
    return vectors


def _opened(texts: Texts, path: str, where: str) -> np.ndarray:
    """The array of a file, mapped into memory."""
    try:
        rows = np.load(texts.folder / path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise CorpusError(f"{where}: can't be read: {error.strerror or error}") from None
    except (ValueError, EOFError):
        raise CorpusError(f"{where}: isn't an array of NumPy; expected a .npy as numpy.save writes it") from None
    if not isinstance(rows, np.ndarray):
        rows.close()
        raise CorpusError(f"{where}: holds several arrays; expected a .npy with one")
    return rows


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield rows some at a time, with the number of the first."""
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield start, np.asarray(rows[start : start + _BLOCK_ROWS])
