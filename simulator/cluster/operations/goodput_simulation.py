"""Monte Carlo of an interrupted run: its wall-clock time over random step times, failure rates and interruptions.

The model is `goodput`'s. No failure is simulated one by one: how often the pieces of a run are interrupted before all
are done is negative-binomial, so are the restarts, and how long an interrupted attempt had lasted is exponential cut
off at the length of the piece. All of that is drawn exactly, except that the sum of many cut-off times is drawn from
the normal distribution of the same mean and variance: of more than 256, or of more than 16 where the piece is shorter
than the mean time between interruptions. Its skewness is then below 1/8: a single time's is at most 2, and 0.35 there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....core.quantity import median
from ...config.operations import ReliabilityConfig
from .goodput import pieces, planned_interval_s
from .run_time import LONGEST_S, RunTime, assemble

__all__ = ["simulate_run_time"]

_MANY, _MANY_SHORT = 256, 16  # cut-off times whose sum is as good as normal
_CHUNK = 4096  # draws whose single times are in memory together
_MOST_INTERRUPTIONS = 1e8  # of one run: centuries, for any restart time that exists
_H = 3600.0

Array = np.ndarray


def simulate_run_time(
    productive_s: Any,
    devices: int,
    reliability: ReliabilityConfig,
    rng: np.random.Generator,
    luck: np.random.Generator | None = None,
) -> RunTime:
    """Draw the time of a run: one draw for each element of `productive_s`, the seconds of all steps (draws,).

    The checkpoint interval is what a plan for the median draw and the known failure rate would set; the rate itself
    is drawn from its spread. A run that would take longer than `LONGEST_S` is cut there. Interruptions are drawn from
    `luck` where it is given, so that runs can share the failure rate alone.
    """
    productive = np.atleast_1d(np.asarray(productive_s, float))
    work = productive * (1.0 + reliability.straggler_slowdown)
    failures = np.full_like(work, devices * reliability.failures_per_device_hour / _H)
    preemptions = devices * reliability.preemptions_per_device_hour / _H
    interval = planned_interval_s(median(work), failures[0] + preemptions, reliability)
    failures *= np.exp(np.log(reliability.failure_rate_spread) * rng.standard_normal(work.shape))
    luck = luck or rng
    rate = failures + preemptions
    number = pieces(work, interval)
    length = work / number + reliability.checkpoint_s
    never = _interruptions(number, length, rate, reliability.restart_s) > _MOST_INTERRUPTIONS
    # A rate of its own for draws that never finish keeps the samplers within their range; their time is set below.
    safe = np.where(never, 0.0, rate)
    undone, redone = _attempts(number, length, safe, luck)
    again, restarting = _attempts(undone, np.full_like(work, reliability.restart_s), safe, luck)
    interruptions = undone + again
    preempted = np.zeros_like(work)
    if preemptions > 0:
        preempted = luck.binomial(interruptions.astype(np.int64), _share(preemptions, rate))
    return assemble(
        productive,
        reliability,
        number=number,
        redone_s=np.where(never, LONGEST_S, redone),
        restart_s=restarting + undone * reliability.restart_s,
        waiting_s=preempted * (reliability.preemption_wait_s or 0.0),
        interruptions=np.where(never, rate * LONGEST_S, interruptions),
    )


def _share(part: float, whole: Array) -> Array:
    return np.minimum(np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0), 1.0)


def _interruptions(number: Array, length_s: Array, rate_per_s: Array, restart_s: float) -> Array:
    """Expected interruptions of a run."""
    with np.errstate(over="ignore"):
        return number * np.expm1(rate_per_s * length_s) * np.exp(rate_per_s * restart_s)


def _attempts(number: Array, length_s: Array, rate_per_s: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw how often stretches are interrupted until `number` of them are done, and the seconds that this undoes."""
    needed = np.maximum(number, 1.0)
    failed = rng.negative_binomial(needed, np.exp(-rate_per_s * length_s)) * (number > 0)
    return failed.astype(float), _sum_cut_off(failed, rate_per_s, length_s, rng)


def _sum_cut_off(counts: Array, rate_per_s: Array, limit_s: Array, rng: np.random.Generator) -> Array:
    """Sums of `counts` exponential times each of which is known to be below the limit."""
    sums, enough = np.zeros(counts.shape), np.where(rate_per_s * limit_s < 1.0, _MANY_SHORT, _MANY)
    many = np.flatnonzero(counts > enough)
    if len(many):
        count, limit = counts[many], limit_s[many]
        mean, variance = _moments(rate_per_s[many] * limit)
        normal = count * mean + np.sqrt(count * variance) * rng.standard_normal(len(many))
        sums[many] = np.clip(normal, 0.0, count) * limit
    few = np.flatnonzero((counts > 0) & (counts <= enough))
    for start in range(0, len(few), _CHUNK):
        part = few[start : start + _CHUNK]
        owner = np.repeat(np.arange(len(part)), counts[part])
        rate = rate_per_s[part][owner]
        times = -np.log1p(rng.random(len(owner)) * np.expm1(-rate * limit_s[part][owner])) / rate
        sums[part] = np.bincount(owner, times, minlength=len(part))
    return sums


def _moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of an exponential of rate x that is known to be below 1."""
    small = x < 1e-3
    safe = np.where(small, 1.0, x)
    up = np.expm1(safe)
    # The differences below lose their digits near 0, where the series takes over.
    mean = np.where(small, 0.5 - x / 12, 1 / safe - 1 / up)
    variance = np.where(small, 1 / 12 - x**2 / 240, 1 / safe**2 - (up + 1) / up**2)
    return mean, np.maximum(variance, 0.0)
