"""A loss curve: what was logged of one run, under which rates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .rates.path import RatePath

END_POINTS = 3
"""The final loss of a curve is the mean of its last three points, as in the shared table."""


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

    def until(self, step: float) -> Curve:
        """The prefix up to `step`; the path stays that of the whole plan."""
        seen = self.step <= step
        return replace(self, step=self.step[seen], loss=self.loss[seen])
