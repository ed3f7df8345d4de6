"""Calibration of the step-time model on measured steps of the user's own cluster, and the change that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ....core.errors import InfeasibleError, InputError
from ...config.run_config import RunConfig
from ...config.software_release import release_name
from ..layout_choice import choose_layout, plan_space, plan_steps
from ..layouts.candidates import LayoutSpace
from ..layouts.layout import ParallelLayout
from ..layouts.layout_problems import complete_layout
from .measurements.table import Measurements
from .step_model import StepTimeModel
from .steps import Steps

__all__ = ["calibrate_on_plan", "calibrate_on_rows"]

_LEVEL = 0.8


def calibrate_on_plan(
    config: RunConfig, step_time_s: Sequence[float], fitted: StepTimeModel | None = None
) -> tuple[StepTimeModel, dict[str, Any]]:
    """Calibrate the model of step times on measured steps of one plan.

    Where the plan leaves its layout open, the layout that would be chosen is taken as the measured one; state it to be
    sure.

    Args:
        config: The plan that was measured, with its architecture, batch size and hardware.
        step_time_s: Measured times of a step, seconds; several values are repetitions.
        fitted: The model to calibrate; by default the shipped one.

    Returns:
        The calibrated model, and plain facts for JSON: each step's time before and after, with half-widths of the 80 %
        intervals.

    Raises:
        ConfigError: The plan leaves out something that is needed.
        InfeasibleError: The plan states no layout, and none is possible or fits.
        InputError: There are no times, or some are not plausible seconds.

    >>> import foretrain
    >>> shape = {"layers": 8, "width": 768, "heads": 12, "ffn_width": 2048, "vocab_size": 32000, "context_length": 2048}
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"architecture": shape},
    ...     "data": {"tokens": "10B"},
    ...     "optim": {"batch_tokens": "512k"},
    ...     "hardware": {"accelerator": "H100-SXM-80", "count": 8},
    ... })
    >>> model, facts = foretrain.calibrate_step_times(config, [0.30, 0.31])
    >>> step = facts["steps"][0]
    >>> model.calibrated_on, abs(step["after_s"] - 0.30) < abs(step["before_s"] - 0.30)
    (2, True)
    """
    fitted = fitted or StepTimeModel.shipped()
    space = plan_space(config)
    layout = _measured_layout(config, space, fitted)
    if not len(step_time_s):
        raise InputError("step_time_s: got none; expected the seconds of one measured step at least")
    one, name = plan_steps(config, space, layout), config.name or "run"
    names = [f"{name} {i + 1}" for i in range(len(step_time_s))] if len(step_time_s) > 1 else [name]
    steps = Steps.join([one] * len(step_time_s))
    model, facts = _calibrated(steps, np.asarray(step_time_s, dtype=float), names, fitted)
    return model, facts | {"layout": asdict(layout)}


def _measured_layout(config: RunConfig, space: LayoutSpace, fitted: StepTimeModel) -> ParallelLayout:
    try:
        return choose_layout(config, space, fitted)
    except InfeasibleError:
        if config.layout is None:
            raise
    # a measured layout fits in memory, whatever the estimate
    return complete_layout(space.architecture, space.count, space.global_batch, space.stated)


def calibrate_on_rows(data: Measurements, fitted: StepTimeModel) -> tuple[StepTimeModel, dict[str, Any]]:
    """Calibrate on the rows of a table that have a step time. Raises `InputError` if none has."""
    timed = data.take(np.flatnonzero(np.isfinite(data.step_time_s)))
    if not len(timed):
        raise InputError("step_time_s: no row that can be expressed has one; expected a measured step at least")
    names = [f"row {row + 1}" for row in timed.rows]
    return _calibrated(timed.steps, timed.step_time_s, names, fitted)


def _calibrated(
    steps: Steps, step_time_s: np.ndarray, names: Sequence[str], fitted: StepTimeModel
) -> tuple[StepTimeModel, dict[str, Any]]:
    """The calibrated model, and for every step its time before and after with half-widths of the 80 % interval."""
    made = fitted.calibrated(steps, step_time_s)
    columns = {
        "measured_s": step_time_s,
        "before_s": fitted.predict(steps).total_s,
        "after_s": made.predict(steps).total_s,
        "half_width_before": np.expm1(fitted.spread.quantiles[_LEVEL] * fitted.log_sd(steps)),
        "half_width_after": np.expm1(made.spread.quantiles[_LEVEL] * made.log_sd(steps)),
    }
    rows = [{"name": name, **{k: float(v[i]) for k, v in columns.items()}} for i, name in enumerate(names)]
    facts: dict[str, Any] = {"calibrated_on": made.calibrated_on, "steps": rows}
    notes = _unmeasured_releases(steps, fitted)
    return made, facts | {"notes": notes} if notes else facts


def _unmeasured_releases(steps: Steps, fitted: StepTimeModel) -> list[str]:
    """What is said of releases that steps state and nobody measured."""
    stated = np.broadcast_arrays(np.atleast_1d(steps.layouts.framework), np.atleast_1d(steps.layouts.release))
    pairs = sorted(
        {(int(framework), float(release)) for framework, release in zip(*stated, strict=True) if release > 0}
    )
    notes = (fitted.releases.note(framework, release, release_name(release)) for framework, release in pairs)
    return [note for note in notes if note is not None]
