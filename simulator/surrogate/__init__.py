"""Residual learners on top of a fitted law: a Gaussian process or trees, chosen by cross-validation."""

from ._choose import LAW, Chosen, choose_surrogate
from ._surrogate import KINDS, Correction, Kind, Surrogate
from .fading import Fade, tried_rows
from .features import Features

__all__ = [
    "KINDS",
    "LAW",
    "Chosen",
    "Correction",
    "Fade",
    "Features",
    "Kind",
    "Surrogate",
    "choose_surrogate",
    "tried_rows",
]
