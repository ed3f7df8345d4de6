"""Detection of regressions in a running job: a sequential test on windows of its log.

At every check the log is cut at several earlier steps. From the part before a cut, the part after it is forecast with
all uncertainties (law, deviation, noise), and the robust mean error of a window is measured in standard deviations. A
run that turns worse is detected by the cut just before; one that merely follows another law drifts slowly, within a
forecast that is wide enough. Single spikes don't move a robust mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .law.prior import CurvePrior
from .prefix import CurvePosterior, Z, condition
from .rates.path import RatePath

FIRST_CUT = 0.1
"""Share of the plan before which no cut is made: a forecast from a shorter prefix is too wide."""
GRID = 0.02
"""Distance of cuts and of checks, as a share of the plan."""
WINDOWS = (0.02, 0.04, 0.08)
"""Lengths of the windows after a cut, as shares of the plan."""
ALARM = 4.5
"""Standard deviations of an error that raise an alarm. Some 130 overlapping windows are tested in a run, and its noise
has to be estimated from its prefix; 4.5 keeps the false-alarm rate of normal runs below 5 % (benchmark table iii)."""
LEAST = 5e-3
"""An error of less than 0.5 % of the loss is never an alarm, however significant: reruns differ by up to that."""
_MIN_WINDOW, _MIN_PAST = 4, 20  # points; a shorter past gives neither trend nor noise
_MOST = 60  # points after a cut that are used; denser logs are thinned evenly
_CLIP = 2.0  # robust standard deviations from the window's median beyond which a point's miss is cut
_COST = 1.05  # such a mean is this much less precise than a plain one of Gaussians


@dataclass(frozen=True)
class Shift:
    """A loss above the forecast from the run's past: from step `since` on, detected at step `noticed`.

    `size` is the error of log loss (0.02: 2 % of the loss), `sd` its standard deviation.
    """

    since: float
    noticed: float
    size: float
    sd: float

    @property
    def z(self) -> float:
        """The error in standard deviations."""
        return self.size / self.sd


def first_shift(
    path: RatePath,
    prior: CurvePrior,
    step: np.ndarray,
    loss: np.ndarray,
    *,
    alarm: float = ALARM,
    since: float = 0.0,
) -> Shift | None:
    """The first alarm of repeated checks along a log, or None.

    Args:
        path: The run's learning rates.
        prior: The prior of its loss curve.
        step: Rising optimizer steps, `(n,)`.
        loss: Losses there in nats, `(n,)`.
        alarm: Standard deviations that raise an alarm.
        since: Cuts before this step are skipped.
    """
    found = [shift for shift in scan(path, prior, step, loss, since=since) if shift.z > alarm and shift.size > LEAST]
    return min(found, key=lambda shift: (shift.noticed, -shift.z), default=None)


def scan(path: RatePath, prior: CurvePrior, step: np.ndarray, loss: np.ndarray, *, since: float = 0.0) -> list[Shift]:
    """The forecast error of every window after every cut, in order. Arguments as in `first_shift`."""
    step, loss = np.asarray(step, float), np.asarray(loss, float)
    shifts: list[Shift] = []
    for cut in np.arange(max(FIRST_CUT * path.steps, since), step[-1] if len(step) else 0.0, GRID * path.steps):
        past = step <= cut
        belief = condition(path, prior, step[past], loss[past]) if past.sum() >= _MIN_PAST else None
        if belief is not None and belief.points.count.sum() >= _MIN_PAST:
            shifts += _misses(belief, cut, step[~past], loss[~past])
    return shifts


def _misses(belief: CurvePosterior, cut: float, step: np.ndarray, loss: np.ndarray) -> list[Shift]:
    """One Shift per window after `cut` that the log covers."""
    ahead = step <= cut + WINDOWS[-1] * belief.path.steps
    step, loss = _condense(step[ahead], loss[ahead])
    if len(step) < _MIN_WINDOW:
        return []
    mean, covariance = belief.log_loss(step)
    miss = np.log(loss) - mean
    shifts = []
    for length in WINDOWS:
        n = int(np.searchsorted(step, cut + length * belief.path.steps, side="right"))
        n = max(n, _MIN_WINDOW)
        if n > len(step):
            break
        sd = np.sqrt(covariance[:n, :n].mean() + (_COST * belief.points.noise) ** 2 / n)
        shifts.append(Shift(float(cut), float(step[n - 1]), _centre(miss[:n]), float(sd)))
    return shifts


def _centre(miss: np.ndarray) -> float:
    """Mean that single spikes don't move."""
    middle = np.median(miss)
    reach = _CLIP * 1.4826 * np.median(np.abs(miss - middle))
    return float(np.mean(np.clip(miss, middle - reach, middle + reach)))


def _condense(step: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    stride = max(1, len(step) // _MOST)
    return step[::stride], loss[::stride]


@dataclass(frozen=True)
class Standing:
    """A run's forecast final loss compared with the planned one; `z > 0`: worse than planned.

    `forecast` and `plan` are nats; `sd` of the difference of their logarithms.
    """

    verdict: Literal["on track", "ahead", "behind"]
    forecast: float
    plan: float
    sd: float

    @property
    def z(self) -> float:
        """Log of forecast over plan, in standard deviations."""
        return float(np.log(self.forecast / self.plan)) / self.sd


def standing(belief: CurvePosterior, plan: float, plan_log_sd: float = 0.0, level: float = 0.9) -> Standing:
    """Compare the forecast final loss with a planned one, in nats.

    The verdict is "on track" while the central interval at `level` contains the plan, whose sd of log loss is
    `plan_log_sd`.
    """
    end = belief.final()
    sd = float(np.hypot(end.log_sd[0], plan_log_sd))
    z = np.log(end.loss[0] / plan) / sd
    verdict = "on track" if abs(z) <= Z[level] else "behind" if z > 0 else "ahead"
    return Standing(verdict, float(end.loss[0]), plan, sd)
