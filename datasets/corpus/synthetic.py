"""Sources of tokens whose entropy is known exactly, to verify trainers, fitted laws and their irreducible term.

Two kinds. `zipf` draws tokens independently with probability ∝ 1 / rank^exponent; its entropy is the sum −Σ p ln p.

`zipf_markov` is a first-order Markov chain. Every state has `branching` distinct successors, and its k-th successor
follows with probability q_k ∝ 1 / k^exponent: all rows are the same distribution over different tokens. Which tokens
they are is drawn without replacement, frequent tokens first (weight 1 / rank), so that the tokens of the
chain, too, are unevenly frequent; one successor of every state s is s + 1, which makes the chain irreducible. The
entropy rate is Σ_s π_s H(row s) with the stationary distribution π; as all rows have the entropy −Σ q ln q, that is the
rate, whatever π is. It is a plain lookup table of vocab_size · branching entries, which a small model learns.

A model that has learned the source reaches `entropy_nats` per token and no less. A model that ignores what came before
reaches `unigram_entropy_nats`. The first token of a context isn't predictable beyond that.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from typing_extensions import override

from ...core.errors import ConfigError
from ...core.reading.fields import FieldError, Frozen, PositiveCount, Real, Whole, whole_schema

__all__ = ["MarkovSource", "Source", "SyntheticConfig", "ZipfSource", "build_source"]

_MAX_VOCAB = 65_536  # token ids are stored in 16 bits
_MAX_MARKOV_VOCAB = 8_192  # drawing the table takes vocab_size² random numbers
_MAX_BRANCHING = 256
_DEFAULT_BRANCHING = 32
_ROWS_AT_ONCE = 256
_TOKENS_AT_ONCE = 1 << 20
_STATIONARY_STEPS = 20_000
_STATIONARY_TOLERANCE = 1e-13


class SyntheticConfig(Frozen):
    """A source of known entropy; `build_source` makes it.

    >>> round(build_source(SyntheticConfig(kind="zipf", vocab_size=4, exponent=0)).entropy_nats, 6)  # ln 4
    1.386294
    """

    kind: Literal["zipf_markov", "zipf"] = Field(
        description="zipf_markov (each token depends on the one before) or zipf (independent tokens)."
    )
    vocab_size: Annotated[Whole, Field(ge=2, le=_MAX_VOCAB), whole_schema(2, _MAX_VOCAB)] = Field(
        default=512, description="Number of different tokens; at most 8,192 for zipf_markov."
    )
    exponent: Annotated[Real, Field(ge=0, le=3)] = Field(
        default=1.0, description="Exponent of Zipf's law, for what follows a token (zipf_markov) or for tokens (zipf)."
    )
    branching: Annotated[Whole, Field(ge=2, le=_MAX_BRANCHING), whole_schema(2, _MAX_BRANCHING)] | None = Field(
        default=None, description="Number of tokens that can follow a token (default: 32, or all if there are fewer)."
    )
    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1), whole_schema(0, 2**32 - 1)] = Field(
        default=0, description="Seed of the source's own structure, not of what is drawn from it."
    )
    tokens: PositiveCount = Field(default=10e6, description="Training tokens to draw from it.")

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "zipf" and self.branching is not None:
            raise FieldError("branching", f"got {self.branching}; it goes with kind zipf_markov only")
        if self.kind == "zipf_markov" and self.vocab_size > _MAX_MARKOV_VOCAB:
            raise FieldError("vocab_size", f"got {self.vocab_size}; expected at most {_MAX_MARKOV_VOCAB} (zipf_markov)")
        if self.branching is not None and self.branching > self.vocab_size:
            raise FieldError("branching", f"got {self.branching}; expected at most vocab_size {self.vocab_size}")
        return self


class Source(ABC):
    """Something that emits tokens 0 … vocab_size − 1 with exactly known entropy, in nats per token."""

    vocab_size: int
    entropy_nats: float
    """Entropy rate: the lowest loss that any model can reach, given all that came before."""
    unigram_entropy_nats: float
    """Entropy of single tokens: the lowest loss of a model that ignores what came before."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> npt.NDArray[np.uint16]:
        """Return `n` consecutive tokens, (n,), of one stationary stream; every call starts a new stream."""


class ZipfSource(Source):
    """Independent tokens, the one of rank r (from 1) with probability ∝ r^−exponent; ids are ranks, shuffled."""

    def __init__(self, vocab_size: int, exponent: float, seed: int) -> None:
        self.vocab_size = vocab_size
        by_rank = _zipf(vocab_size, exponent)
        self._ids = np.random.default_rng(seed).permutation(vocab_size).astype(np.uint16)
        self._cumulative = _cumulative(by_rank)
        self.entropy_nats = self.unigram_entropy_nats = _entropy_nats(by_rank)

    @override
    def sample(self, rng: np.random.Generator, n: int) -> npt.NDArray[np.uint16]:
        out = np.empty(n, dtype=np.uint16)
        for start in range(0, n, _TOKENS_AT_ONCE):
            part = out[start : start + _TOKENS_AT_ONCE]
            part[:] = self._ids[np.searchsorted(self._cumulative, rng.random(len(part)), side="right")]
        return out


