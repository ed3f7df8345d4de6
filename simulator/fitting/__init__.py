"""Robust fits of laws to runs: starts, Newton, priors, bootstraps."""

from ._fit import Fit, fit_law
from ._newton import DELTA, huber
from .prior import Prior, public_prior, weak_prior

__all__ = ["DELTA", "Fit", "Prior", "fit_law", "huber", "public_prior", "weak_prior"]
