"""Goals and limits of a study, each with the measure that it names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..study_config import Goal
from .measures import Measure, PlanOutcome

__all__ = ["BoundLimit", "MeasuredGoal"]

_ROUNDING = 1e-9  # log units beyond a bound that count as 0
_MOST_NAMED = 4  # domains of a weighted goal
_LARGEST_EXCESS = 10.0  # log units: the excess of a limit that is violated by an unbounded distance


@dataclass(frozen=True)
class MeasuredGoal:
    """A goal with the measure that it names."""

    goal: Goal
    measure: Measure
    weights: Mapping[str, float] | None = None
    """By target, for a weighted loss."""

    @property
    def name(self) -> str:
        """The measure's name."""
        return self.goal.name

    @property
    def label(self) -> str:
        """The measure's name for people, with what a loss is measured on: weighted domains, or their mean."""
        domains = [f"{domain} {weight:g}" for domain, weight in (self.goal.weights or {}).items()]
        more = ["…"] if len(domains) > _MOST_NAMED else []
        if domains:
            return f"{self.name} of {', '.join(domains[:_MOST_NAMED] + more)}"
        said = not self.measure.of_what or self.name.endswith(f".{self.measure.of_what}")
        return self.name if said else f"{self.name}, {self.measure.of_what}"

    def value(self, outcome: PlanOutcome, quantile: float | None = None) -> float:
        """Its value in an outcome, at the goal's own quantile unless another is asked for."""
        q = self.goal.quantile if quantile is None else quantile
        if self.weights is None:
            return self.measure.of(outcome, q)
        nats = outcome.weighted(self.weights, q)
        return math.exp(nats) if self.goal.name == "perplexity" else nats

    @property
    def loss_columns(self) -> tuple[str, ...]:
        """The loss targets that it reads."""
        return self.measure.loss_columns if self.weights is None else tuple(self.weights)


@dataclass(frozen=True)
class BoundLimit:
    """One side of a limit with the measure that it names."""

    measure: Measure
    side: Literal["at_most", "at_least"]
    bound: float
    chance: float
    source: str
    """Where it is stated: `constraints`, or a path of the run."""

    @property
    def name(self) -> str:
        """The measure's name, and the side where it isn't the usual one."""
        return self.measure.name + ("" if self.side == "at_most" else " at least")

    def value(self, outcome: PlanOutcome) -> float:
        """The value that is compared with the bound: the quantile of the forecast at the limit's chance."""
        quantile = self.chance if self.side == "at_most" else 1.0 - self.chance
        return self.measure.of(outcome, quantile if self.measure.uncertain else 0.5)

    def excess(self, value: float) -> float:
        """How far a value is beyond the bound, log units; at most 0 where the limit is kept."""
        if not value > 0:
            return -_LARGEST_EXCESS if self.side == "at_most" else _LARGEST_EXCESS
        ratio = math.log(value / self.bound) if self.side == "at_most" else math.log(self.bound / value)
        ratio = min(ratio, 0.0) if ratio < _ROUNDING else ratio
        return min(max(ratio, -_LARGEST_EXCESS), _LARGEST_EXCESS)
