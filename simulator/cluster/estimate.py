"""A planned run on a planned cluster: layout, step time, memory, wall clock, money and energy, each with an interval.

`estimate(config)` chooses the fastest layout that fits where the plan states none, draws step time, failure rate and
interruptions together, and turns the draws into quantities.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ...datasets.accelerators import catalogue
from ...errors import ConfigError, InfeasibleError
from ..calibration import LEVELS
from ..config import RunConfig
from ..config_cluster import Framework, HardwareConfig, LayoutConfig
from ..quantity import Quantity
from .candidates import LayoutSpace
from .energy import Energy, energy_used
from .goodput import expected_run_time, require_progress
from .goodput_simulation import simulate_run_time
from .layout import Layout, batch_sequences, doubts
from .layout_problems import complete_layout
from .memory import GIB, Memory, memory
from .money import Cost, cost_of, device_hours, stored_gib
from .run_time import RunTime, finishing_day
from .search import RankedLayout, default_framework, fastest_layouts
from .step_model import StepTimeModel
from .step_time import StepTime
from .steps import FRAMEWORKS, GENERATIONS, Steps, layouts, machine, model

__all__ = [
    "CLUSTER_KEYS",
    "DRAWS",
    "ClusterEstimate",
    "Draws",
    "estimate",
    "missing",
    "plan_space",
    "plan_steps",
    "search_layouts",
]

DRAWS = 10_000

_NORMAL = dict(zip(LEVELS, (0.6745, 1.2816, 1.6449, 1.9600), strict=True))
_COMPUTING = ("matmul", "attention", "elementwise", "recompute", "output_head", "gradients", "optimizer")
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Draws:
    """Equally likely outcomes of one plan, drawn together: arrays (draws,)."""

    step_time_s: np.ndarray
    wall_clock_s: np.ndarray
    cost_usd: np.ndarray | None
    """None where no price is known."""


@dataclass(frozen=True)
class ClusterEstimate:
    """What a planned run takes on its machines: medians with intervals; None where the plan says too little."""

    accelerator: str
    devices: int
    precision: str
    framework: Framework
    layout: Layout
    step_time_s: Quantity
    step_parts_s: Mapping[str, float]
    tokens_per_s: Quantity
    mfu: Quantity
    """Model FLOPs over the datasheet's dense peak at the plan's precision."""
    peak_memory_gib: Quantity
    """Of the fullest device, as the driver shows it."""
    memory_parts_gib: Mapping[str, float]
    usable_memory_gib: float
    fits: str
    """fits, tight or does not fit."""
    overhead: float
    """Share of time beyond steps and interruptions, counted in the wall clock and all that follows from it."""
    wall_clock_days: Quantity
    wall_clock_shares: Mapping[str, float]
    goodput: Quantity
    interruptions: Quantity
    gpu_hours: Quantity
    cost_usd: Quantity | None
    cost_parts_usd: Mapping[str, float] | None
    energy_mwh: Quantity | None
    co2e_t: Quantity | None
    finish: Mapping[str, datetime.date] | None
    """Finishing dates by name: median, and low and high of the 90 % interval."""
    p_deadline: float | None
    p_budget: float | None
    calibrated_on: int
    draws: Draws = field(compare=False, repr=False)
    notes: tuple[str, ...] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        quantities = (
            "step_time_s", "tokens_per_s", "mfu", "peak_memory_gib", "wall_clock_days", "goodput", "interruptions",
            "gpu_hours", "cost_usd", "energy_mwh", "co2e_t",
        )  # fmt: skip
        numbers = {name: getattr(self, name) for name in quantities}
        plain = (
            "accelerator",
            "devices",
            "precision",
            "framework",
            "fits",
            "usable_memory_gib",
            "overhead",
            "p_deadline",
            "p_budget",
        )
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: None if value is None else value.to_dict() for name, value in numbers.items()},
            "layout": asdict(self.layout),
            "step_parts_s": dict(self.step_parts_s),
            "memory_parts_gib": dict(self.memory_parts_gib),
            "wall_clock_shares": dict(self.wall_clock_shares),
            "cost_parts_usd": None if self.cost_parts_usd is None else dict(self.cost_parts_usd),
            "finish": None if self.finish is None else {key: day.isoformat() for key, day in self.finish.items()},
            "calibrated_on": self.calibrated_on,
            "cluster_notes": list(self.notes),
        }


CLUSTER_KEYS: tuple[str, ...] = (
    "accelerator", "devices", "precision", "framework", "fits", "usable_memory_gib", "overhead", "p_deadline",
    "p_budget",
    "step_time_s", "tokens_per_s", "mfu", "peak_memory_gib", "wall_clock_days", "goodput", "interruptions", "gpu_hours",
    "cost_usd", "energy_mwh", "co2e_t", "layout", "step_parts_s", "memory_parts_gib", "wall_clock_shares",
    "cost_parts_usd", "finish", "calibrated_on", "cluster_notes",
)  # fmt: skip
"""Keys of `ClusterEstimate.to_dict`."""


def missing(config: RunConfig) -> tuple[str, ...]:
    """What a plan must state before anything can be said of its machines; empty where nothing is missing."""
    stated = {
        "model.architecture": config.model.architecture,
        "optim.batch_tokens": config.optim.batch_tokens,
        "hardware.accelerator": config.hardware.accelerator,
        "hardware.count": config.hardware.count,
    }
    return tuple(key for key, value in stated.items() if value is None)


def plan_space(config: RunConfig) -> LayoutSpace:
    """The layouts that a plan leaves open. Raises `ConfigError` naming what is missing."""
    lacking = missing(config)
    architecture, batch, count = config.model.architecture, config.optim.batch_tokens, config.hardware.count
    if architecture is None or batch is None or count is None or lacking:
        raise ConfigError(f"{', '.join(lacking)}: missing; expected in the plan, for times, memory and cost")
    stated = config.layout or LayoutConfig()
    if stated.cp is None and None not in (stated.tp, stated.pp, stated.dp):
        # whose product isn't the number of devices is mistaken rather than in want of another degree
        stated = stated.model_copy(update={"cp": 1})
    _require_facts(config.hardware, count, stated)
    return LayoutSpace(
        architecture, count, config.hardware.domain, batch_sequences(batch, architecture.context_length), stated
    )


def _require_facts(hardware: HardwareConfig, count: int, stated: LayoutConfig) -> None:
    """Raise `ConfigError` that names everything that the accelerator doesn't state and the plan needs."""
    domain, part = hardware.domain, hardware.machine
    needed = {
        "memory_bytes": True,
        "hbm_bytes_per_s": True,
        "intra_node_bytes_per_s": min(count, domain) > 1,
        "inter_node_bytes_per_s": count > domain,
        "pcie_bytes_per_s": bool(stated.offload),
    }
    lacking = []
    for name in (name for name, is_needed in needed.items() if is_needed):
        try:
            getattr(part, name)
        except ConfigError as error:
            lacking.append(str(error))
    if lacking:
        raise ConfigError("\n".join(lacking))


