"""Gain of the true reward by how far a policy has moved, d = √KL (Gao et al. 2022, arXiv:2210.10760, section 3.1).

    best of n:  R(d) = d (α − β d)
    PPO, DPO:   R(d) = d (α − β ln d)

R is in the units in which the true ("gold") reward was measured, 0 at the start. The reward model is right about most
of what is near the policy it was trained on (α); what is far it misjudges (β), so that the gain turns. That DPO follows
the second form is Rafailov et al. 2024 (arXiv:2406.02900, section 4). Both forms are linear in α and β.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["FORMS", "GainForm", "best_of_n_kl", "samples_of_kl"]

Array = np.ndarray


@dataclass(frozen=True)
class GainForm:
    """One form of the gain: what α and β are multiplied by, and where the gain is largest.

    >>> form = FORMS["best_of_n"]
    >>> form.peak(np.array([0.5]), np.array([0.125])).tolist()
    [2.0]
    >>> form.gain(np.array([2.0]), np.array([0.5]), np.array([0.125])).tolist()
    [0.5]
    """

    lost: Callable[[Array], Array]
    """What β is multiplied by, of d `(n,)`."""
    peak_of: Callable[[Array, Array], Array]
    """d at which the gain is largest, of α and β, where β > 0."""
    in_words: str

    def basis(self, d: Array) -> Array:
        """What α and β are multiplied by `(n, 2)`, of d `(n,)`."""
        return np.stack([d, -self.lost(d)], axis=-1)

    def gain(self, d: Array, alpha: Array, beta: Array) -> Array:
        """The gain at d, which broadcasts against α and β."""
        return alpha * d - beta * self.lost(d)

    def peak(self, alpha: Array, beta: Array) -> Array:
        """d at which the gain is largest: 0 where it only falls, infinite where it never turns."""
        turning = beta > 0
        with np.errstate(over="ignore"):
            at = self.peak_of(alpha, np.where(turning, beta, 1.0))
        return np.where(turning, np.maximum(at, 0.0), np.where(alpha > 0, np.inf, 0.0))


def _squared(d: Array) -> Array:
    return d**2


def _times_log(d: Array) -> Array:
    return d * np.log(np.maximum(d, 1e-300))


def _half_ratio(alpha: Array, beta: Array) -> Array:
    return alpha / (2.0 * beta)


def _exp_ratio(alpha: Array, beta: Array) -> Array:
    # from α − β ln d − β = 0; a reward model that is wrong from the start (α < 0) gains nothing worth naming
    return np.where(alpha > 0, np.exp(np.minimum(alpha / beta - 1.0, 700.0)), 0.0)


_BEST_OF_N = GainForm(_squared, _half_ratio, "d (α − β d)")
_POLICY_GRADIENT = GainForm(_times_log, _exp_ratio, "d (α − β ln d)")

FORMS: Mapping[str, GainForm] = {"best_of_n": _BEST_OF_N, "ppo": _POLICY_GRADIENT, "dpo": _POLICY_GRADIENT}
"""The form of each method."""


def best_of_n_kl(n: Array | float) -> Array:
    """KL divergence of the best of n answers from one answer, nats: ln n − (n − 1)/n.

    >>> best_of_n_kl(np.array([1, 4, 1024])).round(3).tolist()
    [0.0, 0.636, 5.932]
    """
    n = np.asarray(n, dtype=float)
    return np.log(n) - (n - 1.0) / n


def samples_of_kl(kl_nats: float) -> float:
    """n of which the best is so far from one answer, by `best_of_n_kl`; no whole number.

    >>> round(samples_of_kl(float(best_of_n_kl(64))), 6)
    64.0
    """
    from scipy.special import lambertw

    # ln n − 1 + 1/n = kl, so that −1/n · exp(−1/n) = −exp(−kl − 1), which Lambert's W solves
    return float(-1.0 / lambertw(-math.exp(-kl_nats - 1.0)).real) if kl_nats > 0.0 else 1.0
