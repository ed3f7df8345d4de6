"""The linearised law in a Gaussian process: its gradient at the fit, in units of the prior's sd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fitting import Fit, LawPrior
from ..laws import Columns

_LEVEL_SPREAD = 1.0  # of a log level or any other parameter of which no prior speaks
_GENERIC = 2.0  # without a prior, the generic spreads times this


@dataclass(frozen=True)
class Tangent:
    """θ = θ̂ + (μ - θ̂) + root·u with u standard normal: `offset: (P,)` is θ̂ - μ, `root: (P, P)` is S^½."""

    offset: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, fit: Fit, prior: LawPrior | None) -> Tangent:
        """The prior around a fit. Parameters that it leaves out get a wide prior."""
        law = fit.law
        generic = np.array([_GENERIC * p.sd for p in law.parameters])
        generic[0] = _LEVEL_SPREAD
        if prior is None:
            return cls(np.zeros(len(generic)), np.diag(generic))
        mean, precision = prior.for_law(law, fit.reference)
        silent = np.diag(precision) == 0
        precision = precision + np.diag(np.where(silent, 1.0 / generic**2, 0.0))
        values, vectors = np.linalg.eigh(precision)
        offset = np.where(silent, 0.0, law.complete(fit.theta)[0] - mean)
        return cls(np.where(law.free, offset, 0.0), vectors / np.sqrt(values))

    @classmethod
    def none(cls, fit: Fit) -> Tangent:
        """The law held at its fit."""
        size = len(fit.law.parameters)
        return cls(np.zeros(size), np.zeros((size, size)))

    def gradient(self, fit: Fit, columns: Columns) -> np.ndarray:
        """d log L / dθ at the fit, `(n, P)`."""
        value, slope = fit.law.loss(fit.theta[None], fit.law.prepare(columns, fit.reference), gradient=True)
        return (slope[0] / value[0]).T
