"""By how much two plans differ in time, money and energy, from draws that share what their machines share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...core.quantity import Difference
from ..cluster.chance import Chance
from ..cluster.cluster_estimate import ClusterEstimate, Draws
from ..cluster.estimate import PlannedStep, estimate
from ..config.run_config import RunConfig

__all__ = ["CLUSTER_FIGURES", "OnMachines", "cluster_differences"]

_DRAWN: Mapping[str, Callable[[Draws], np.ndarray | None]] = {
    "wall_clock_days": lambda draws: draws.wall_clock_s / 86_400.0,
    "gpu_hours": lambda draws: draws.gpu_hours,
    "cost_usd": lambda draws: draws.cost_usd,
    "energy_mwh": lambda draws: draws.energy_mwh,
}
CLUSTER_FIGURES = tuple(_DRAWN)
"""What plans are compared by of their machines; of each, less is better."""


@dataclass(frozen=True)
class OnMachines:
    """A plan, its step in its layout, and the estimate that was made from both."""

    config: RunConfig
    step: PlannedStep
    estimate: ClusterEstimate


def cluster_differences(first: OnMachines, other: OnMachines, place: int = 1) -> dict[str, Difference]:
    """What the other plan takes more than the first, by CLUSTER_FIGURES; without those that one of them lacks.

    Args:
        first: The plan that is compared with, estimated from its own seed.
        other: The plan that is compared.
        place: Numbers the plans that are compared with the first, from 1, so that each has luck of its own.
    """
    shared = None
    alike = first.config.hardware.machine == other.config.hardware.machine
    if alike and first.estimate.framework == other.estimate.framework:
        shared = first.step.fitted.error_correlation(first.step.steps, other.step.steps)
    draws = len(first.estimate.draws.step_time_s)
    chance = Chance.beside(first.config.seed, first.step.fitted, draws, place, shared)
    beside = estimate(other.config, step=other.step, chance=chance).draws
    found = {}
    for name, of_draws in _DRAWN.items():
        medians = getattr(first.estimate, name), getattr(other.estimate, name)
        drawn = of_draws(first.estimate.draws), of_draws(beside)
        if medians[0] is None or medians[1] is None or drawn[0] is None or drawn[1] is None:
            continue
        found[name] = Difference.around(medians[1].median - medians[0].median, drawn[1] - drawn[0])
    return found
