"""The prior of a loss curve's parameters: generic, or learned from other sizes of the same family."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..library import Curve
from .fitting import CurveFit
from .multipower import B_SHARE, B_SPREAD, SHAPE_MEAN
from .size_trend import SizeLaw, at_size, roughness

A_SHARE = 0.1
"""A, the reducible loss at S_REF peak steps, in shares of the loss (the same fits: 9.1 and 11.3 %)."""

FLOOR_SHARE = 0.9
"""L0 in shares of the loss, where it is left to the data: a start that the solver can move from either way."""

NAMES = ("alpha", "log_c", "beta", "gamma", "L0", "log_A", "log_B")
"""Coordinates of a run's law in a prefix forecast; logarithms keep A and B positive."""
GENERIC_SD = np.array([0.05, 0.7, 0.1, 0.1, 10.0, 0.7, B_SPREAD])
"""Between jobs of different makers. L0 is left to the data."""
RATIO = 4.0
"""Ratio of sizes up to which a run strays from its law no more than between neighbours."""
KNOWN_SD = np.array([0.012, 0.06, 0.03, 0.03, 0.0018, 0.018, 0.03])
"""Between runs of one size: 25M and 100M, each curve against the fit to the others. L0 as a share of itself."""
GENERIC_DRIFT, SIZES_DRIFT, KNOWN_DRIFT, BIASED_DRIFT = 5e-3, 2.5e-3, 1.8e-3, (1.2e-3, 1e-3)
"""A run's deviation from its law while log progress grows by 1: sd of log loss, without related curves, with those of
other sizes, and with those of its own size; the last two where the schedule's bias is known, for another size and for
its own. Chosen so that 90 % intervals of final losses hold about nine in ten of the public runs, each left out with its
size or alone, at 20, 30, 50 and 70 % of the run (benchmarks/tracking.py)."""
_NEAR = np.log(2.0)  # ratio of lengths up to which a run is as long as the fitted ones
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

    def open_level(self, loss: float) -> CurvePrior:
        """The same curves at any level; `loss` in nats only sets scales. For a level that is known from elsewhere."""
        mean, sd = self.mean.copy(), self.sd.copy()
        mean[4], sd[4] = FLOOR_SHARE * loss, GENERIC_SD[4]
        return replace(self, mean=mean, sd=sd)

    def bias_after(self, share: np.ndarray, now: float) -> np.ndarray:
        """See `ScheduleBias.after`; zeros where no bias is known."""
        return np.zeros(len(share)) if self.bias is None else self.bias.after(share, now)


def generic_prior(loss: float) -> CurvePrior:
    """For a job without related curves; `loss` in nats is its current loss, which only sets scales."""
    mean = np.array([*SHAPE_MEAN, FLOOR_SHARE * loss, np.log(A_SHARE * loss), np.log(B_SHARE * loss)])
    return CurvePrior("generic", mean, GENERIC_SD.copy(), GENERIC_DRIFT)


def known_prior(fit: CurveFit, group: str, bias: ScheduleBias | None = None, beyond: float = 0.0) -> CurvePrior:
    """For a further run of a size that `fit` includes, whose length is `beyond` the fitted ones: log of the ratio."""
    floor, a, b = fit.level[group]
    mean = np.array([*fit.shape, floor, np.log(a), np.log(b)])
    sd = KNOWN_SD * (1.0 if bias is not None else KNOWN_DRIFT / BIASED_DRIFT[1])
    sd[4] *= floor
    if not fit.identified:
        sd[6] = B_SPREAD
    return CurvePrior("known size", mean, sd, _drift(KNOWN_DRIFT, BIASED_DRIFT[1], bias, beyond), bias)


def sizes_prior(laws: list[SizeLaw], size: float, bias: ScheduleBias | None = None, beyond: float = 0.0) -> CurvePrior:
    """For a size without curves of its own, from the laws of its recipe's other sizes; `beyond` as in `known_prior`."""
    mean, sd = at_size(laws, size)
    floor = float(np.exp(mean[4]))
    mean[4], sd[4] = floor, floor * sd[4]
    if not any(law.identified for law in laws):
        sd[6] = max(sd[6], B_SPREAD)
    far = min(abs(np.log(size / law.size)) for law in laws) / np.log(RATIO)
    drift = _drift(SIZES_DRIFT, BIASED_DRIFT[0], bias, beyond) * np.sqrt(max(1.0, far))
    rough = roughness(laws)
    return CurvePrior("other sizes", mean, rough * sd, rough * drift, bias)


def _drift(usual: float, biased: float, bias: ScheduleBias | None, beyond: float) -> float:
    """The drift of a run; where its schedule's bias isn't known, it grows with the length: the law's misses do."""
    return biased if bias is not None else usual * (1.0 + max(beyond - _NEAR, 0.0))


def _smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Running mean over `width` points, so that a sibling's noise is not taken for bias."""
    kernel = np.ones(min(width, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
