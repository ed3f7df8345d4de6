"""The number of tokens that a plan can train on within limits on money and time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....core.errors import ConfigError, InfeasibleError, InputError
from ....core.model.architecture import Architecture
from ...cluster.cluster_estimate import ClusterEstimate
from ...cluster.estimate import PlannedStep, estimate, plan_step
from ...cluster.planned_shape import planned_shape
from ...cluster.step_time.step_model import StepTimeModel
from ...config.run_config import ModelConfig, RunConfig

__all__ = ["DRAWS", "Affordable", "AffordableSteps", "Limits", "affordable", "with_shape", "with_tokens"]

DRAWS = 1000
"""Outcomes drawn for each plan that is tried: medians are then good to about 0.2 %."""

_S_PER_DAY = 86_400.0
_CLOSE = 4e-3  # below its limit that a cost or a time may end
_TRIES = 40


@dataclass(frozen=True)
class Limits:
    """Limits of a run: US dollars, and days of wall clock; None for no limit. Each applies separately."""

    cost_usd: float | None = None
    wall_clock_days: float | None = None
    chance: float = 0.5
    """Probability with which each limit must hold: 0.5 compares the median with it."""

    @classmethod
    def of(cls, config: RunConfig, chance: float = 0.5) -> Limits:
        """The budget and the deadline of a plan's targets."""
        seconds = config.deadline_s
        return cls(config.targets.budget_usd, None if seconds is None else seconds / _S_PER_DAY, chance)

    @property
    def unlimited(self) -> bool:
        """Whether there is no limit at all."""
        return self.cost_usd is None and self.wall_clock_days is None


@dataclass(frozen=True)
class Affordable:
    """A plan whose tokens are as many as its limits allow."""

    config: RunConfig
    """With those tokens, and the layout that was found to be the fastest."""
    estimate: ClusterEstimate
    binding: str
    """cost_usd or wall_clock_days."""


class AffordableSteps:
    """The optimizer steps of one plan's shapes, batches and machines, each worked out once."""

    def __init__(self, step_times: StepTimeModel | None = None) -> None:
        self._fitted = step_times or StepTimeModel.shipped()
        self._known: dict[tuple[object, ...], PlannedStep | InfeasibleError] = {}

    def of(self, config: RunConfig) -> PlannedStep:
        """The step in the fastest layout that fits. Raises InfeasibleError where none does."""
        machines = config.hardware.model_dump_json(exclude={"price_usd_per_hour"})
        states = config.optim.optimizer, config.optim.master_weights
        key = (planned_shape(config), config.optim.batch_tokens, machines, config.layout, states)
        if key not in self._known:
            try:
                self._known[key] = plan_step(config, self._fitted)
            except InfeasibleError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, InfeasibleError):
            raise InfeasibleError(str(found))
        return found

    def estimate(self, config: RunConfig, draws: int = DRAWS) -> ClusterEstimate:
        """The estimate of a plan."""
        return estimate(config, draws=draws, step=self.of(config))


def affordable(config: RunConfig, limits: Limits, steps: AffordableSteps, draws: int = DRAWS) -> Affordable:
    """The plan with as many tokens as the limits allow, at most 0.4 % less.

    Raises InfeasibleError where no layout fits, or the limits don't allow even one step; ConfigError where the plan
    says too little of its machines or, with a limit on money, of their price; InputError without any limit.
    """
    if limits.unlimited:
        raise InputError("budget, deadline: both are missing; expected US dollars such as 2M, a time such as 30d")
    plan, found = config, steps.estimate(config, draws)
    least = config.optim.batch_tokens or 0.0
    for _ in range(_TRIES):
        share, binding = _room(found, limits)
        if 1.0 <= share <= 1.0 + _CLOSE:
            break
        tokens = _rounded(plan.data.tokens * share * (1.0 - 0.3 * _CLOSE))
        if tokens < least:
            raise InfeasibleError(_too_little(binding, limits, found))
        plan = with_tokens(plan, tokens)
        found = steps.estimate(plan, draws)
    share, binding = _room(found, limits)
    if share < 1.0:
        raise InfeasibleError(_too_little(binding, limits, found))
    return Affordable(plan.model_copy(update={"layout": found.layout.stated()}), found, binding)


def _rounded(tokens: float) -> float:
    """Four digits, down: a plan to be written and read."""
    unit = 10.0 ** (math.floor(math.log10(tokens)) - 3)
    return math.floor(tokens / unit) * unit


def _room(found: ClusterEstimate, limits: Limits) -> tuple[float, str]:
    """How many times more the limits allow than what was estimated, and the limit that decides."""
    room: dict[str, float] = {}
    if limits.cost_usd is not None:
        cost = found.draws.cost_usd
        if cost is None:
            raise ConfigError("hardware.price_usd_per_hour: is missing; expected a price, for a budget to be held to")
        taken = float(np.quantile(cost, limits.chance))
        if taken <= 0:
            raise ConfigError("hardware.price_usd_per_hour: is 0, so that no budget ends the run; expected a price")
        room["cost_usd"] = limits.cost_usd / taken
    if limits.wall_clock_days is not None:
        taken = float(np.quantile(found.draws.wall_clock_s, limits.chance)) / _S_PER_DAY
        room["wall_clock_days"] = limits.wall_clock_days / taken
    binding = min(room, key=lambda name: room[name])
    return room[binding], binding


def _too_little(binding: str, limits: Limits, found: ClusterEstimate) -> str:
    share, _ = _room(found, limits)
    if binding == "cost_usd" and limits.cost_usd is not None:
        return f"budget: {limits.cost_usd:.3g} USD isn't enough; expected at least about {limits.cost_usd / share:.3g}"
    days = limits.wall_clock_days or 0.0
    return f"deadline: {days:.3g} days aren't enough; expected at least about {days / share:.3g}"


def with_tokens(config: RunConfig, tokens: float) -> RunConfig:
    """The plan with other training tokens; stocks stay as they are."""
    return config.model_copy(update={"data": config.data.model_copy(update={"tokens": float(tokens)})})


def with_shape(config: RunConfig, shape: Architecture) -> RunConfig:
    """The plan with another architecture."""
    return config.model_copy(update={"model": ModelConfig.model_validate({"architecture": shape.model_dump()})})
