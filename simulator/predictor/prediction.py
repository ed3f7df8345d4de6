"""`LossPrediction`: predicted losses of some runs, with intervals, probabilities and random draws, and differences.

A difference has one definition everywhere: that of the two medians. Its errors are those of both runs, less what they
share (`correlation`): most of a law's error, and nothing of a run's own luck. Both constants of `difference` and the
choice of the centre come from `benchmarks/differences.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...core.errors import UsageError
from ...core.quantity import EQUALLY_LIKELY, LEVELS, Difference, Quantity, equal_shares
from .calibration import Calibration

KNOTS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.995)
"""Levels of intervals at which the upper end is held to those of smaller runs; in between it is interpolated."""

FADES_DECADES = 0.3  # beyond the fitted runs, where the calibration of runs like them no longer counts
_UNTRIED = 0.5  # of s where no back-test could be: exponents are then left far more open than they are
_DRIFT_PER_DECADE = 0.045  # 90 % of pairs drift apart by less, in log loss, for each decade between their distances


@dataclass(frozen=True)
class LossPrediction:
    """Predicted loss of n runs: `log_loss` the centre, `scale` its s, `extrapolation_decades` how far out; each `(n,)`.

    `calibration` is that of extrapolation. `within`, where there is one, is that of runs like the fitted ones; it
    fades out over the first 0.3 decades beyond them. `correlation`, `(n, n)`, is that of the runs' errors where they
    were predicted to be compared; None stands for errors that are the same for all. `upper_share`,
    `(n, K)`, is how much of the width above the centre is left at KNOTS, where larger runs can't do worse than smaller
    ones, and `never_above`, `(n, n)`, says that run i can't end above run j: see `monotone.order`.
    """

    log_loss: np.ndarray
    scale: np.ndarray
    extrapolation_decades: np.ndarray
    calibration: Calibration
    within: Calibration | None = None
    correlation: np.ndarray | None = None
    upper_share: np.ndarray | None = None
    never_above: np.ndarray | None = None

    @property
    def loss_nats(self) -> np.ndarray:
        """Median predicted loss, nats per token `(n,)`."""
        return np.exp(self.log_loss)

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Central interval of the loss at `level`, nats per token, two `(n,)`. UsageError outside (0, 1)."""
        if not 0 < level < 1:
            raise UsageError(f"interval level: got {level}; expected a fraction between 0 and 1, such as 0.9")
        width = self._width(level)
        return np.exp(self.log_loss - width * self.scale), np.exp(self.log_loss + self._above(width))

    def quantity(self, place: int = 0) -> Quantity:
        """The loss of the run at `place`: median and intervals, nats per token."""
        intervals = {}
        for level in LEVELS:
            low, high = self.interval(level)
            intervals[level] = (float(low[place]), float(high[place]))
        return Quantity(float(self.loss_nats[place]), intervals)

    def quantiles(self, shares: np.ndarray) -> np.ndarray:
        """The losses below which each run's lies with chances `shares` `(k,)` in (0, 1), nats per token, `(k, n)`."""
        place = 2.0 * np.asarray(shares, dtype=float)[:, None] - 1.0
        width = self.widths(np.abs(place[:, 0])).T
        off = np.where(place > 0, self._above(width), np.sign(place) * width * self.scale)
        return np.exp(self.log_loss + off)

    def probability_at_most(self, loss_nats: float) -> np.ndarray:
        """Chance that each run's loss is at most `loss_nats`, `(n,)`."""
        off = np.log(loss_nats) - self.log_loss
        z = np.where(off > 0, self._width_of(off), off / self.scale)
        chances = []
        for value, beyond in zip(z, self._beyond(), strict=True):
            level = self._calibration(beyond).level(value)
            chances.append(0.5 + 0.5 * np.sign(value) * level)
        return np.array(chances)

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Random losses `(size, n)`, nats: each run's by its own intervals, their ranks correlated as their errors are.

        Without a `correlation` one |z| for all runs of a draw: they share the law's error.
        """
        if self.correlation is None:
            sign = np.where(rng.random(size) < 0.5, -1.0, 1.0)[:, None]
            level = np.repeat(rng.random(size)[:, None], len(self.log_loss), axis=1)
        else:
            normal = rng.standard_normal((size, len(self.log_loss))) @ _root(self.correlation).T
            sign = np.sign(normal)
            level = _level_of_normal(normal)
        z = np.empty(level.shape)
        for place, beyond in enumerate(self._beyond()):
            z[:, place] = self._calibration(beyond).width(level[:, place])
        return np.exp(self.log_loss + np.where(sign > 0, self._above(z), -z * self.scale))

    def difference(self, number: int, to: int = 0) -> LossDifference:
        """The loss of run `number` minus that of run `to`, nats."""
        loss = self.loss_nats
        sd = loss * self.scale
        shared = 1.0 if self.correlation is None else float(self.correlation[number, to])
        variance = sd[number] ** 2 + sd[to] ** 2 - 2.0 * shared * sd[number] * sd[to]
        apart = abs(self.extrapolation_decades[number] - self.extrapolation_decades[to])
        beyond = 0.5 * float(self._beyond()[[number, to]].sum())
        calibration = self._calibration(beyond)
        drift = _DRIFT_PER_DECADE * apart * np.sqrt(loss[number] * loss[to]) / float(calibration.width(0.9))
        factor = 1.0 if self.calibration.own_cuts else (1.0 - beyond) + beyond * _UNTRIED
        return LossDifference(
            nats=float(loss[number] - loss[to]),
            scale_nats=float(np.sqrt(factor**2 * max(variance, 0.0) + drift**2)),
            calibration=calibration,
            never_above=self.never_above is not None and bool(self.never_above[number, to]),
            never_below=self.never_above is not None and bool(self.never_above[to, number]),
        )

    def row(self, number: int) -> LossPrediction:
        """One of the runs by itself."""
        only = slice(number, number + 1)
        return replace(
            self,
            log_loss=self.log_loss[only],
            scale=self.scale[only],
            extrapolation_decades=self.extrapolation_decades[only],
            correlation=None,
            upper_share=None if self.upper_share is None else self.upper_share[only],
            never_above=None,
        )

    def _above(self, width: np.ndarray) -> np.ndarray:
        """How far a width in units of `scale`, `(…, n)`, reaches above the centre, in log loss."""
        if self.upper_share is None:
            return width * self.scale
        found = np.empty(width.shape)
        for place, (widths, reach) in enumerate(self._knots()):
            own = width[..., place]
            beyond = np.maximum(own - widths[-1], 0.0) * self.scale[place] * self.upper_share[place, -1]
            found[..., place] = np.interp(own, widths, reach) + beyond
        return found

    def _width_of(self, off: np.ndarray) -> np.ndarray:
        """The inverse of `_above`, `(n,)`."""
        if self.upper_share is None:
            return off / self.scale
        found = np.empty(len(off))
        for place, (widths, reach) in enumerate(self._knots()):
            beyond = np.maximum(off[place] - reach[-1], 0.0) / (self.scale[place] * self.upper_share[place, -1])
            found[place] = np.interp(off[place], reach, widths) + beyond
        return found

    def _knots(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each run: widths from 0 to the last of KNOTS, in units of `scale`, and how far they reach above."""
        assert self.upper_share is not None
        widths = self.widths(np.array(KNOTS))
        reach = widths * self.scale[:, None] * self.upper_share
        for own, far in zip(widths, reach, strict=True):
            yield np.append(0.0, own), np.append(0.0, far)

    def _beyond(self) -> np.ndarray:
        """How far each run counts as extrapolated, 0 to 1, `(n,)`."""
        if self.within is None:
            return np.ones(len(self.extrapolation_decades))
        return np.minimum(self.extrapolation_decades / FADES_DECADES, 1.0)

    def _width(self, level: float) -> np.ndarray:
        """Half the width of an interval, in units of `scale`, `(n,)`."""
        return self.widths(np.array([level]))[:, 0]

    def widths(self, level: np.ndarray) -> np.ndarray:
        """Half the widths of intervals at K levels, in units of `scale`, `(n, K)`."""
        beyond = self._beyond()[:, None]
        outside = self.calibration
        inside = outside if self.within is None else self.within
        return (1.0 - beyond) * inside.width(level) + beyond * outside.width(level)

    def _calibration(self, beyond: float) -> Calibration:
        """The calibration of a run that counts as extrapolated by `beyond`, 0 to 1."""
        if self.within is None:
            return self.calibration
        return self.within.blended(self.calibration, beyond)


