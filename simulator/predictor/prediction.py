"""`LossPrediction`: predicted losses of some runs, with intervals, probabilities and random draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...core.errors import UsageError
from .calibration import Calibration

_FADES_DECADES = 0.3  # beyond the fitted runs, where the calibration of runs like them no longer counts


@dataclass(frozen=True)
class LossPrediction:
    """Predicted loss of n runs: `log_loss` the centre, `scale` its s, `extrapolation_decades` how far out; each `(n,)`.

    `calibration` is that of extrapolation. `within`, where there is one, is that of runs like the fitted ones; it
    fades out over the first 0.3 decades beyond them.
    """

    log_loss: np.ndarray
    scale: np.ndarray
    extrapolation_decades: np.ndarray
    calibration: Calibration
    within: Calibration | None = None

    @property
    def loss_nats(self) -> np.ndarray:
        """Median predicted loss, nats per token `(n,)`."""
        return np.exp(self.log_loss)

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Central interval of the loss at `level`, nats per token, two `(n,)`. UsageError outside (0, 1)."""
        if not 0 < level < 1:
            raise UsageError(f"interval level: got {level}; expected a fraction between 0 and 1, such as 0.9")
        half = self._width(level) * self.scale
        return np.exp(self.log_loss - half), np.exp(self.log_loss + half)

    def probability_at_most(self, loss_nats: float) -> np.ndarray:
        """Chance that each run's loss is at most `loss_nats`, `(n,)`."""
        z = (np.log(loss_nats) - self.log_loss) / self.scale
        chances = []
        for value, beyond in zip(z, self._beyond(), strict=True):
            level = self._calibration(beyond).level(value)
            chances.append(0.5 + 0.5 * np.sign(value) * level)
        return np.array(chances)

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Random losses `(size, n)`, nats, one |z| for all runs of a draw: they share the law's error."""
        sign = np.where(rng.random(size) < 0.5, -1.0, 1.0)
        level = rng.random(size)
        z = np.array([self._calibration(beyond).width(level) for beyond in self._beyond()]).T
        return np.exp(self.log_loss + sign[:, None] * z * self.scale)

    def row(self, number: int) -> LossPrediction:
        """One of the runs by itself."""
        only = slice(number, number + 1)
        return replace(
            self,
            log_loss=self.log_loss[only],
            scale=self.scale[only],
            extrapolation_decades=self.extrapolation_decades[only],
        )

    def _beyond(self) -> np.ndarray:
        """How far each run counts as extrapolated, 0 to 1, `(n,)`."""
        if self.within is None:
            return np.ones(len(self.extrapolation_decades))
        return np.minimum(self.extrapolation_decades / _FADES_DECADES, 1.0)

    def _width(self, level: float) -> np.ndarray:
        """Half the width of an interval, in units of `scale`, `(n,)`."""
        beyond = self._beyond()
        outside = self.calibration
        inside = outside if self.within is None else self.within
        return (1.0 - beyond) * inside.width(level) + beyond * outside.width(level)

    def _calibration(self, beyond: float) -> Calibration:
        """The calibration of a run that counts as extrapolated by `beyond`, 0 to 1."""
        if self.within is None:
            return self.calibration
        return self.within.blended(self.calibration, beyond)
