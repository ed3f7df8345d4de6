"""A loss curve: what was logged of one run, under which rates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .rates.path import RatePath

END_POINTS = 3
"""The final loss of a curve is the mean of its last three points, as in the shared table."""
LEAST_WARMUP = 0.03
"""Share of a run that counts as its warm-up at least: runs without one need time to settle too (the least of the public
curves)."""


@dataclass(frozen=True)
class Curve:
    """One run: loss in nats per token `loss: (n,)` at `step: (n,)`, under the rates of `path`.

    Runs of one `family` (maker, corpus, recipe) share the law's shape; those of one size in it (parameters) its level.
    """

    run_id: str
    family: str
    size: float
    path: RatePath
    step: np.ndarray
    loss: np.ndarray

    def __post_init__(self) -> None:
        for name in ("step", "loss"):  # whole numbers of steps are numbers too: what is saved must be readable
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))

    @property
    def group(self) -> str:
        """Key of the runs that share a level."""
        return f"{self.family}/{self.size:g}"

    @property
    def final_loss(self) -> float:
        """Mean of the last three points, nats."""
        return float(self.loss[-END_POINTS:].mean())

    def warmed(self) -> Curve:
        """The curve from the end of its warm-up on: from there the law holds."""
        return self._where(self.step >= max(self.path.warmup, LEAST_WARMUP * self.path.steps))

    def until(self, step: float) -> Curve:
        """The prefix up to `step`; the path stays that of the whole plan."""
        return self._where(self.step <= step)

    def _where(self, kept: np.ndarray) -> Curve:
        return replace(self, step=self.step[kept], loss=self.loss[kept])
