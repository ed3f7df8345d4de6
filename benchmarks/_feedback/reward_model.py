"""Reward models: logistic regression on hashed n-grams of bytes, learned from noisy comparisons of two samples each.

A pair is labelled after Bradley and Terry: the first is called better with probability σ((g₁ − g₂) / τ), g its gold
reward, τ such that three labels of four name the truly better one, as people who label agree with one another.
The reward is w·x, x how often each n-gram occurs; w maximises the likelihood of the labels less a ridge λ|w|²/2.
λ is that of `RIDGES` under which a tenth of the pairs, held out, is foretold best: labels choose it, never the gold
reward.

Sources: Bradley and Terry 1952, Biometrika 39; agreement of labellers of 73 to 77 %, Ouyang et al. 2022
(arXiv:2203.02155), section 3.4.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import optimize, sparse, special

__all__ = ["KINDS", "LABEL_ACCURACY", "Comparisons", "Features", "RewardModel", "fit", "label_temperature"]

LABEL_ACCURACY = 0.75
RIDGES = (1.0, 10.0, 100.0, 1_000.0)
_HELD_OUT = 10  # one pair of so many
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: multiplicative hashing, Knuth 1998, 6.4


@dataclass(frozen=True)
class Features:
    """Counts of n-grams of 1 to `longest` bytes in `2**bits` bins, which are the parameters of the reward model."""

    longest: int
    bits: int

    @property
    def params(self) -> int:
        """Parameters of a reward model on these features."""
        return 1 << self.bits

    def bins(self, rows: np.ndarray) -> np.ndarray:
        """The bin of every n-gram of samples, (N, T) uint8 with the prompt first: (N, n-grams of a sample) int32."""
        bytes_ = rows.astype(np.uint64)
        found = []
        keys = np.zeros_like(bytes_)
        for length in range(1, self.longest + 1):
            keys = bytes_ if length == 1 else (keys[:, :-1] << np.uint64(8)) | bytes_[:, length - 1 :]
            hashed = (keys * np.uint64(16) + np.uint64(length)) * _MIXER
            found.append((hashed >> np.uint64(64 - self.bits)).astype(np.int32))
        return np.concatenate(found, axis=1)


KINDS = (Features(longest=3, bits=10), Features(longest=5, bits=14))
"""Two capacities: 1,024 and 16,384 parameters."""


@dataclass(frozen=True)
class Comparisons:
    """Pairs of samples, by their places in the labelled part, the one called better first: (m,) each."""

    better: np.ndarray
    worse: np.ndarray

    @classmethod
    def drawn(cls, gold: np.ndarray, count: int, temperature: float, seed: int) -> Comparisons:
        """Pairs of samples of which no two share one; fewer pairs of a seed begin those of more.

        `gold`: (N,) rewards; N is at least 2 · `count`.
        """
        rng = np.random.default_rng(seed)
        first, second = rng.permutation(len(gold))[: len(gold) // 2 * 2].reshape(-1, 2).T
        said = rng.random(len(first)) < special.expit((gold[first] - gold[second]) / temperature)
        return cls(np.where(said, first, second)[:count], np.where(said, second, first)[:count])


def label_temperature(gold: np.ndarray) -> float:
    """τ, in sd of gold, under which labels name the truly better of two samples in `LABEL_ACCURACY` of pairs."""
    apart = np.abs(gold - np.roll(gold, 1))
    return float(optimize.brentq(lambda tau: special.expit(apart / tau).mean() - LABEL_ACCURACY, 1e-3, 1e3))


@dataclass(frozen=True)
class RewardModel:
    """`weights`: (bins,); `ridge`: λ; `held_out_accuracy`: share of held-out labels that it foretells."""

    features: Features
    weights: np.ndarray
    ridge: float
    held_out_accuracy: float

    def raw(self, bins: np.ndarray) -> np.ndarray:
        """Rewards of samples from the bins of their n-grams: (N, n-grams) → (N,), on no particular scale."""
        return self.weights[bins].sum(1)

    def save(self, path: Path) -> None:
        """Write it whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, weights=self.weights, facts=np.array([self.ridge, self.held_out_accuracy]))
        unfinished.replace(path)

    @classmethod
    def read(cls, features: Features, path: Path) -> RewardModel:
        """Read what `save` wrote."""
        with np.load(path) as found:
            ridge, accuracy = found["facts"].tolist()
            return cls(features, found["weights"], ridge, accuracy)


def fit(features: Features, bins: np.ndarray, pairs: Comparisons) -> RewardModel:
    """Learn from comparisons; `bins: (N, n-grams)` are those of the labelled samples."""
    differences = _counts(bins[pairs.better], features) - _counts(bins[pairs.worse], features)
    held = np.arange(len(pairs.better)) % _HELD_OUT == 0
    best, weights = (np.inf, 0.0, 0.0), None
    for ridge in RIDGES:
        weights = _weights(differences[~held], ridge, weights)
        margins = differences[held] @ weights
        best = min(best, (float(np.logaddexp(0, -margins).mean()), ridge, float((margins > 0).mean())))
    return RewardModel(features, _weights(differences, best[1], weights).astype(np.float32), best[1], best[2])


def _weights(differences: sparse.csr_matrix, ridge: float, start: np.ndarray | None) -> np.ndarray:
    """w that maximises Σ log σ(w·difference) − λ|w|²/2."""
    across = differences.T.tocsr()

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = differences @ weights
        slope = across @ special.expit(-margins)
        value = np.logaddexp(0, -margins).sum() + ridge / 2 * weights @ weights
        return float(value), ridge * weights - slope

    begin = np.zeros(differences.shape[1]) if start is None else start
    return optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x


def _counts(bins: np.ndarray, features: Features) -> sparse.csr_matrix:
    """How often each n-gram occurs: (N, n-grams) → (N, bins), sparse."""
    rows, width = bins.shape
    ends = np.arange(0, rows * width + 1, width)
    found = sparse.csr_matrix((np.ones(rows * width), bins.ravel(), ends), shape=(rows, features.params))
    found.sum_duplicates()
    return found