def plan_steps(config: RunConfig, space: LayoutSpace, layout: Layout, framework: Framework | None = None) -> Steps:
    """The optimizer step of a plan in one layout. `framework` None stands for the plan's own, or the usual one."""
    columns = {key: np.array([float(value)]) for key, value in asdict(layout).items() if key != "recompute"}
    columns["recompute_selective"] = np.array([float(layout.recompute == "selective")])
    columns["recompute_full"] = np.array([float(layout.recompute == "full")])
    hardware = config.hardware
    named = framework or hardware.framework
    index = default_framework(hardware.machine, columns["zero_stage"])
    columns["framework"] = index if named is None else np.array([float(FRAMEWORKS.index(named))])
    part = machine(
        hardware.machine,
        hardware.working_precision,
        per_node=hardware.domain,
        devices=layout.devices,
        offload=layout.offload_optimizer or layout.offload_weights or layout.offload_activations,
    )
    return Steps(model(space.architecture), part, layouts(**columns))


def choose_layout(config: RunConfig, space: LayoutSpace, fitted: StepTimeModel) -> Layout:
    """The fastest layout that fits, of those that the plan leaves open. Raises `InfeasibleError` with what would do."""
    return _fastest(config, space, fitted, top=1)[0].layout


def _fastest(config: RunConfig, space: LayoutSpace, fitted: StepTimeModel, top: int) -> list[RankedLayout]:
    hardware = config.hardware
    try:
        return fastest_layouts(
            space, hardware.machine, hardware.working_precision, framework=hardware.framework, fitted=fitted, top=top
        )
    except InfeasibleError:
        # where what is stated is in the way, that is said rather than what is wrong with every other layout
        faults = _stated_faults(space)
        if not faults:
            raise
    raise InfeasibleError("\n".join(faults))


def _stated_faults(space: LayoutSpace) -> list[str]:
    """What is impossible about the layout as stated; nothing where only the rest of it, left open, fails."""
    try:
        complete_layout(space.architecture, space.count, space.global_batch, space.stated)
    except InfeasibleError as error:
        faults = str(error).splitlines()
    else:
        return []
    # a batch that can't be split over the plainest layout's replicas isn't the plan's fault
    return [] if space.stated == LayoutConfig() else [f for f in faults if not f.startswith("optim.batch_tokens")]


