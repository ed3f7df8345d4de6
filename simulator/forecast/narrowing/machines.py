"""What would narrow times and costs: one measured step, a known rate of failures, a price that is agreed.

Each is asked of the model of the cluster, with the same draws: a step that is measured as it is predicted, or a value
that is stated as it is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....core.units import format_duration
from ....datasets.facts.accelerators import catalogue
from ...cluster.cluster_estimate import ClusterEstimate
from ...cluster.estimate import PlannedStep, estimate, plan_step
from ...cluster.step_time.step_model import StepTimeModel
from ...config.run_config import RunConfig
from ..forecast import Forecast
from .measures import LEVEL, Cost, Measure, Narrowing

__all__ = ["on_machines"]

_STEPS = 20  # that are timed, once the run is warm
_SLOWER = 0.5  # of the usual network, to say what it matters
_NOTABLE = 0.005  # of a step's time


def on_machines(forecast: Forecast, step_times: StepTimeModel | None = None) -> list[Measure]:
    """What would narrow the wall clock and the cost of a forecast; nothing where its machines aren't stated.

    Args:
        forecast: The forecast.
        step_times: What predicted its step; by default the shipped model.
    """
    if forecast.cluster is None:
        return []
    config = forecast.config.model_copy(update={"layout": forecast.cluster.layout.stated()})
    step = plan_step(config, step_times)
    return list(_measures(config, step, forecast.cluster))


def _measures(config: RunConfig, step: PlannedStep, now: ClusterEstimate) -> Iterator[Measure]:
    if not step.fitted.measured(step.steps).any():
        yield _measured_step(config, step, now)
    reliability, prices = config.reliability, config.prices
    if reliability.failure_rate_spread > 1.0:
        rate = reliability.failures_per_device_hour
        known = reliability.model_copy(
            update={"stated_failures_per_device_hour": rate, "stated_failure_rate_spread": 1.0}
        )
        yield Measure(
            name="failure_rate",
            sentence="state how often these machines fail (reliability.failures_per_device_hour, from a log of theirs)",
            cost=Cost("a log that the cluster keeps anyway"),
            narrows=_narrowings(now, estimate(config.model_copy(update={"reliability": known}), step=step)),
            how=f"the estimate with {rate:.3g} per accelerator and hour known instead of assumed",
        )
    if prices.spread > 1.0 and now.cost_usd is not None:
        agreed = prices.model_copy(update={"spread": 1.0})
        yield Measure(
            name="fixed_price",
            sentence="agree on the price of an accelerator hour, and leave prices.spread out",
            cost=Cost("an agreement"),
            narrows=_narrowings(now, estimate(config.model_copy(update={"prices": agreed}), step=step)),
            how="the estimate with the price as it is stated",
        )

    network = _network(config, step)
    if network is not None:
        yield network


def _network(config: RunConfig, step: PlannedStep) -> Measure | None:
    """Stating the network between nodes, where it is taken as usual and matters; its interval doesn't hold that."""
    hardware = config.hardware
    if hardware.inter_node_gbit_per_s is not None or step.layout.devices <= step.space.per_node:
        return None
    usual = hardware.machine.inter_node_gbit_per_s
    if usual is None or hardware.accelerator not in catalogue().values():
        return None
    slower = hardware.model_copy(update={"inter_node_gbit_per_s": usual * _SLOWER})
    at_half = plan_step(config.model_copy(update={"hardware": slower}), step.fitted)
    longer = float(at_half.time.total_s[0] / step.time.total_s[0]) - 1.0
    if longer < _NOTABLE:
        return None
    return Measure(
        name="state_the_network",
        sentence=f"state the network between nodes (hardware.inter_node_gbps): {usual:g} Gbit/s per accelerator are "
        f"taken, and at {_SLOWER:.0%} of that a step takes {longer:.1%} longer",
        cost=Cost("saying it"),
        narrows=(),
        how="the same layout with a slower network",
        details={"inter_node_gbit_per_s": usual, "slower": _SLOWER, "step_time_share_longer": longer},
    )


def _measured_step(config: RunConfig, step: PlannedStep, now: ClusterEstimate) -> Measure:
    """A step that is measured in the plan's own layout, and takes what is predicted."""
    calibrated = step.fitted.calibrated(step.steps, step.time.total_s)
    after = estimate(config, step=plan_step(config, calibrated))
    step_s = now.step_time_s.median
    seconds = config.reliability.restart_s + _STEPS * step_s
    hours = now.devices * seconds / 3600.0
    usd = None if now.usd_per_device_hour is None else hours * now.usd_per_device_hour
    start = format_duration(config.reliability.restart_s)
    return Measure(
        name="measured_step",
        sentence=f"measure a step of this plan on these machines and calibrate on it ({format_duration(seconds)})",
        cost=Cost(
            f"a start of {start} and {_STEPS} steps of {step_s:.3g} s on "
            f"{now.devices:,} accelerator{'' if now.devices == 1 else 's'}",
            usd,
            hours,
            seconds / 60.0,
            None,
        ),
        narrows=_narrowings(now, after),
        how="the estimate calibrated on a step that takes what is predicted; overhead outside steps stays as it is",
    )


def _narrowings(now: ClusterEstimate, after: ClusterEstimate) -> tuple[Narrowing, ...]:
    """By outcome, of those that both have."""
    found = []
    for outcome in ("wall_clock_days", "cost_usd"):
        both = getattr(now, outcome), getattr(after, outcome)
        if both[0] is not None and both[1] is not None:
            before, later = (high - low for low, high in (one.intervals[LEVEL] for one in both))
            found.append(Narrowing(outcome, before, later))
    return tuple(found)