class MarkovSource(Source):
    """A first-order Markov chain; state s is followed by `successors[s, k]` with probability `probabilities[k]`.

    `successors`: (vocab_size, branching), distinct within a row; `probabilities`: (branching,), falling;
    `stationary`: (vocab_size,), the long-run share of each token.
    """

    def __init__(self, vocab_size: int, branching: int, exponent: float, seed: int) -> None:
        self.vocab_size = vocab_size
        self.probabilities = _zipf(branching, exponent)
        self.successors = _successors(vocab_size, branching, np.random.default_rng(seed))
        self.stationary = _stationary(self.successors, self.probabilities)
        self.entropy_nats = _entropy_nats(self.probabilities)
        self.unigram_entropy_nats = _entropy_nats(self.stationary)
        self._cumulative = _cumulative(self.probabilities)
        self._rows: list[list[int]] = self.successors.tolist()

    @override
    def sample(self, rng: np.random.Generator, n: int) -> npt.NDArray[np.uint16]:
        out = np.empty(n, dtype=np.uint16)
        # The first token is the one "before" the stream's first, drawn from the long run: so all are stationary.
        state = int(np.searchsorted(_cumulative(self.stationary), rng.random(), side="right"))
        rows = self._rows
        for start in range(0, n, _TOKENS_AT_ONCE):
            part = out[start : start + _TOKENS_AT_ONCE]
            # All rows share one distribution, so the ranks are independent and drawn at once; only the lookup is a
            # loop. A plain loop over lists beats any NumPy call per step, and keeps it one chain without seams.
            ranks = np.searchsorted(self._cumulative, rng.random(len(part)), side="right").tolist()
            part[:] = [state := rows[state][rank] for rank in ranks]
        return out


def build_source(config: SyntheticConfig) -> Source:
    """Return the source that `config` describes; equal configurations give equal sources. The largest takes some 3 s.

    Raises `ConfigError` for a chain that mixes too slowly for its long run to be known exactly.
    """
    if config.kind == "zipf":
        return ZipfSource(config.vocab_size, config.exponent, config.seed)
    branching = config.branching or min(_DEFAULT_BRANCHING, config.vocab_size)
    return MarkovSource(config.vocab_size, branching, config.exponent, config.seed)


def _zipf(size: int, exponent: float) -> npt.NDArray[np.float64]:
    """Return probabilities ∝ rank^−exponent, (size,), falling."""
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    return weights / math.fsum(weights)


def _entropy_nats(probabilities: npt.NDArray[np.float64]) -> float:
    """Return −Σ p ln p in nats."""
    positive = probabilities[probabilities > 0]
    return -math.fsum(positive * np.log(positive))


def _cumulative(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the cumulative distribution, (size,), whose last entry is 1 whatever rounding says."""
    total = np.cumsum(probabilities)
    total[-1] = 1.0
    return total


def _successors(vocab_size: int, branching: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the successors of every state, (vocab_size, branching), distinct in a row, s + 1 among those of s."""
    log_weights = -np.log(rng.permutation(vocab_size) + 1.0)
    table = np.empty((vocab_size, branching), dtype=np.int64)
    for start in range(0, vocab_size, _ROWS_AT_ONCE):
        states = np.arange(start, min(start + _ROWS_AT_ONCE, vocab_size))
        # Adding Gumbel noise and taking the largest draws without replacement, by weight.
        keys = log_weights + rng.gumbel(size=(len(states), vocab_size))
        top = np.argpartition(-keys, branching - 1, axis=1)[:, :branching]
        order = np.argsort(-np.take_along_axis(keys, top, axis=1), axis=1)
        rows = np.take_along_axis(top, order, axis=1)
        following = (states + 1) % vocab_size
        lacking = ~(rows == following[:, None]).any(axis=1)
        rows[lacking, -1] = following[lacking]
        table[states] = rows
    return table


def _stationary(successors: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the stationary distribution, (vocab_size,), by iterating the chain that rests every other step."""
    vocab_size, branching = successors.shape
    targets = successors.ravel()
    share = np.full(vocab_size, 1 / vocab_size)
    for _ in range(_STATIONARY_STEPS):
        moved = np.bincount(targets, weights=np.outer(share, probabilities).ravel(), minlength=vocab_size)
        if np.abs(moved - share).sum() < _STATIONARY_TOLERANCE:
            return moved / moved.sum()
        # Resting rids the chain of periods, which would keep the iteration from settling.
        share = (share + moved) / 2
    raise ConfigError(
        f"zipf_markov with branching {branching}: mixes too slowly for exact figures; raise branching or lower exponent"
    )
