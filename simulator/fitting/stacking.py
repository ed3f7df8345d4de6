"""Several forms of a law at once: how much each is trusted, and how far they lie apart.

Forms that foretold a table's larger runs about equally well disagree by percents a decade further out, and nothing in
the table says which is right. So none is switched to: each has a weight by what it foretold (stacking of predictive
distributions, Yao et al. 2018, arXiv 1704.02030), the forecast is their weighted mean, and what they disagree on is
part of its interval, for all runs together: a form that is too low for one run is too low for its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..laws import Columns
from ._fit import Fit
from .backtest import Scores

_PRIOR_CUTS = 4.0  # 1 to 6 are alike (benchmarks/longer.py)
_FREEDOM = 4.0  # of Student's t around a forecast
_ROUNDS = 200
_LEAST = 0.05  # of the forecast; a form of less is left out


def stacking_weights(scores: Mapping[str, Scores], prior: Mapping[str, float]) -> dict[str, float]:
    """How much each form is trusted, by the densities that it gave to the runs above each cut.

    Args:
        scores: Back-tests by form, the preferred one first, whose errors' scale is that of all; forms that lack cuts of
            its are left out.
        prior: What each form is worth before any back-test; it counts as much as four cuts.

    Returns:
        Weights by form that sum to 1, the preferred one first: the mode of Σ_cuts mean log Σ_k w_k·p_k + 4·Σ_k π_k·log
        w_k, less what hardly counts.
    """
    first = next(iter(scores.values()))
    names = [name for name, one in scores.items() if len(one.error) == len(first.error)]
    share = np.array([prior[name] for name in names])
    share = share / share.sum()
    weights = share
    if first.cuts:
        z = np.array([scores[name].error for name in names]) / first.scale()
        density = (1.0 + z**2 / _FREEDOM) ** (-0.5 * (_FREEDOM + 1.0))
        of_cut = first.cut_weights()
        for _ in range(_ROUNDS):  # expectation-maximisation
            belongs = weights[:, None] * density
            belongs /= belongs.sum(axis=0)
            weights = (belongs @ of_cut + _PRIOR_CUTS * share) / (of_cut.sum() + _PRIOR_CUTS)
    weights = np.where(weights < min(_LEAST, weights.max()), 0.0, weights)
    weights = weights / weights.sum()
    return {name: float(weight) for name, weight in zip(names, weights, strict=True) if weight > 0}


def stacked_scores(scores: Mapping[str, Scores], weights: Mapping[str, float], law: str) -> Scores:
    """The back-test of the weighted mean of forms; what they disagree on is part of its spread.

    Args:
        scores: Back-tests by form, of the same cuts.
        weights: Their weights, which sum to 1.
        law: The form whose noise and spread of draws are those of the mean.
    """
    share = np.array(list(weights.values()))
    error = np.array([scores[name].error for name in weights])
    mean = share @ error
    between = share @ (error - mean) ** 2
    return replace(scores[law], error=mean, spread=np.sqrt(scores[law].spread ** 2 + between))


@dataclass(frozen=True)
class Forms:
    """Further forms of a fitted law and their weights `(F,)`; what these leave to 1 is the weight of the law itself."""

    fits: tuple[Fit, ...]
    weights: np.ndarray

    def apart(self, columns: Columns, by_law: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the weighted mean of all forms lies, and how they lie around it.

        Args:
            columns: Columns of the runs, each `(n,)`.
            by_law: Log loss by the law itself, `(n,)`.

        Returns:
            The mean's distance from the law, log loss `(n,)`, and each form's distance from the mean times the root of
            its weight, `(1 + F, n)`: its squares add up to the variance between forms, products to the covariance.
        """
        off = np.array([np.zeros(len(by_law)), *(fit.log_loss(columns) - by_law for fit in self.fits)])
        weights = np.concatenate([[1.0 - self.weights.sum()], self.weights])
        mean = weights @ off
        return mean, np.sqrt(weights)[:, None] * (off - mean)