def search_layouts(
    config: RunConfig, fitted: StepTimeModel | None = None, top: int = 10
) -> tuple[list[RankedLayout], list[dict[str, Any]]]:
    """The fastest layouts of a plan, and the same as plain values for JSON, with the 80 % interval of each time.

    Raises `ConfigError` for what is missing, `InfeasibleError` where nothing is possible or fits.
    """
    fitted = fitted or StepTimeModel.shipped()
    space = plan_space(config)
    found = _fastest(config, space, fitted, top)
    flops = space.architecture.training_flops_per_token()
    rows = []
    for one in found:
        steps = plan_steps(config, space, one.layout, one.framework)
        low, high = fitted.interval_s(steps, 0.8)
        rate = float(steps.tokens[0]) / one.step_time_s
        peak = float(np.ravel(steps.machines.peak_flops)[0]) * one.layout.devices
        row = {**asdict(one), "tokens_per_s": rate, "mfu": flops * rate / peak}
        rows.append(row | {"step_time_interval_s": [float(low[0]), float(high[0])]})
    return found, rows


def estimate(config: RunConfig, fitted: StepTimeModel | None = None, draws: int = DRAWS) -> ClusterEstimate:
    """Estimate a plan's times, memory, money and energy.

    Raises `ConfigError` for what is missing, `InfeasibleError` where no layout is possible or fits, or where failures
    leave no time to train.
    """
    fitted = fitted or StepTimeModel.shipped()
    space = plan_space(config)
    layout = choose_layout(config, space, fitted)
    steps = plan_steps(config, space, layout)
    return _Estimate(config, fitted, space, layout, steps, draws).result()


