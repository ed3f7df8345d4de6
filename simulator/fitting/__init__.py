"""Robust fits of laws to runs: starts, Newton, priors, back-tests, and the choice of a law."""

from ._fit import Fit, fit_law
from ._newton import DELTA, huber, one_thread
from .backtest import (
    Scores,
    backtest,
    cuts,
    decades_beyond,
    departure_sd,
    draw_covariance,
    draw_spread,
    error_scale,
    extrapolation_decades,
    fit_observations,
    gap_covariance,
    misfit_correlation,
    misfit_covariance,
    ranges,
)
from .choose import AUTO, Choice, candidates, choose, collinearity, constant_column, identifiable_terms, require
from .empirical_bayes import learn_prior
from .observations import Observations, known_columns, law_columns
from .prior import SHAPE, LawPrior, public_prior, weak_prior
from .stacking import Forms, stacked_scores, stacking_weights

__all__ = [
    "AUTO",
    "DELTA",
    "SHAPE",
    "Choice",
    "Fit",
    "Forms",
    "LawPrior",
    "Observations",
    "Scores",
    "backtest",
    "candidates",
    "choose",
    "collinearity",
    "constant_column",
    "cuts",
    "decades_beyond",
    "departure_sd",
    "draw_covariance",
    "draw_spread",
    "error_scale",
    "extrapolation_decades",
    "fit_law",
    "fit_observations",
    "gap_covariance",
    "huber",
    "identifiable_terms",
    "known_columns",
    "law_columns",
    "learn_prior",
    "misfit_correlation",
    "misfit_covariance",
    "one_thread",
    "public_prior",
    "ranges",
    "require",
    "stacked_scores",
    "stacking_weights",
    "weak_prior",
]
