"""The multi-power law of the loss along a run under any learning-rate schedule (Luo et al. 2025, arXiv:2503.12811).

    L(t) = L0 + A · (S₁(t) / S_ref)^-α − B · Σ_k d_k · (S₁(k) / S_ref)^-φ · (1 − (1 + C · r_k^-γ · S_k(t))^-β)

S₁ is the sum of the rates so far, d_k how far the rate fell at step k, r_k the rate after it, S_k the sum of the rates
since. Rates are shares of the peak, so L0, A and B are nats and nothing depends on the learning rate's unit: with
rates as published, A = A' · (peak · S_ref)^-α, B = B' · peak and C = C' · peak^(1−γ). The published fits (α, β and γ
about 0.5, C' about 1 at a peak of 3e-4) therefore mean C = 0.017 per peak step.

What a fall of the rate is worth fades with the progress S₁(k) behind it, with the exponent φ (FADE): as published, φ is
0, and a long run at a constant rate comes out too high, a long cosine too low, at every size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..rates.path import Decay

SHAPE = ("alpha", "log_c", "beta", "gamma")
"""Parameters that sizes share, in this order; `log_c` is the natural logarithm of C."""
LEVEL = ("L0", "A", "B")
"""Parameters in which the law is linear, one triple per group of runs: nats."""
S_REF = 10_000.0
"""Peak steps at which A and B are read off; a change of it only rescales them."""
FADE = 0.08
"""The exponent φ, fixed. The likelihood of all schedules of one size together is highest at .1 and .1 for 25M and 100M
(nine schedules each) and at .05, .03, 0 and .06 for the sizes of the OLMo ladder (cosines of five lengths); for all of
them together at .05, and flat from .03 to .08. Three schedules of one length don't tell it. Mean errors on unseen
schedules (25M / 100M) at 0, .04, .08, .12: .0036/.0037, .0032/.0031, .0029/.0027, .0029/.0027 nats."""
_MIN_RATE = 1e-3  # below a thousandth of the peak a step moves nothing; keeps r^-γ finite where the rate reaches 0


@dataclass(frozen=True)
class Shape:
    """The non-linear parameters of the law; `log_c` is per peak step."""

    alpha: float = 0.5
    log_c: float = float(np.log(3e-4**0.5))
    beta: float = 0.5
    gamma: float = 0.5

    @classmethod
    def of(cls, values: Iterable[float]) -> Shape:
        """From `(4,)` in the order of SHAPE."""
        return cls(*(float(v) for v in values))

    def array(self) -> np.ndarray:
        """`(4,)` in the order of SHAPE."""
        return np.array([self.alpha, self.log_c, self.beta, self.gamma])


SHAPE_MEAN = Shape().array()
SHAPE_SD = np.array([0.01, 0.5, 0.1, 0.1])
"""Prior of a fit to whole curves: α = .5 ± .01, C = .017 per peak step within a factor 1.6, β and γ = .5 ± .1
(shared notes: curves.md; the exact optimum without priors is worse on schedules that were not fitted)."""
B_SHARE, B_SPREAD = 0.046, 0.4
"""B is 4.6 % of the loss (fits to the public 25M and 100M curves: 4.1 and 5.2 %), and may well be 40 % off."""


def basis(shape: np.ndarray, decay: Decay) -> np.ndarray:
    """The three functions of the step whose sum, weighted by (L0, A, B), is the loss: `(n, 3)`. `shape: (4,)`."""
    return _basis(shape, decay)[0]


def basis_gradient(shape: np.ndarray, decay: Decay) -> tuple[np.ndarray, np.ndarray]:
    """The basis and its derivatives by the shape, `(n, 3)` and `(4, n, 3)`."""
    values, (x, left, rate) = _basis(shape, decay)
    gradient = np.zeros((len(SHAPE), *values.shape))
    gradient[0, :, 1] = -values[:, 1] * np.log(_reached(decay) / S_REF)
    worth = _worth(decay)
    slope = worth * shape[2] * x * left / (1.0 + x)  # d·dG/dlnC
    gradient[1, :, 2] = -slope.sum(axis=1)
    gradient[2, :, 2] = -(worth * np.log1p(x) * left).sum(axis=1)
    gradient[3, :, 2] = (slope * np.log(rate)).sum(axis=1)
    return values, gradient


def _basis(shape: np.ndarray, decay: Decay) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    alpha, log_c, beta, gamma = shape
    rate = np.maximum(decay.rate, _MIN_RATE)
    x = np.exp(log_c) * rate**-gamma * decay.age
    left = (1.0 + x) ** -beta
    values = np.ones((len(decay.progress), 3))
    values[:, 1] = (_reached(decay) / S_REF) ** -alpha
    values[:, 2] = -(_worth(decay) * (1.0 - left)).sum(axis=1)
    return values, (x, left, rate)


def _reached(decay: Decay) -> np.ndarray:
    return np.maximum(decay.progress, 1.0)


def _worth(decay: Decay) -> np.ndarray:
    """How far the rate fell in each block, times how much of that still counts at the block's progress: `(n, K)`."""
    behind = np.maximum(decay.progress[:, None] - decay.age, 1.0)
    return decay.drop * (behind / S_REF) ** -FADE
