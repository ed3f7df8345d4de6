"""The choice of a plan's parallel layout: the layouts that it leaves open, the fastest of them, and its step."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ...core.errors import ConfigError, InfeasibleError
from ..config.hardware import Framework, HardwareConfig, LayoutConfig
from ..config.run_config import RunConfig
from ..config.software_release import release_number
from .layouts.candidates import LayoutSpace
from .layouts.layout import ParallelLayout, batch_sequences
from .layouts.layout_problems import complete_layout
from .layouts.search import RankedLayout, default_framework, fastest_layouts
from .memory.kernels import kernels_of
from .memory.memory import MemoryCap
from .memory.parameter_bytes import states_of
from .planned_shape import planned_shape
from .step_time.step_model import StepTimeModel
from .step_time.steps import FRAMEWORKS, Steps, layouts, machine, model

__all__ = ["choose_layout", "missing", "plan_space", "plan_steps", "search_layouts"]


def missing(config: RunConfig) -> tuple[str, ...]:
    """The settings that a plan lacks for an estimate of its cluster; empty if none is missing."""
    stated = {
        "model.architecture": planned_shape(config),
        "optim.batch_tokens": config.optim.batch_tokens,
        "hardware.accelerator": config.hardware.accelerator,
        "hardware.count": config.hardware.count,
    }
    return tuple(key for key, value in stated.items() if value is None)


def plan_space(config: RunConfig) -> LayoutSpace:
    """The layouts that a plan leaves open. Raises `ConfigError` naming what is missing."""
    lacking = missing(config)
    architecture, batch, count = planned_shape(config), config.optim.batch_tokens, config.hardware.count
    if architecture is None or batch is None or count is None or lacking:
        raise ConfigError(f"{', '.join(lacking)}: missing; expected in the plan, for times, memory and cost")
    stated = config.layout or LayoutConfig()
    if stated.cp is None and None not in (stated.tp, stated.pp, stated.dp):
        # whose product isn't the number of devices is mistaken rather than in want of another degree
        stated = stated.model_copy(update={"cp": 1})
    _require_facts(config.hardware, count, stated)
    sequences = batch_sequences(batch, architecture.context_length)
    states = states_of(config.optim.optimizer, config.optim.master_weights == "fp32")
    hardware = config.hardware
    return LayoutSpace(
        architecture,
        count,
        hardware.domain,
        sequences,
        stated,
        states,
        hardware.fit_chance,
        kernels_of(hardware.compile, hardware.dropout),
        0.0 if hardware.release is None else release_number(hardware.release),
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


def plan_steps(
    config: RunConfig, space: LayoutSpace, layout: ParallelLayout, framework: Framework | None = None
) -> Steps:
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
    plans = layouts(**columns, release=space.release)
    return Steps(model(space.architecture), part, plans, space.states, space.kernels)


def choose_layout(
    config: RunConfig, space: LayoutSpace, fitted: StepTimeModel, cap: MemoryCap | None = None
) -> ParallelLayout:
    """The fastest layout that fits, and keeps to a `cap`, of those that the plan leaves open.

    Where steps of this very plan were measured, it is the fastest of those: another one only seems faster, since
    less is known of it. Raises `InfeasibleError` with what would do.
    """
    return _fastest(config, space, fitted, 1, cap, measured_first=True)[0].layout


def _fastest(
    config: RunConfig,
    space: LayoutSpace,
    fitted: StepTimeModel,
    top: int,
    cap: MemoryCap | None = None,
    measured_first: bool = False,
) -> list[RankedLayout]:
    hardware = config.hardware
    try:
        return fastest_layouts(
            space,
            hardware.machine,
            hardware.working_precision,
            framework=hardware.framework,
            fitted=fitted,
            top=top,
            cap=cap,
            measured_first=measured_first,
        )
    except InfeasibleError:
        # if the stated layout is at fault, report that rather than the problems of every other layout
        faults = _stated_faults(space)
        if not faults:
            raise
    raise InfeasibleError("\n".join(faults))


def _stated_faults(space: LayoutSpace) -> list[str]:
    """Problems of the layout as stated; none if only the part of it that is left open fails."""
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
    """Rank the fastest parallel layouts of a plan that fit into memory.

    Args:
        config: The plan, with its architecture, batch size and hardware; what its `layout` states is kept.
        fitted: Predicts the time of a step; by default the shipped model.
        top: How many layouts to return at most.

    Returns:
        The layouts, fastest first, and the same as plain values for JSON: times in seconds with 80 % intervals, tokens
        per second and model FLOPs utilisation (MFU).

    Raises:
        ConfigError: The plan leaves out something that is needed.
        InfeasibleError: No layout is possible or fits.

    >>> import foretrain
    >>> shape = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"architecture": shape},
    ...     "data": {"tokens": "10B"},
    ...     "optim": {"batch_tokens": "512k"},
    ...     "hardware": {"accelerator": "H100-SXM-80", "count": 8},
    ... })
    >>> layouts, rows = foretrain.search_layouts(config, top=3)
    >>> len(layouts), layouts[0].verdict, layouts[0].step_time_s <= layouts[1].step_time_s
    (3, 'fits', True)
    >>> 0 < rows[0]["mfu"] < 1
    True
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
