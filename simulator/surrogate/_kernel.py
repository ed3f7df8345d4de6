"""The covariance of a law's residual: one Matérn-5/2 kernel with a length per feature and learned share offsets.

A share enters as log(w + o) with its own offset o > 0: between 0 and 1 % of a domain the loss moves as much as between
10 % and 50 %, and below o more or less makes no difference. Every other feature enters as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hyper:
    """Log hyperparameters of the residual process, in units of its own scale; `d` features, `s` of them shares.

    `signal` is log σ_f², `lengths: (d,)`, `offsets: (s,)`, `noise` is log σ², `run_noise: (c,)` the exponents by
    which noise grows with what makes runs noisy (a mix close to a single domain, a learning rate far off).
    """

    signal: float
    lengths: np.ndarray
    offsets: np.ndarray
    noise: float
    run_noise: np.ndarray

    def vector(self) -> np.ndarray:
        """All of them as one vector `(d + s + c + 2,)`."""
        return np.concatenate([[self.signal], self.lengths, self.offsets, [self.noise], self.run_noise])

    @classmethod
    def of(cls, vector: np.ndarray, shares: int, run_noise: int) -> Hyper:
        """The inverse of `vector`."""
        end = len(vector) - run_noise
        split = end - 1 - shares
        return cls(float(vector[0]), vector[1:split], vector[split : end - 1], float(vector[end - 1]), vector[end:])


def scaled(x: np.ndarray, hyper: Hyper) -> np.ndarray:
    """Features over their lengths, `(n, d)`: the shares, which come first, as log(w + offset)."""
    s = len(hyper.offsets)
    out = np.array(x, dtype=float)
    out[:, :s] = np.log(out[:, :s] + np.exp(hyper.offsets))
    out /= np.exp(hyper.lengths)
    return out


def noise_variance(run_noise: np.ndarray, hyper: Hyper) -> np.ndarray:
    """Variance of a run's own noise, `(n,)`, from what makes runs noisy, `(n, c)`."""
    return np.exp(hyper.noise + run_noise @ hyper.run_noise)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_j|², `(n_a, n_b)`, never negative."""
    out = a @ b.T
    out *= -2.0
    out += np.sum(a**2, axis=1)[:, None]
    out += np.sum(b**2, axis=1)
    return np.maximum(out, 0.0, out=out)


def matern(squared: np.ndarray) -> np.ndarray:
    """Matérn-5/2 of a squared distance, 1 at zero: (1 + r + r²/3)·e^-r with r = √5·distance."""
    r = np.sqrt(5.0 * squared)
    value = np.exp(-r)
    r += 1.0
    r += (5.0 / 3.0) * squared
    value *= r
    return value


def matern_and_slope(squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, and its derivative by the squared distance: -5/6·(1 + r)·e^-r."""
    r = np.sqrt(5.0 * squared)
    decay = np.exp(-r)
    r += 1.0
    slope = decay * r
    decay *= r + (5.0 / 3.0) * squared
    slope *= -5.0 / 6.0
    return decay, slope


@dataclass(frozen=True)
class Block:
    """A kernel matrix over n runs and what its gradient needs: features over their lengths, correlation, slope."""

    hyper: Hyper
    z: np.ndarray
    correlation: np.ndarray
    slope: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, hyper: Hyper) -> Block:
        """The kernel of features `x: (n, d)` with themselves."""
        z = scaled(x, hyper)
        z -= z.mean(axis=0)
        squared = squared_distances(z, z)
        np.fill_diagonal(squared, 0.0)
        return cls(hyper, z, *matern_and_slope(squared))

    def gradient(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Derivatives of Σ_ij weight_ij·k_ij by `signal`, `lengths` and `offsets`, `(1 + d + s,)`; symmetric weights.

        The chain runs through the scaled features, so all of them cost one matrix product.
        """
        signal = np.exp(self.hyper.signal)
        by_signal = signal * np.einsum("ij,ij->", weight, self.correlation)
        pull = weight * self.slope
        by_z = 4.0 * signal * (pull.sum(axis=1)[:, None] * self.z - pull @ self.z)  # d/dz_i of Σ weight·k
        s = len(self.hyper.offsets)
        offset = np.exp(self.hyper.offsets)
        inner = by_z[:, :s] / np.exp(self.hyper.lengths[:s]) * (offset / (x[:, :s] + offset))
        return np.concatenate([[by_signal], -np.sum(by_z * self.z, axis=0), inner.sum(axis=0)])
