"""The learning rates of a planned run, from its configuration or from a line of text."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import numpy as np

from ....core.errors import ConfigError
from ....core.model.schedules import ScheduleName
from ...config.optimisation import OptimConfig, step_of
from ...config.run_config import RunConfig
from .path import RatePath, named_path, piecewise_path, pointwise_path
from .planned_changes import TextLevels, planned_changes
from .staged import RateStage, batch_shares, rate_stages, staged_rates, with_batches

MAX_STEPS = 5_000_000
"""The longest run whose rates are tabled step by step, some 100 bytes each; published runs take up to 2 million."""
_TO_FINAL = ("cosine", "linear", "wsd", "multistep")


def path_of(config: RunConfig, text_levels: TextLevels | None = None) -> RatePath:
    """Learning rate of every step of the plan, and what else it changes on the way.

    ConfigError names what the plan leaves out, or contradicts.

    Args:
        config: The plan.
        text_levels: What a predictor says of the texts of its stages, if anything.
    """
    optim, plan = config.optim, config.batches
    if optim.schedule is None and not optim.staged_rates:
        raise ConfigError(
            "optim.schedule: is missing; a loss curve needs the learning rate of every step: expected cosine, linear, "
            "wsd, constant, inverse_sqrt, multistep, piecewise or points, or optim.stages with rates"
        )
    if plan is None:
        raise ConfigError("optim.batch_tokens: is missing; expected tokens per optimizer step, such as 4M")
    _refuse_long(plan.steps)
    shares = batch_shares(plan, plan.stretches[0].first if plan.even else _usual(optim))
    stages = stages_of(config)
    if stages:
        path = staged_rates(stages, plan.steps)
        path = path if shares is None else replace(path, batch=shares)
    elif shares is None:
        path = rates(optim, plan.steps)
    else:
        path = with_batches(rates(_over_tokens(optim, shares), math.ceil(plan.tokens / _usual(optim))), shares)
    changes = planned_changes(config, plan, stages, text_levels)
    return replace(path, changes=changes) if changes else path


def stages_of(config: RunConfig) -> list[RateStage]:
    """The stages of a plan that state its rates; none for a plan with a schedule, or without a batch."""
    optim, plan = config.optim, config.batches
    if plan is None or not optim.staged_rates or optim.lr is None:
        return []
    return list(rate_stages(optim.stages, optim.lr, plan, _warmup(optim)))


def _over_tokens(optim: OptimConfig, shares: np.ndarray) -> OptimConfig:
    """The same with a warm-up that is stated in steps of batches `shares: (steps,)` stated in tokens."""
    if not optim.warmup_steps:
        return optim
    tokens = float(shares[: optim.warmup_steps].sum()) * _usual(optim)
    return optim.model_copy(update={"warmup_steps": None, "warmup_tokens": tokens})


def _usual(optim: OptimConfig) -> float:
    assert optim.batch_tokens is not None  # a run whose batches differ states the usual one
    return optim.batch_tokens


def _refuse_long(steps: int, where: str = "optim.") -> None:
    if steps > MAX_STEPS:
        raise ConfigError(
            f"{where}batch_tokens: the run takes {steps} steps; expected at most {MAX_STEPS} for a loss curve"
        )


def rates(optim: OptimConfig, steps: int, where: str = "optim.") -> RatePath:
    """Learning rates of `steps` steps; `where` stands before the names of keys in a ConfigError."""
    _refuse_long(steps, where)
    warmup = _warmup(optim)
    if warmup > steps:
        raise ConfigError(f"{where}warmup_steps: the warm-up takes {warmup} of {steps} steps; expected at most all")
    if optim.lr_steps is not None and optim.lr is not None:
        shares = {at: rate / optim.lr for at, rate in _moments(optim.lr_steps, steps, f"{where}lr_steps").items()}
        return piecewise_path(steps, warmup, shares)
    if optim.lr_points is not None:
        points = _moments(optim.lr_points, steps, f"{where}lr_points")
        return pointwise_path(steps, warmup or min(max(points, key=lambda at: points[at]), steps), points)
    if optim.schedule == "inverse_sqrt" and not warmup:
        raise ConfigError(f"{where}warmup_steps: is missing; inverse_sqrt falls from the end of the warm-up on")
    final, share, form = _final(optim, where), optim.decay_share or 0.2, optim.decay_form or "linear"
    return named_path(cast(ScheduleName, optim.schedule), steps, warmup, final, share, form)


def _warmup(optim: OptimConfig) -> int:
    """Steps of warm-up; none where the plan states none."""
    if optim.warmup_tokens is not None and optim.batch_tokens is not None:
        return round(optim.warmup_tokens / optim.batch_tokens)
    return optim.warmup_steps or 0


def _final(optim: OptimConfig, where: str) -> float:
    """The last rate as a share of the peak."""
    if optim.schedule not in _TO_FINAL:
        return 1.0
    if optim.lr_final is None:
        raise ConfigError(
            f"{where}lr_final: is missing; expected the learning rate of the last step, such as 3e-5 or 0"
        )
    if optim.decay_form == "exponential" and optim.lr_final == 0:
        raise ConfigError(f"{where}lr_final: got 0, which an exponential decay never reaches; expected a rate above 0")
    if optim.lr_final == 0:
        return 0.0
    if optim.lr is None:
        raise ConfigError(f"{where}lr: is missing; expected the peak learning rate beside lr_final, such as 3e-4")
    return optim.lr_final / optim.lr


def _moments(rates: dict[str, float], steps: int, where: str) -> dict[int, float]:
    """Rates by step. ConfigError where two moments are one step, or one lies beyond the end."""
    found: dict[int, float] = {}
    for moment, rate in rates.items():
        step = step_of(moment, steps)
        if step > steps:
            raise ConfigError(f"{where}: {moment} lies beyond the run's {steps} steps; expected a step of the run")
        if step in found:
            raise ConfigError(f"{where}: {moment} is step {step}, which has a rate already; expected each step once")
        found[step] = rate
    return found
