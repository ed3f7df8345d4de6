"""The gain of a set-up of which nothing is measured: wide, and said to be so.

Rewards are in standard deviations of the true reward among the starting policy's answers. The best of n of a perfect
reward gains about √(2 ln n) ≈ 1.4 d of them, and less by the reward model's correlation with the true reward, .2 to
.8: α is .6 within a factor of 2.5 (90 %). Gao et al. 2022 (arXiv:2210.10760, figures 1 and 2, read off the pictures)
see the gain turn at KLs of about 3 to more than 6 nats (best of n), and 15 to more than 100 (PPO), the later the larger
the reward model: d of 2.5 and 8 where it turns, within factors of 2 and 3 (90 %). With fewer than some 2,000
comparisons their reward models were little better than chance (section 3.4), so α rises as √(m / (m + 2,000)) with m
comparisons, as a correlation does that is measured with noise. Constants belong to one set-up: these are no more than
orders of magnitude.
"""

from __future__ import annotations

import math

import numpy as np

from ....core.quantity import spread_normal
from .law import FeedbackLaw

__all__ = ["prior_law"]

_DRAWS = 1_000
_NORMAL_90 = 1.6449
_ALPHA, _ALPHA_FACTOR = 0.6, 2.5
_COMPARISONS = 2_000.0  # at which α is 1/√2 of what endless ones would give
_PEAKS = {"best_of_n": (2.5, 2.0), "ppo": (8.0, 3.0), "dpo": (8.0, 3.0)}


def prior_law(method: str, comparisons: float) -> FeedbackLaw:
    """The law of a method before anything is measured.

    >>> law = prior_law("ppo", 1e6)
    >>> alpha, beta = law.coefficients({}, None)
    >>> peak = np.quantile(law.form.peak(alpha, beta) ** 2, [0.05, 0.5, 0.95])  # KL, nats
    >>> bool(peak[0] < 15 < peak[1] < 100 < peak[2])
    True
    """
    rng = np.random.default_rng(0)
    alpha = _ALPHA * np.exp(math.log(_ALPHA_FACTOR) / _NORMAL_90 * spread_normal(_DRAWS, rng))
    alpha *= math.sqrt(comparisons / (comparisons + _COMPARISONS))
    at, factor = _PEAKS[method]
    peak = at * np.exp(math.log(factor) / _NORMAL_90 * spread_normal(_DRAWS, rng))
    beta = alpha / (2.0 * peak) if method == "best_of_n" else alpha / (1.0 + np.log(np.maximum(peak, 1.0)))
    return FeedbackLaw(
        method,
        {},
        alpha[:, None],
        beta[:, None],
        np.zeros((_DRAWS, 2)),
        np.zeros(_DRAWS),
        standardised=True,
        source="nothing measured of this set-up: a wide prior, by the order of magnitude of Gao et al. 2022 "
        "(arXiv:2210.10760)",
    )
