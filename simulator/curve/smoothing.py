"""A run's logged losses as few robust points: spikes dropped, neighbours averaged, noise measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

MAX_POINTS = 200
"""A prefix is condensed to at most this many points."""
_SPIKE = 6.0  # deviations from the running median, in robust standard deviations, that make a point a spike
_WINDOW = 9  # points of that median
_MIN_NOISE = 1e-4  # logs are rounded to 1e-4 nats or so
_FEW_NOISE = 1e-3  # where fewer than five points are there to estimate the noise
_MAD = 1.4826  # median absolute deviation → standard deviation of a Gaussian


@dataclass(frozen=True)
class Points:
    """Loss in nats `(n,)` at `step: (n,)`, each the mean of `count: (n,)` logged points.

    `spread: (n,)` is the standard deviation of each point's log noise; `noise` that of a single logged point.
    """

    step: np.ndarray
    loss: np.ndarray
    count: np.ndarray
    spread: np.ndarray
    noise: float
    spikes: int = 0

    def calmer(self, share: float) -> Points:
        """The same points with their white noise scaled by `share`."""
        return replace(self, spread=self.spread * share, noise=self.noise * share)

    def with_end(self, step: float, loss: float, log_sd: float) -> Points:
        """The same points and one more, a forecast of the final loss (nats) with the sd of its logarithm."""
        return replace(
            self,
            step=np.append(self.step, step),
            loss=np.append(self.loss, loss),
            count=np.append(self.count, 1),
            spread=np.append(self.spread, log_sd),
        )


def smooth(step: np.ndarray, loss: np.ndarray, first: float = 0.0, breaks: Sequence[float] = ()) -> Points:
    """Condense the points from step `first` on. `step`, `loss`: `(n,)`.

    No point is the mean of losses before and after one of the steps `breaks`, at which the loss may jump.
    """
    keep = step >= first
    step, log_loss = step[keep], np.log(loss[keep])
    noise = noise_of(log_loss)
    kept = ~spikes(log_loss, noise)
    dropped = int(len(step) - kept.sum())
    step, log_loss = step[kept], log_loss[kept]
    size = max(1, -(-len(step) // MAX_POINTS))
    starts = np.arange(0, len(step), size)
    if len(breaks) and len(step):
        inside = np.searchsorted(step, breaks, side="right")
        starts = np.union1d(starts, inside[inside < len(step)])
    if not len(starts):
        return Points(step, np.exp(log_loss), np.zeros(0), np.zeros(0), noise, dropped)
    count = np.diff(np.append(starts, len(step)))
    mean_step = np.add.reduceat(step, starts) / count
    mean_log = np.add.reduceat(log_loss, starts) / count
    between = noise_of(mean_log) if len(starts) >= _WINDOW else noise  # correlated neighbours average out less
    spread = np.maximum(noise / np.sqrt(count), between if size > 1 else noise)
    return Points(mean_step, np.exp(mean_log), count, spread, noise, dropped)


def noise_of(log_loss: np.ndarray) -> float:
    """Sd of the white noise of log loss, from the robust spread of second differences, free of smooth trends."""
    if len(log_loss) < 5:
        return _FEW_NOISE
    return max(_MAD * float(np.median(np.abs(np.diff(log_loss, 2)))) / np.sqrt(6.0), _MIN_NOISE)


def spikes(log_loss: np.ndarray, noise: float) -> np.ndarray:
    """Which points stand far above the running median of their neighbours, `(n,)`."""
    if len(log_loss) < _WINDOW:
        return np.zeros(len(log_loss), dtype=bool)
    padded = np.pad(log_loss, _WINDOW // 2, mode="edge")
    median = np.median(np.lib.stride_tricks.sliding_window_view(padded, _WINDOW), axis=1)
    away = log_loss - median
    usual = max(noise, _MAD * float(np.median(np.abs(away))))
    return away > _SPIKE * usual
