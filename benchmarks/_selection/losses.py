"""What a selection is worth to a 5-gram: trained on what is kept, scored on clean validation text by topic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from foretrain.datasets.ngrams.witten_bell import fit

from .pool import SHARES, Pool

__all__ = ["Loss", "drawn", "ngram_loss"]


@dataclass(frozen=True)
class Loss:
    """Losses in nats per byte: by topic, weighted as the topics occur, and each topic equally."""

    by_topic: dict[str, float]

    @property
    def natural(self) -> float:
        """Mean over topics, weighted with their shares of the clean text."""
        return sum(SHARES[topic] * loss for topic, loss in self.by_topic.items())

    @property
    def even(self) -> float:
        """Mean over topics, each counted equally."""
        return float(np.mean(list(self.by_topic.values())))


def ngram_loss(pool: Pool, numbers: np.ndarray, order: int = 5) -> Loss:
    """Train an n-gram on the documents of these numbers `(k,)`, repeated ones as often, and score it."""
    model = fit((pool.texts[number] for number in numbers), order)
    losses = {}
    for topic, texts in pool.validation.items():
        sizes = [len(text.encode()) for text in texts]
        losses[topic] = float(np.average(model.nats_per_byte(texts), weights=sizes))
    return Loss(losses)


def drawn(kept: np.ndarray, sizes_bytes: np.ndarray, budget_bytes: float, rng: np.random.Generator) -> np.ndarray:
    """Draw documents among the kept ones up to a budget: part of them, or all of them several times.

    Args:
        kept: Which documents are kept `(n,)`.
        sizes_bytes: Their bytes `(n,)`.
        budget_bytes: Bytes that are drawn, up to half a document more or less.
        rng: Says which are drawn.

    Returns:
        Numbers of documents `(k,)`; with a budget beyond the kept bytes some occur twice or more.
    """
    numbers = np.flatnonzero(kept)
    rounds = int(budget_bytes // sizes_bytes[numbers].sum())
    rest = rng.permutation(numbers)
    middles = np.cumsum(sizes_bytes[rest]) - sizes_bytes[rest] / 2
    left = budget_bytes - rounds * sizes_bytes[numbers].sum()
    return np.concatenate([np.tile(numbers, rounds), rest[middles < left]])
