"""The prior of a loss curve's parameters: generic, or learned from other sizes of the same family."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..library import Curve
from .fitting import CurveFit
from .multipower import B_SHARE, B_SPREAD, SHAPE_MEAN

A_SHARE = 0.1
"""A, the reducible loss at S_REF peak steps, in shares of the loss (the same fits: 9.1 and 11.3 %)."""

NAMES = ("alpha", "log_c", "beta", "gamma", "L0", "log_A", "log_B")
"""Coordinates of a run's law in a prefix forecast; logarithms keep A and B positive."""
GENERIC_SD = np.array([0.05, 0.7, 0.1, 0.1, 10.0, 0.7, B_SPREAD])
"""Between jobs of different makers. L0 is left to the data."""
SIZES_SD = np.array([0.05, 0.3, 0.05, 0.05, 10.0, 0.5, 0.2])
"""Between two sizes of one family that differ by RATIO: α of 25M and 100M differs by .04, log A by .15, log B by .2."""
RATIO = 4.0
KNOWN_SD = np.array([0.02, 0.1, 0.05, 0.05, 0.003, 0.03, 0.05])
"""Between runs of one size: 25M and 100M, each curve against the fit to the others. L0 as a share of itself."""
GENERIC_DRIFT, SIZES_DRIFT, KNOWN_DRIFT = 5e-3, 4e-3, 1.8e-3
"""A run's deviation from its law while log progress grows by 1: sd of log loss."""
_BIAS_POINTS = 100


@dataclass(frozen=True)
class ScheduleBias:
    """What the law misses under one schedule: log(observed / law) `miss: (k,)` at shares `at: (k,)` of the run."""

    at: np.ndarray
    miss: np.ndarray

    @classmethod
    def of(cls, fit: CurveFit, siblings: list[Curve]) -> ScheduleBias | None:
        """Mean over `siblings`: runs of that schedule, at sizes whose level `fit` knows; None without any.

        The fit should have seen of their size what the fit to be corrected has seen of its own.
        """
        if not siblings:
            return None
        missed = [_smooth(np.log(c.loss / fit.loss(c.path, c.step, c.group))) for c in siblings]
        return cls.mean([cls(c.step / c.path.steps, miss) for c, miss in zip(siblings, missed, strict=True)])

    @classmethod
    def mean(cls, parts: list[ScheduleBias]) -> ScheduleBias | None:
        """The average over sizes, where all of them know it; None for none."""
        if not parts:
            return None
        at = np.linspace(max(p.at[0] for p in parts), min(p.at[-1] for p in parts), _BIAS_POINTS)
        return cls(at, np.mean([np.interp(at, p.at, p.miss) for p in parts], axis=0))

    def after(self, share: np.ndarray, now: float) -> np.ndarray:
        """The law's bias at shares `share: (n,)` of the run relative to its bias at `now`; 0 up to now.

        The bias so far is not corrected: the run's own points determine it better, and correcting it would distort the
        fitted shape.
        """
        already = np.interp(now, self.at, self.miss) if now > 0 else 0.0
        return np.where(share > now, np.interp(share, self.at, self.miss) - already, 0.0)


@dataclass(frozen=True)
class CurvePrior:
    """Independent Gaussians over NAMES, `mean: (7,)` and `sd: (7,)`, runs' deviation from the law, and its bias."""

    name: str
    mean: np.ndarray
    sd: np.ndarray
    drift: float
    bias: ScheduleBias | None = None

    def bias_after(self, share: np.ndarray, now: float) -> np.ndarray:
        """See `ScheduleBias.after`; zeros where no bias is known."""
        return np.zeros(len(share)) if self.bias is None else self.bias.after(share, now)


def generic_prior(loss: float) -> CurvePrior:
    """For a job without related curves; `loss` in nats is its current loss, which only sets scales."""
    mean = np.array([*SHAPE_MEAN, 0.9 * loss, np.log(A_SHARE * loss), np.log(B_SHARE * loss)])
    return CurvePrior("generic", mean, GENERIC_SD.copy(), GENERIC_DRIFT)


def known_prior(fit: CurveFit, group: str, bias: ScheduleBias | None = None) -> CurvePrior:
    """For a further run of a size that `fit` includes."""
    floor, a, b = fit.level[group]
    mean = np.array([*fit.shape, floor, np.log(a), np.log(b)])
    sd = KNOWN_SD.copy()
    sd[4] *= floor
    if not fit.identified:
        sd[6] = B_SPREAD
    return CurvePrior("known size", mean, sd, KNOWN_DRIFT, bias)


def transferred_prior(fit: CurveFit, loss: float, ratio: float = RATIO, bias: ScheduleBias | None = None) -> CurvePrior:
    """For a size that `fit` doesn't include, `ratio` times the nearest one that it does; wider for larger ratios.

    A shape fitted on few sizes is shrunk towards the generic one: two sizes differ about as much from each other as
    from it. `loss` in nats is the run's current loss, which only sets scales.
    """
    levels = np.array(list(fit.level.values()))
    trust = len(levels) / (len(levels) + 1.0)
    shape = trust * fit.shape + (1.0 - trust) * SHAPE_MEAN
    mean = np.array([*shape, 0.9 * loss, *np.log(np.maximum(levels[:, 1:], 1e-3 * loss)).mean(axis=0)])
    stretch = np.sqrt(max(1.0, abs(np.log(ratio)) / np.log(RATIO)))
    sd = SIZES_SD * np.where(np.arange(7) == 4, 1.0, stretch)
    if not fit.identified:
        sd[6] = max(sd[6], B_SPREAD)
    return CurvePrior("other sizes", mean, sd, SIZES_DRIFT * stretch, bias)


def _smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Running mean over `width` points, so that a sibling's noise is not taken for bias."""
    kernel = np.ones(min(width, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