class _Estimate:
    """One estimate in the making: draws shared by its parts."""

    def __init__(
        self, config: RunConfig, fitted: StepTimeModel, space: LayoutSpace, layout: Layout, steps: Steps, draws: int
    ) -> None:
        self.config, self.fitted, self.space, self.layout, self.steps = config, fitted, space, layout, steps
        self.rng = np.random.default_rng(config.seed)
        self.overhead = config.reliability.overhead(fitted.calibrated_on > 0)
        self.time: StepTime = fitted.predict(steps)
        self.log_sd = float(fitted.log_sd(steps)[0])
        self.step_s = float(self.time.total_s[0]) * np.exp(self.log_sd * fitted.spread.draw(self.rng, draws))
        self.step_tokens = float(steps.tokens[0])
        self.run_time = self._run_time()

    def _run_time(self) -> RunTime:
        config, devices = self.config, self.layout.devices
        steps = (1.0 + self.overhead) * config.data.tokens / self.step_tokens
        typical = float(self.time.total_s[0]) * steps
        require_progress(expected_run_time(typical, devices, config.reliability), typical, devices, config.reliability)
        return simulate_run_time(self.step_s * steps, devices, config.reliability, self.rng)

    def result(self) -> ClusterEstimate:
        config, hardware, run_time = self.config, self.config.hardware, self.run_time
        energy, needed = self._energy(), memory(self.steps)
        cost = self._cost(energy)
        finish = None if config.start is None else self._finish(config.start)
        budget = config.targets.budget_usd
        flops = self.space.architecture.training_flops_per_token() * self.step_tokens
        peak = self.layout.devices * float(np.ravel(self.steps.machines.peak_flops)[0])
        return ClusterEstimate(
            accelerator=hardware.machine.name,
            devices=self.layout.devices,
            precision=hardware.working_precision,
            framework=FRAMEWORKS[int(self.steps.layouts.framework[0])],
            layout=self.layout,
            step_time_s=Quantity.of_draws(self.step_s),
            step_parts_s={name: float(np.ravel(part)[0]) for name, part in self.time.parts.items()},
            tokens_per_s=Quantity.of_draws(self.step_tokens / self.step_s),
            mfu=Quantity.of_draws(flops / (self.step_s * peak)),
            peak_memory_gib=_memory_quantity(needed),
            memory_parts_gib=_memory_parts(needed),
            usable_memory_gib=float(needed.usable_gib[0]),
            fits=str(needed.verdict[0]),
            overhead=self.overhead,
            wall_clock_days=Quantity.of_draws(run_time.wall_clock_s / _DAY_S),
            wall_clock_shares=run_time.shares(),
            goodput=Quantity.of_draws(run_time.goodput),
            interruptions=Quantity.of_draws(run_time.interruptions),
            gpu_hours=Quantity.of_draws(device_hours(run_time, self.layout.devices)),
            cost_usd=None if cost is None else Quantity.of_draws(cost.total_usd),
            cost_parts_usd=None if cost is None else {k: float(np.mean(v)) for k, v in vars(cost).items()},
            energy_mwh=None if energy is None else Quantity.of_draws(energy.total_mwh),
            co2e_t=None if energy is None or energy.co2e_t is None else Quantity.of_draws(energy.co2e_t),
            finish=finish,
            p_deadline=None if config.deadline_s is None else run_time.chance_by(config.deadline_s),
            p_budget=None if cost is None or budget is None else float(np.mean(cost.total_usd <= budget)),
            calibrated_on=self.fitted.calibrated_on,
            draws=Draws(self.step_s, run_time.wall_clock_s, None if cost is None else cost.total_usd),
            notes=tuple(self._notes(needed, cost, energy)),
        )

    def _energy(self) -> Energy | None:
        power = self.config.hardware.machine.tdp_w
        if power is None:
            return None
        busy = sum(float(np.ravel(self.time.parts[name])[0]) for name in _COMPUTING) / float(self.time.total_s[0])
        return energy_used(self.run_time, self.layout.devices, power, self.config.energy, min(busy, 1.0))

    def _cost(self, energy: Energy | None) -> Cost | None:
        config = self.config
        unique = config.data.distinct_tokens() or config.data.tokens
        stored = stored_gib(config.prices, config.model.params_total, unique)
        per_kwh = config.energy.usd_per_kwh
        cost = cost_of(self.run_time, self.layout.devices, config.prices, config.usd_per_hour, stored, energy, per_kwh)
        if cost is None or config.prices.spread == 1.0:
            return cost
        dearer = np.exp(np.log(config.prices.spread) * self.rng.standard_normal(len(self.step_s)))
        return replace(cost, compute_usd=cost.compute_usd * dearer, idle_usd=cost.idle_usd * dearer)

    def _finish(self, start: datetime.date) -> dict[str, datetime.date]:
        low, median, high = np.quantile(self.run_time.wall_clock_s, [0.05, 0.5, 0.95])
        days = {"median": median, "low_90": low, "high_90": high}
        return {name: finishing_day(start, float(seconds)) for name, seconds in days.items()}

    def _notes(self, needed: Memory, cost: Cost | None, energy: Energy | None) -> list[str]:
        """What a careful reader should know before believing the numbers."""
        hardware, machines = self.config.hardware, self.steps.machines
        notes = doubts(self.space.architecture, self.layout, self.space.per_node)
        if self.overhead and self.config.reliability.stated_overhead is None:
            notes.append(
                f"{self.overhead:.0%} added to the time of all steps, as published runs took (reliability.overhead); "
                "a measured step of your own cluster replaces it (simulate cluster calibrate)"
            )
        if needed.verdict[0] != "fits":
            notes.append(
                f"memory is {needed.verdict[0]}: {float(needed.device_gib[0]):.1f} GiB needed, "
                f"{float(needed.usable_gib[0]):.1f} usable with the reserve"
            )
        if float(machines.generation) >= len(GENERATIONS):
            notes.append(
                f"no step time measured on {hardware.machine.name} or its kin: efficiencies are the mean of others, "
                "and the interval is wider for it; simulate cluster calibrate narrows it"
            )
        beyond = self.layout.devices > self.space.per_node
        if beyond and hardware.inter_node_gbit_per_s is None and hardware.accelerator in catalogue().values():
            usual = hardware.machine.inter_node_gbit_per_s
            notes.append(f"hardware.inter_node_gbps isn't stated: {usual:g} Gbit/s per accelerator taken, as is usual")
        if cost is None:
            notes.append("no cost: no price is stated (hardware.price_usd_per_hour, or prices)")
        if energy is None:
            notes.append(f"no energy: {hardware.machine.name} states no tdp_w")
        return notes


def _memory_quantity(needed: Memory) -> Quantity:
    ends = {level: needed.interval_gib(normal) for level, normal in _NORMAL.items()}
    intervals = {level: (float(low[0]), float(high[0])) for level, (low, high) in ends.items()}
    return Quantity(float(needed.device_gib[0]), intervals)


def _memory_parts(needed: Memory) -> dict[str, float]:
    parts = {name: float(part[0]) / GIB for name, part in needed.parts.items()}
    return parts | {"reserve": float(needed.reserve_bytes[0]) / GIB, "context": float(needed.context_bytes[0]) / GIB}
