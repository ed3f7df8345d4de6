"""Residual learners on top of a fitted law: a Gaussian process or trees, chosen by cross-validation."""

from ._choose import LAW, Chosen, choose_surrogate
from ._surrogate import KINDS, Correction, Kind, Surrogate
from .features import Features

__all__ = ["KINDS", "LAW", "Chosen", "Correction", "Features", "Kind", "Surrogate", "choose_surrogate"]
