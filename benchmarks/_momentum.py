"""The momentum law of Tissue et al. 2024 (arXiv:2408.11029), a baseline for benchmarks: L = L0 + A·S₁^-α − C·S₂.

S₂(t) = Σ_i m_i with m_i = λ·m_{i−1} + (η_{i−1} − η_i): a fall of the rate is felt with an exponential delay, and for
good. λ is 0.999 as in the paper. Rates are shares of the peak, so A and C are nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from foretrain.simulator.curve.law.multipower import S_REF
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.rates.path import RatePath

LAMBDA = 0.999
_ALPHAS = np.linspace(0.1, 1.2, 56)  # the only non-linear parameter: a grid and one refinement are exact enough


@dataclass(frozen=True)
class MomentumFit:
    """`level: (3,)` is (L0, A at S_REF peak steps, C per step of delay), nats."""

    alpha: float
    level: np.ndarray

    def loss(self, path: RatePath, step: np.ndarray) -> np.ndarray:
        """Loss in nats at `step: (n,)`."""
        return _terms(self.alpha, path, step) @ self.level


def fit_momentum(curves: list[Curve]) -> MomentumFit:
    """Least squares on relative loss over all points of the curves, which share one level."""
    loss = np.concatenate([curve.loss for curve in curves])
    fixed = [_parts(curve.path, curve.step) for curve in curves]
    reached, annealed = np.concatenate([f[0] for f in fixed]), np.concatenate([f[1] for f in fixed])
    coarse = min(_ALPHAS, key=lambda alpha: _solve(alpha, reached, annealed, loss)[0])
    alpha = min(coarse + np.linspace(-0.02, 0.02, 41), key=lambda a: _solve(a, reached, annealed, loss)[0])
    return MomentumFit(float(alpha), _solve(alpha, reached, annealed, loss)[1])


def annealing(path: RatePath, step: np.ndarray) -> np.ndarray:
    """S₂ at `step: (n,)`, in steps times a share of the peak."""
    from scipy.signal import lfilter

    momentum = lfilter([1.0], [1.0, -LAMBDA], path.gaps)
    return np.interp(step, np.arange(path.steps + 1), np.concatenate([[0.0], np.cumsum(momentum)]))


def _parts(path, step):
    return np.maximum(path.behind(step), 1.0) / S_REF, annealing(path, step)


def _terms(alpha, path, step):
    reached, annealed = _parts(path, step)
    return np.stack([np.ones(len(reached)), reached**-alpha, -annealed], axis=1)


def _solve(alpha, reached, annealed, loss):
    terms = np.stack([np.ones(len(loss)), reached**-alpha, -annealed], axis=1) / loss[:, None]
    level = np.linalg.lstsq(terms, np.ones(len(loss)), rcond=None)[0]
    return float(np.sum((terms @ level - 1.0) ** 2)), level
