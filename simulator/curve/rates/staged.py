"""Learning rates and batches of a run in stages: cooldowns, restarts, batches that grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ...config.stages.batches import BatchPlan
from ...config.stages.spans import spans
from ...config.stages.stage import OptimStage, StageForm
from .path import RatePath

__all__ = ["RateStage", "batch_shares", "rate_stages", "staged_rates", "with_batches"]

_MEMBER = 1e-9  # of a step, by which a stage may begin after a step that is its first


class RateStage(NamedTuple):
    """A stage of the run with its rates: shares of the peak, after the warm-up and at the end. Steps have fractions."""

    number: int
    """Its place among the stated stages, from 0."""
    stage: OptimStage
    start: float
    end: float
    first: float
    last: float
    initial: float
    warmup: int

    def rates(self, step: np.ndarray) -> np.ndarray:
        """Its rate of each `step: (n,)` of the run, as a share of the peak."""
        index = step - self.start
        warm = np.minimum(1.0, (index + 1) / max(1, self.warmup))
        done = np.clip((index - self.warmup) / max(1.0, self.end - self.start - self.warmup), 0.0, 1.0)
        shape = np.full(len(step), self.first)
        if self.last != self.first:
            shape = _FORMS[self.stage.form or "linear"](self.first, self.last, done)
        return shape * warm if self.initial == 0 else np.where(warm < 1, self._warming(warm), shape)

    def _warming(self, warm: np.ndarray) -> np.ndarray:
        return self.initial + (self.first - self.initial) * warm


_FORMS: dict[StageForm, Callable[[float, float, np.ndarray], np.ndarray]] = {
    "linear": lambda a, b, done: a - (a - b) * done,
    "cosine": lambda a, b, done: b + (a - b) * 0.5 * (1 + np.cos(np.pi * done)),
    "exponential": lambda a, b, done: a * (b / a) ** done,
    "sqrt": lambda a, b, done: a - (a - b) * np.sqrt(done),
}


def rate_stages(stages: tuple[OptimStage, ...], peak: float, plan: BatchPlan, warmup: int) -> Iterator[RateStage]:
    """The stages of the run, without branches, each with the rates that it inherits and states.

    Args:
        stages: The stated stages.
        peak: The peak learning rate.
        plan: Tokens per step along the run.
        warmup: Steps of warm-up of the first stage, where it states none.
    """
    rate, steps = 0.0, plan.steps
    for number, (stage, span) in enumerate(zip(stages, spans(stages, plan.tokens), strict=True)):
        if stage.branch:
            continue
        start = plan.step_at(span.start)
        end = float(steps) if span.end >= plan.tokens else plan.step_at(span.end)
        first = rate if stage.lr is None else stage.lr / peak
        first = 1.0 if stage.lr is None and number == 0 else first
        last = first if stage.lr_final is None else stage.lr_final / peak
        rises = stage.warmup_steps or 0
        if stage.warmup_tokens is not None:
            rises = round(plan.step_at(span.start + stage.warmup_tokens) - start)
        elif number == 0 and not rises:
            rises = warmup
        initial = rate if stage.lr_initial is None else stage.lr_initial / peak
        yield RateStage(number, stage, start, end, first, last, initial if rises else first, rises)
        rate = last


def staged_rates(stages: list[RateStage], steps: int) -> RatePath:
    """The rates of every step of a run in stages."""
    rate = np.empty(steps)
    for number, one in enumerate(stages):
        begin = int(np.ceil(one.start - _MEMBER))
        end = steps if number == len(stages) - 1 else int(np.ceil(one.end - _MEMBER))
        rate[begin:end] = one.rates(np.arange(begin, end))
    return RatePath(rate, stages[0].warmup)


def batch_shares(plan: BatchPlan, usual: float) -> np.ndarray | None:
    """`(steps,)` tokens of each step as a share of the usual batch; None where all are alike."""
    if plan.even:
        return None
    found, at = np.empty(plan.steps), 0.0
    for one in plan.stretches:
        begin, end = int(np.ceil(at - _MEMBER)), int(np.ceil(at + one.steps - _MEMBER))
        index = np.arange(begin, min(end, plan.steps)) - at
        found[begin:end] = one.first * np.exp(one.growth * np.maximum(index, 0.0)) / usual
        at += one.steps
    return found


def with_batches(path: RatePath, shares: np.ndarray) -> RatePath:
    """A path of rates over tokens, made for steps of the usual batch, for the steps of batches `shares: (steps,)`."""
    behind = np.concatenate([[0.0], np.cumsum(shares)[:-1]])
    rate = np.interp(behind / shares.sum() * path.steps, np.arange(path.steps), path.rate)
    warmup = int(np.searchsorted(behind, path.warmup))
    return RatePath(rate, min(warmup, len(rate)), shares)
