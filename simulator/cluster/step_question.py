"""What the search of a plan's layout reads, so that it is done once for plans that differ in nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from typing_extensions import override

from ..config.run_config import RunConfig
from .layouts.candidates import LayoutSpace
from .memory.memory import MemoryCap
from .step_time.step_model import StepTimeModel

__all__ = ["StepQuestion"]


@dataclass(frozen=True, eq=False)
class StepQuestion:
    """A plan whose step is asked for. Two are equal where the answer can't differ, whatever else their plans state."""

    config: RunConfig
    space: LayoutSpace
    """What `plan_space` gives for the plan."""
    fitted: StepTimeModel
    cap: MemoryCap | None

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Everything that is read of the plan: its space of layouts, its machines, and the model of step times."""
        space, hardware = self.space, self.config.hardware
        states = tuple(float(getattr(space.states, field.name)) for field in fields(space.states))
        shape = (space.architecture, space.count, space.per_node, space.global_batch, space.stated, states)
        software = (hardware.framework, hardware.compile, hardware.dropout)
        machines = (hardware.machine.model_dump_json(), hardware.working_precision, *software)
        # the very model: it is held here, so that no other takes on its identity
        return (*shape, space.fit_chance, space.release, *machines, id(self.fitted), self.cap)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepQuestion) and self.key == other.key

    @override
    def __hash__(self) -> int:
        return hash(self.key)