@dataclass(frozen=True)
class LossDifference:
    """The loss of one run minus that of another: the centre and the s of its error in nats, and its calibration.

    Where the sign is known, as of more tokens for the same model (`never_above`, `never_below`), the end that would
    cross zero comes ever nearer to it instead.
    """

    nats: float
    scale_nats: float
    calibration: Calibration
    never_above: bool = False
    never_below: bool = False

    def interval(self, level: float) -> tuple[float, float]:
        """Central interval at `level`, nats. UsageError outside (0, 1)."""
        if not 0 < level < 1:
            raise UsageError(f"interval level: got {level}; expected a fraction between 0 and 1, such as 0.9")
        half = float(self.calibration.width(level)) * self.scale_nats
        low, high = self._moved(np.array([-half, half]))
        return float(low), float(high)

    def _moved(self, by: np.ndarray) -> np.ndarray:
        """The centre moved by so many nats, `(n,)`, without crossing zero where the sign is known."""
        towards = (np.sign(by) == -np.sign(self.nats)) & self.one_sided
        near = self.nats * np.exp(-np.abs(by) / max(abs(self.nats), 1e-300))
        return np.where(towards, near, self.nats + by)

    @property
    def one_sided(self) -> bool:
        """Whether the sign is known."""
        return (self.nats < 0 and self.never_above) or (self.nats > 0 and self.never_below)

    @property
    def probability_below_zero(self) -> float:
        """Chance that the run's loss is the lower one."""
        if self.scale_nats == 0.0 or self.one_sided:
            return 0.5 - 0.5 * float(np.sign(self.nats))
        return 0.5 - 0.5 * float(np.sign(self.nats)) * self.calibration.level(self.nats / self.scale_nats)

    def summary(self) -> Difference:
        """With intervals at the usual levels."""
        intervals = {level: self.interval(level) for level in LEVELS}
        return Difference(self.nats, intervals, self.probability_below_zero, tuple(self.quantiles(EQUALLY_LIKELY)))

    def quantiles(self, n: int) -> list[float]:
        """n equally likely differences in order, nats."""
        place = 2.0 * equal_shares(n) - 1.0
        return self._moved(np.sign(place) * self.calibration.width(np.abs(place)) * self.scale_nats).tolist()

    def matched(self, draws: np.ndarray) -> np.ndarray:
        """Draws of this difference in the order of other `draws` of it, `(size,)`, whose spread is not calibrated."""
        rank = np.argsort(np.argsort(draws, kind="stable"), kind="stable")
        place = 2.0 * (rank + 0.5) / len(draws) - 1.0
        return self._moved(np.sign(place) * self.calibration.width(np.abs(place)) * self.scale_nats)


def _root(correlation: np.ndarray) -> np.ndarray:
    """R with R·Rᵀ the correlation, `(n, n)`, also where some runs are one run."""
    values, vectors = np.linalg.eigh(correlation)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _level_of_normal(normal: np.ndarray) -> np.ndarray:
    """The level of the central interval of a standard normal that reaches just so far."""
    from scipy.special import erf

    return erf(np.abs(normal) / np.sqrt(2.0))
