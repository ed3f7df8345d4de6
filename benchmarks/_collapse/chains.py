"""Chains of n-grams: each is trained on what its regime makes of real text and of what those before it wrote.

A chain is one (regime, real share, seed) over its generations. All chains of a seed share their real text and the
random numbers of their samples, so that the first generation is one model, and what it writes is the same text.
Training an n-gram costs the same for any number of bytes of equal text, so `accumulate` at equal compute is
`accumulate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from _selection.pool import shuffled_pieces, taken
from foretrain.datasets.ngrams.witten_bell import fit

__all__ = ["CHAINS", "Chain", "Point", "run_chains"]

ORDER = 5
VALIDATION_BYTES = 200_000
SAMPLE_BYTES = 1_000  # of a document that a model writes; real ones have 600 to 1,900
_ISSUE = 23  # seeds of the random numbers begin with it


@dataclass(frozen=True)
class Chain:
    """A regime of `data.synthetic`, and under `replace` the share of real text in every corpus."""

    regime: str
    real_share: float = 0.0

    @property
    def name(self) -> str:
        """As tables print it."""
        return f"{self.regime}, {self.real_share:g} real" if self.real_share else self.regime

    def synthetic_share(self, generation: int) -> float:
        """The share of a generation's training text that models wrote."""
        if generation == 0 or self.regime == "fresh":
            return 0.0
        return 1 - self.real_share if self.regime == "replace" else generation / (generation + 1)


CHAINS = tuple(
    Chain(*chain)
    for chain in (("replace",), ("replace", 0.1), ("replace", 0.5), ("accumulate",), ("subsample",), ("fresh",))
)


@dataclass(frozen=True)
class Point:
    """A generation of a chain: bytes of the real text that the chain started from, bytes that this generation was
    trained on, its n-grams, and its loss on real text in nats per byte."""

    chain: Chain
    seed: int
    generation: int
    size_bytes: int
    trained_bytes: int
    ngrams: int
    loss_nats: float


def run_chains(chains: tuple[Chain, ...], seed: int, generations: int, size_bytes: int, topic: str) -> Iterator[Point]:
    """Train chains on so many bytes of real text of a topic; each generation writes as much.

    Yields:
        Points by chain, from generation 0, which all chains share, to `generations`.

    Raises:
        SystemExit: The shared corpora are absent, or hold too little.
    """
    held = _encoded(taken(shuffled_pieces(topic, "valid", np.random.default_rng(_ISSUE)), VALIDATION_BYTES))
    sizes = [len(document) for document in held]
    pieces = shuffled_pieces(topic, "train", np.random.default_rng([_ISSUE, seed]))
    real = _encoded(taken(pieces, size_bytes))
    for chain in chains:
        documents = real
        written: list[list[bytes]] = []
        for generation in range(generations + 1):
            model = fit(documents, ORDER)
            loss = float(np.average(model.nats_per_byte(held), weights=sizes))
            ngrams = sum(len(table.keys) for table in model.tables)
            trained_bytes = sum(map(len, documents))
            yield Point(chain, seed, generation, size_bytes, trained_bytes, ngrams, loss)
            if chain.regime == "fresh":
                documents = _encoded(taken(pieces, size_bytes))
            else:
                rng = np.random.default_rng([_ISSUE, seed, generation])
                written.append(model.sample(size_bytes // SAMPLE_BYTES, SAMPLE_BYTES, rng))
                documents = next_corpus(chain, real, written, size_bytes, rng)


def next_corpus(
    chain: Chain, real: list[bytes], written: list[list[bytes]], size_bytes: int, rng: np.random.Generator
) -> list[bytes]:
    """What the next generation is trained on, given what each one before it wrote, the last one's at the end."""
    if chain.regime == "replace":
        real_bytes = chain.real_share * size_bytes
        return _drawn(real, real_bytes, rng) + _drawn(written[-1], size_bytes - real_bytes, rng)
    everything = [document for documents in (real, *written) for document in documents]
    return everything if chain.regime == "accumulate" else _drawn(everything, size_bytes, rng)


def _drawn(documents: list[bytes], size_bytes: float, rng: np.random.Generator) -> list[bytes]:
    """Different documents of so many bytes, to within half a one."""
    shuffled = [documents[number] for number in rng.permutation(len(documents))]
    sizes = np.array([len(document) for document in shuffled])
    return shuffled[: int(np.count_nonzero(np.cumsum(sizes) - sizes / 2 < size_bytes))]


def _encoded(texts: list[str]) -> list[bytes]:
    return [text.encode() for text in texts]
