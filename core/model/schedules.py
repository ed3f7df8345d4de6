"""Learning-rate schedules: the shape of the learning rate along a run, as a share of its peak.

One function of the step for every name in `ScheduleName`; a schedule is linear warm-up times a shape. It is vectorised
over steps, so that a trainer can table it once and a loss-curve law can integrate it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ..reading.fields import FieldError, Frozen, Share, Whole, whole_schema

__all__ = ["DecayForm", "Schedule", "ScheduleName"]

ScheduleName = Literal["cosine", "linear", "wsd", "constant", "inverse_sqrt", "multistep"]
"""Names of the shapes, as in a run configuration's `optim.schedule`."""

DecayForm = Literal["linear", "exponential", "sqrt"]
"""How wsd falls: in a straight line; by an equal factor per step (Hu et al. 2024); as 1 − √progress (Hägele et al.)."""

_Steps = Annotated[Whole, Field(ge=0, le=10**12), whole_schema(0, 10**12)]


class Schedule(Frozen):
    """The learning rate of each step as a share of the peak: 0 to 1.

    After `warmup_steps` of linear rise: `cosine` and `linear` fall to `final`, reached where the run ends, so that the
    last step still moves; `wsd` stays at 1 and falls to `final` over the last `decay_share` of the run (Hu et al. 2024,
    arXiv:2404.06395) as `decay_form` says: linearly, exponentially, or as 1 − √progress (Hägele et al. 2024,
    arXiv:2405.18392), the steepest at first; `constant` stays; `inverse_sqrt` falls with one over the root of the step,
    counted in warm-ups (Vaswani et al. 2017, arXiv:1706.03762, section 5.3); `multistep` drops to √`final` after 80 %
    and to `final` after 90 % of the run (DeepSeek 2024, arXiv:2401.02954, section 2.3, where `final` is 0.1).

    >>> Schedule(name="linear", steps=4, warmup_steps=2).at([0, 1, 2, 3]).tolist()
    [0.5, 1.0, 1.0, 0.5]
    """

    name: ScheduleName = Field(default="constant", description="Shape after warm-up.")
    steps: Annotated[Whole, Field(ge=1, le=10**12), whole_schema(1, 10**12)] = Field(description="Steps of the run.")
    warmup_steps: _Steps = Field(default=0, description="Steps of linear warm-up.")
    final: Share = Field(default=0.0, description="Where the shape ends, as a share of the peak.")
    decay_share: Annotated[Share, Field(gt=0)] = Field(default=0.2, description="wsd: part of the run that decays.")
    decay_form: DecayForm = Field(default="linear", description="wsd: how the rate falls.")

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup_steps > self.steps:
            raise FieldError("warmup_steps", f"got {self.warmup_steps}; expected at most steps {self.steps}")
        return self

    @model_validator(mode="after")
    def _check_decay(self) -> Self:
        if self.name == "wsd" and self.decay_form == "exponential" and self.final == 0:
            raise FieldError("final", "got 0, which an exponential decay never reaches; expected a share above 0")
        return self

    def at(self, step: ArrayLike) -> NDArray[np.float64]:
        """Return the learning rate of `step` (from 0, any shape) as a share of the peak, in the same shape."""
        index = np.asarray(step, dtype=float)
        warm = np.minimum(1.0, (index + 1) / max(1, self.warmup_steps))
        return warm * _SHAPES[self.name](self, index)

    def _progress(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        """Part of the run after warm-up that lies behind `step`, 0 to 1."""
        return np.clip((step - self.warmup_steps) / max(1, self.steps - self.warmup_steps), 0.0, 1.0)


def _cosine(schedule: Schedule, step: NDArray[np.float64]) -> NDArray[np.float64]:
    return schedule.final + (1 - schedule.final) * 0.5 * (1 + np.cos(np.pi * schedule._progress(step)))


def _linear(schedule: Schedule, step: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - (1 - schedule.final) * schedule._progress(step)


def _wsd(schedule: Schedule, step: NDArray[np.float64]) -> NDArray[np.float64]:
    decay_steps = max(1.0, schedule.decay_share * schedule.steps)
    done = np.clip((step - (schedule.steps - decay_steps)) / decay_steps, 0.0, 1.0)
    if schedule.decay_form == "exponential":
        return schedule.final**done
    return 1 - (1 - schedule.final) * (np.sqrt(done) if schedule.decay_form == "sqrt" else done)


def _constant(schedule: Schedule, step: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(step)


def _inverse_sqrt(schedule: Schedule, step: NDArray[np.float64]) -> NDArray[np.float64]:
    warmup = max(1, schedule.warmup_steps)
    return np.sqrt(warmup / np.maximum(step + 1, warmup))


def _multistep(schedule: Schedule, step: NDArray[np.float64]) -> NDArray[np.float64]:
    behind = (step + 1) / schedule.steps
    return np.where(behind <= 0.8, 1.0, np.where(behind <= 0.9, np.sqrt(schedule.final), schedule.final))


_SHAPES: dict[str, Callable[[Schedule, NDArray[np.float64]], NDArray[np.float64]]] = {
    "cosine": _cosine,
    "linear": _linear,
    "wsd": _wsd,
    "constant": _constant,
    "inverse_sqrt": _inverse_sqrt,
    "multistep": _multistep,
}
