"""Exact copies: documents with the same normalised text."""

from __future__ import annotations

import numpy as np

from ..step import Texts

__all__ = ["firsts"]

_DIGEST_BYTES = 16  # of the 32: among 10^9 documents the chance of one false copy is 10^-21


def firsts(texts: Texts) -> np.ndarray:
    """Say of each document whether its text comes for the first time `(n,)`. Memory: 16 bytes a document."""
    digests = np.empty(len(texts), f"S{_DIGEST_BYTES}")
    for number, document in enumerate(texts):
        digests[number] = document.digest[:_DIGEST_BYTES]
    first = np.zeros(len(digests), bool)
    first[np.unique(digests, return_index=True)[1]] = True
    return first
