"""Logs whose steps count the calls of a logger: losses that no run of the plan has after so few optimizer steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...datasets.run_logs.columns import RawLog
from ...datasets.run_logs.records import Notice
from ..config.run_config import RunConfig
from ..curve.law.prior import CurvePrior
from ..curve.prefix import condition
from ..curve.rates.path import RatePath

__all__ = ["PriorOf", "impossible_steps", "optimizer_steps", "planned_steps"]

PriorOf = Callable[[RatePath, float], CurvePrior]
"""Returns the prior of a run's loss curve, given its learning rates and its current loss in nats."""

_LATEST = 5  # losses whose median is where the run stands
_LEAST_MULTIPLE = 3.0  # of the plan's steps that must be left, for a multiple to fit
_FASTER = 2.0  # a run that is only twice as fast as its plan may be a good one
_FALL = 1.15  # first loss over the last: a model that was trained before starts low and stays there
_LEARNED = 0.75  # of the first loss: below, a point tells how far the run is
_TELLING = 2  # such points
_LEAST_SD = 0.05  # of the log of a stated target, which is no forecast
_SLACK = 1.02  # of the plan's end
_GRID = 400
_SAME_TOKENS = 0.05  # relative: tokens that a log and its plan may disagree on
_ROUND = (1.0, 2.5, 5.0, 10.0)


def impossible_steps(
    where: str,
    key: str,
    step: np.ndarray,
    loss: np.ndarray,
    path: RatePath,
    planned: tuple[float, float],
    curves: PriorOf,
) -> Notice | None:
    """A serious notice if the last losses lie below all that the plan's law allows at their steps, but not at others.

    Args:
        where: The log, for messages.
        key: The key of its steps.
        step: Rising steps as they are counted, `(n,)`.
        loss: Losses there, nats, `(n,)`.
        path: The plan's learning rates.
        planned: The planned final loss in nats, and the standard deviation of its logarithm.
        curves: The prior of the run's curve.
    """
    now, last = float(step[-1]), float(np.median(loss[-_LATEST:]))
    most = _SLACK * path.steps / max(now, 1.0)
    if most < _LEAST_MULTIPLE or loss[:_TELLING].max() < _FALL * last:
        return None
    belief = condition(path, curves(path, planned[0]), anchor=(planned[0], max(planned[1], _LEAST_SD)))
    ends = np.array([now, min(_FASTER * now, path.steps), min(most * now, path.steps)])
    low = belief.band(np.maximum(ends, 1.0)).interval(0.9)[0]
    if last >= min(low[0], low[1]) or last < low[2]:
        return None
    multiple = _round(min(_multiple(step, loss, belief.band(np.geomspace(1.0, path.steps, _GRID))), most))
    text = (
        f"{where}: {key} can't be optimizer steps: {last:.3g} nats at step {now:.0f} of {path.steps}, where the plan "
        f"allows {low[0]:.3g} at the very least; about {multiple:g} steps to a record would fit. If it counts records, "
        f"say how many steps each stands for, such as --step-unit {multiple:g}steps"
    )
    return Notice("step_axis", text, now, serious=True)


def _multiple(step: np.ndarray, loss: np.ndarray, band) -> float:
    """Steps to a record: the first losses of a model that has begun to learn, held against the planned curve."""
    learned = np.flatnonzero((loss < _LEARNED * loss[0]) & (step > 0))
    some = (learned if len(learned) else np.arange(len(loss))[-1:])[:_TELLING]
    falling = np.minimum.accumulate(band.loss)
    at = np.interp(-np.log(loss[some]), -np.log(falling), np.log(band.step))
    return math.exp(float(np.mean(at - np.log(np.maximum(step[some], 1.0)))))


def _round(value: float) -> float:
    """The nearest of 1, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(value, 1.0)))
    return power * min(_ROUND, key=lambda first: abs(math.log(max(value, 1.0) / power / first)))


def planned_steps(log: RawLog, index: np.ndarray, config: RunConfig, path: RatePath) -> bool:
    """Whether the tokens that are logged beside the steps are those of the plan's batches, where these change.

    Then the steps are optimizer steps, which tokens per step alone wouldn't say.

    Args:
        log: The log.
        index: The records that are used, `(n,)`.
        config: The plan.
        path: Its learning rates and batches.
    """
    step, tokens = log.step[index], log.tokens[index]
    seen = np.isfinite(tokens) & (tokens > 0) & (step > 0)
    if path.batch is None or config.optim.batch_tokens is None or not seen.any():
        return False
    planned = path.batches(step[seen]) * config.optim.batch_tokens
    return float(np.median(np.abs(tokens[seen] / planned - 1))) < _SAME_TOKENS


def optimizer_steps(counted: np.ndarray, name: str, per_step: float, path: RatePath) -> np.ndarray:
    """Optimizer steps `(n,)` of what a log counts: where the plan's batch changes, tokens go by its batches.

    Args:
        counted: What it counts, `(n,)`.
        name: What that is, as `scales.StepUnit` names it.
        per_step: How many of it a step of the usual batch takes.
        path: The plan's learning rates and batches.
    """
    steps = counted / per_step
    return path.step_after(steps) if name in ("tokens", "samples") else steps
