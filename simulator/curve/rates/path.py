"""The learning rate of every step of a run, and the quantities that the loss-curve law computes from it.

Rates are shares of the peak, so that no law here depends on the unit of the learning rate: a "peak step" is one step at
the peak. Steps count from 0; the loss "at step t" is what is measured after the first t steps.

Where the batch changes on the way, the law reads the run as one of an even batch, by Adam's square-root rule (Malladi et
al. 2022, arXiv:2205.10287): a step of b usual batches at the rate η moves as b usual steps at η / √b do. So it makes
√b·η of progress, and a batch that grows settles the loss as a rate that falls does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from ....core.errors import ConfigError
from ....core.model.schedules import DecayForm, Schedule, ScheduleName
from .changes import PlannedChange

MAX_BLOCKS = 32
"""Learning-rate changes are merged into at most this many blocks per monotone segment (shared notes: curves.md)."""
_SAME = 1e-9  # changes of the rate smaller than this share of the peak are rounding


@dataclass(frozen=True)
class Decay:
    """The law's inputs at `n` steps, with the changes of the rate grouped into `K` blocks.

    `progress: (n,)` peak steps behind; `drop: (n, K)` how far the rate has fallen in the block (negative where it
    rose), `rate: (n, K)` the mean rate just after those gaps and `age: (n, K)` the mean peak steps since them.
    """

    progress: np.ndarray
    drop: np.ndarray
    rate: np.ndarray
    age: np.ndarray

    @classmethod
    def stack(cls, parts: list[Decay]) -> Decay:
        """The rows of several runs, concatenated; blocks that a run lacks are empty."""
        width = max(part.drop.shape[1] for part in parts)

        def join(name: str, fill: float) -> np.ndarray:
            tables = [getattr(part, name) for part in parts]
            return np.concatenate([np.pad(t, ((0, 0), (0, width - t.shape[1])), constant_values=fill) for t in tables])

        return cls(np.concatenate([p.progress for p in parts]), join("drop", 0.0), join("rate", 1.0), join("age", 0.0))


@dataclass(frozen=True)
class RatePath:
    """Learning rate of each step as a share of the peak, `rate: (T,)`; the first `warmup` steps are the warm-up.

    `batch: (T,)` are tokens of each step as a share of the usual batch, None where all are alike; `changes` what else is
    planned on the way.

    >>> path = RatePath(np.array([0.5, 1.0, 1.0, 0.5]), 1)
    >>> path.behind([0, 2, 4]).tolist()
    [0.0, 1.5, 3.0]
    """

    rate: np.ndarray
    warmup: int = 0
    batch: np.ndarray | None = None
    changes: tuple[PlannedChange, ...] = ()

    def __post_init__(self) -> None:
        rate = np.asarray(self.rate, dtype=float)
        bad = np.flatnonzero(~(np.isfinite(rate) & (rate >= 0)))
        if rate.ndim != 1 or not len(rate) or len(bad) or not rate.max() > 0:
            where = f", step {bad[0]}: got {rate[bad[0]]}" if len(bad) else ""
            raise ConfigError(f"learning rates{where}; expected one finite rate, 0 or more, per step and not all zero")
        if not 0 <= self.warmup <= len(rate):
            raise ConfigError(f"warmup: got {self.warmup}; expected 0 to the run's {len(rate)} steps")
        if self.batch is not None and not (len(self.batch) == len(rate) and bool(np.all(self.batch > 0))):
            raise ConfigError(f"batch: expected a share above 0 of the usual batch for each of {len(rate)} steps")
        object.__setattr__(self, "rate", rate / rate.max())

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return len(self.rate)

    @cached_property
    def even_rate(self) -> np.ndarray:
        """`(T,)` rate of each step as the law reads it: that of a run of an even batch that moves alike."""
        return self.rate if self.batch is None else self.rate / np.sqrt(self.batch)

    @cached_property
    def _sums(self) -> np.ndarray:
        moves = self.rate if self.batch is None else self.rate * np.sqrt(self.batch)
        return np.concatenate([[0.0], np.cumsum(moves)])

    def batches(self, step: ArrayLike) -> np.ndarray:
        """Usual batches that lie behind `step`, any shape: the steps themselves where all batches are alike."""
        if self.batch is None:
            return np.asarray(step, dtype=float)
        at = np.clip(np.asarray(step, dtype=float), 0, self.steps)
        return np.interp(at, np.arange(self.steps + 1), np.concatenate([[0.0], np.cumsum(self.batch)]))

    def step_after(self, batches: ArrayLike) -> np.ndarray:
        """The inverse of `batches`; beyond the end the last batch goes on."""
        at = np.asarray(batches, dtype=float)
        if self.batch is None:
            return at
        behind = np.concatenate([[0.0], np.cumsum(self.batch)])
        return np.interp(at, behind, np.arange(self.steps + 1)) + np.maximum(at - behind[-1], 0.0) / self.batch[-1]

    def behind(self, step: ArrayLike) -> np.ndarray:
        """Peak steps that lie behind `step`, any shape: the sum of the rates before it, linear inside a step."""
        at = np.clip(np.asarray(step, dtype=float), 0, self.steps)
        return np.interp(at, np.arange(self.steps + 1), self._sums)

    @cached_property
    def gaps(self) -> np.ndarray:
        """`(T,)` fall of the rate into each step; the warm-up's rise belongs to no gap."""
        gaps = np.zeros(self.steps)
        first = min(self.warmup, self.steps - 1) + 1
        gaps[first:] = self.even_rate[first - 1 : -1] - self.even_rate[first:]
        gaps[np.abs(gaps) < _SAME] = 0.0
        return gaps

    @cached_property
    def _moments(self) -> np.ndarray:
        """`(3, T + 1)` running sums of gap, gap · peak steps before it, gap · rate after it."""
        moments = np.stack([self.gaps, self.gaps * self._sums[:-1], self.gaps * self.even_rate])
        return np.concatenate([np.zeros((3, 1)), np.cumsum(moments, axis=1)], axis=1)

    @cached_property
    def _edges(self) -> np.ndarray:
        """`(K, 2)` first step and end of each block; a block never holds both a fall and a rise."""
        at = np.flatnonzero(self.gaps)
        if not len(at):
            return np.zeros((0, 2), dtype=int)
        turns = np.flatnonzero(np.diff(np.sign(self.gaps[at]))) + 1
        return np.concatenate([_blocks(segment, np.abs(self.gaps[segment])) for segment in np.split(at, turns)])

    @property
    def blocks(self) -> int:
        """How many blocks of gaps the path has."""
        return len(self._edges)

    def decay(self, step: ArrayLike) -> Decay:
        """The law's inputs at `step: (n,)`. Unfinished blocks include the changes so far."""
        step = np.clip(np.asarray(step, dtype=float), 0, self.steps)
        progress = self.behind(step)
        start, end = self._edges[:, 0], self._edges[:, 1]
        stop = np.clip(np.floor(step).astype(int)[:, None], start, end)
        drop, place, rate = self._moments[:, stop] - self._moments[:, start][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            place, rate = np.where(drop == 0, 0.0, place / drop), np.where(drop == 0, 1.0, rate / drop)
        age = np.where(drop == 0, 0.0, np.maximum(progress[:, None] - place, 0.0))
        return Decay(progress, drop, np.clip(rate, 0.0, 1.0), age)

    def fallen(self, step: ArrayLike) -> np.ndarray:
        """How far the rate has come down from its highest at `step`, a share of the peak, any shape."""
        at = np.clip(np.asarray(step, dtype=float).astype(int) - 1, 0, self.steps - 1)
        return np.where(
            np.asarray(step) <= self.warmup, 0.0, np.maximum.accumulate(self.even_rate)[at] - self.even_rate[at]
        )


def _blocks(at: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Cut gaps at steps `at: (m,)` into blocks `(K, 2)` that hold about equal shares of the change."""
    share = np.cumsum(size) / size.sum()
    label = np.minimum((share * MAX_BLOCKS * (1 - 1e-12)).astype(int), MAX_BLOCKS - 1)
    first = np.concatenate([[0], np.flatnonzero(np.diff(label)) + 1])
    last = np.concatenate([first[1:] - 1, [len(at) - 1]])
    return np.stack([at[first], at[last] + 1], axis=1)


def named_path(
    name: ScheduleName,
    steps: int,
    warmup: int = 0,
    final: float = 0.0,
    decay_share: float = 0.2,
    decay_form: DecayForm = "linear",
) -> RatePath:
    """Path of one of the schedules of a run configuration (`foretrain.core.model.schedules`)."""
    schedule = Schedule(
        name=name, steps=steps, warmup_steps=warmup, final=final, decay_share=decay_share, decay_form=decay_form
    )
    return RatePath(schedule.at(np.arange(steps)), warmup)


def wsd_path(steps: int, warmup: int, decay_start: int, final: float, form: DecayForm = "linear") -> RatePath:
    """Warm-up, stable, then from `decay_start` down to the share `final` where the run ends.

    `form`: `linear`, `exponential` (needs `final` > 0) or `sqrt`, see `foretrain.core.model.schedules`.
    """
    if form not in get_args(DecayForm):
        raise ConfigError(f"form: got {form!r}; expected one of {', '.join(get_args(DecayForm))}")
    if form == "exponential" and not final > 0:
        raise ConfigError("final: an exponential decay never reaches 0; expected a share of the peak above 0")
    if not warmup <= decay_start < steps:
        raise ConfigError(f"decay_start: got {decay_start}; expected from warm-up {warmup} to before the end {steps}")
    return named_path("wsd", steps, warmup, final, (steps - decay_start) / steps, form)


def piecewise_path(steps: int, warmup: int, changes: Mapping[int, float]) -> RatePath:
    """Warm-up, then from each step in `changes` on that share of the peak; `{8000: 0.3}` is two-stage."""
    step = np.arange(steps)
    starts = sorted(changes)
    rates = np.array([1.0, *(changes[start] for start in starts)])
    warm = np.minimum(1.0, (step + 1) / max(1, warmup))
    return RatePath(warm * rates[np.searchsorted(starts, step, side="right")], warmup)


def pointwise_path(steps: int, warmup: int, points: Mapping[int, float]) -> RatePath:
    """Straight lines between the rates `points`, by step and on any scale; before the first and after the last, flat.

    The warm-up is part of the points; `warmup` says how many of the steps it takes.
    """
    at = sorted(points)
    return RatePath(np.interp(np.arange(steps), at, [points[step] for step in at]), warmup)
