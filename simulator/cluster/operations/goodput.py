"""Wall-clock time of a run that is interrupted: the optimal checkpoint interval and the exact expectation.

Interruptions are a Poisson process of rate λ = devices · (failures + preemptions). The work is cut into equal pieces,
each followed by a checkpoint of C seconds; an interruption throws the run back to the last checkpoint, and training
goes on after R seconds of restart, which may be interrupted too. For pieces of s seconds, checkpoint included, the
expected time is e^(λR) (e^(λs) − 1) / λ each: Daly 2006, doi:10.1016/j.future.2004.11.016, equation 13. What this
module adds: pieces that add up to the work exactly, and a wait for lost spot capacity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ....core.errors import InfeasibleError
from ....core.units import format_duration
from ...config.operations import ReliabilityConfig
from .run_time import RunTime, assemble

__all__ = [
    "best_interval_s",
    "expected_run_time",
    "pieces",
    "planned_interval_s",
    "require_progress",
    "young_interval_s",
]

# Below this productive share a run makes no sense: the plan is refused with the changes that would help.
_LEAST_GOODPUT = 0.01
_LARGEST_EXPONENT = 50.0  # of e^(λs): a piece that takes 10²¹ attempts is never done
_H = 3600.0
_MOST_INTERVALS = 1024  # best ones that are known at once

Array = np.ndarray


def young_interval_s(rate_per_s: Any, checkpoint_s: Any) -> Array:
    """Young's first-order interval √(2C/λ), seconds of training between checkpoints (doi:10.1145/361147.361115)."""
    with np.errstate(divide="ignore"):
        return np.sqrt(2.0 * np.asarray(checkpoint_s, float) / np.asarray(rate_per_s, float))


def best_interval_s(rate_per_s: Any, checkpoint_s: Any) -> Array:
    """Interval that minimises Daly's expected time exactly: (1 − y) e^y = e^(−λC) with y = λ·interval.

    Seconds of training between checkpoints, for interruptions per second and seconds per checkpoint, both broadcast.
    Infinite where nothing interrupts.
    """
    rate, cost = np.broadcast_arrays(np.asarray(rate_per_s, float), np.asarray(checkpoint_s, float))
    return (
        np.asarray(_one_best_interval_s(float(rate), float(cost))) if rate.ndim == 0 else _best_interval_s(rate, cost)
    )


@lru_cache(maxsize=_MOST_INTERVALS)
def _one_best_interval_s(rate: float, cost: float) -> float:
    """The same of one run: plans on the same machines ask for it again and again."""
    return float(_best_interval_s(np.asarray(rate), np.asarray(cost)))


def _best_interval_s(rate: Array, cost: Array) -> Array:
    c = rate * cost
    # log(1 − y) + y + λC is concave and falls; both starts lie right of its root, from where Newton's steps never
    # overshoot. 60 of them are far more than the quadratic convergence needs.
    y = np.minimum(np.sqrt(2.0 * c), -np.expm1(-c - 1.0))
    for _ in range(60):
        step = np.divide((np.log1p(-y) + y + c) * (1.0 - y), y, out=np.zeros_like(c), where=y > 0)
        y = np.where(step < 0, y + step, y)
        if not np.any(-step > 1e-15 * y):
            break
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(y > 0, y / rate, np.inf)  # none where nothing, or next to nothing, interrupts


def planned_interval_s(work_s: Any, rate_per_s: Any, reliability: ReliabilityConfig) -> Array:
    """Training between two checkpoints as a plan would set it: a whole number of equal pieces of the work.

    As many as the stated interval asks for at least; else as many as make the expected time least.
    """
    work, rate = np.broadcast_arrays(np.asarray(work_s, float), np.asarray(rate_per_s, float))
    cost = reliability.checkpoint_s
    if reliability.checkpoint_interval_s is not None:
        return work / pieces(work, reliability.checkpoint_interval_s)
    few = np.maximum(np.floor(work / best_interval_s(rate, cost)), 1.0)
    # The time is convex in the number of pieces, so that the best whole number is next to the best real one.
    more_is_better = _attempts_s(few + 1, work / (few + 1) + cost, rate) < _attempts_s(few, work / few + cost, rate)
    return work / np.where(more_is_better, few + 1, few)


def pieces(work_s: Any, interval_s: Any) -> Array:
    """Number of equal pieces of the work that are no longer than the interval; at least 1."""
    # An interval that was made by dividing the work must give back the number it was divided by.
    return np.maximum(np.ceil(np.asarray(work_s, float) / np.asarray(interval_s, float) - 1e-9), 1.0)


def expected_run_time(productive_s: Any, devices: Any, reliability: ReliabilityConfig) -> RunTime:
    """Expected time by part, exact for the model of the module's docstring, and capped at `LONGEST_S` in sum.

    `productive_s`: seconds of all steps on a healthy cluster; `devices`: accelerators; both broadcast. The failure
    rate is taken as known; `simulate_run_time` draws it.
    """
    productive, count = np.broadcast_arrays(np.asarray(productive_s, float), np.asarray(devices, float))
    failures, preemptions = _rates_per_s(count, reliability)
    rate = failures + preemptions
    work = productive * (1.0 + reliability.straggler_slowdown)
    number = pieces(work, planned_interval_s(work, rate, reliability))
    length = work / number + reliability.checkpoint_s
    attempts = _attempts_s(number, length, rate)
    undone = number * np.expm1(np.minimum(rate * length, _LARGEST_EXPONENT))  # pieces, by interruptions
    restarts = _attempts_s(undone, np.full_like(rate, reliability.restart_s), rate)
    interruptions = rate * (attempts + restarts)
    waiting = preemptions * (attempts + restarts) * (reliability.preemption_wait_s or 0.0)
    return assemble(
        productive,
        reliability,
        number=number,
        redone_s=attempts - number * length,
        restart_s=restarts,
        waiting_s=waiting,
        interruptions=interruptions,
    )


def require_progress(run_time: RunTime, productive_s: float, devices: int, reliability: ReliabilityConfig) -> None:
    """Raise InfeasibleError if less than 1 % of the expected wall clock would be productive, and say what to change."""
    if float(np.mean(run_time.goodput)) >= _LEAST_GOODPUT:
        return
    failures, preemptions = _rates_per_s(np.asarray(float(devices)), reliability)
    between = 1.0 / float(failures + preemptions)
    key, length_s = _binding(productive_s, reliability)
    raise InfeasibleError(
        f"the run would practically never finish: {devices:,} devices are interrupted every {format_duration(between)} "
        f"on average, while {key} needs {format_duration(length_s)} without an interruption. "
        f"{_remedy(productive_s, devices, between, reliability)}"
    )


def _rates_per_s(devices: Array, reliability: ReliabilityConfig) -> tuple[Array, Array]:
    """Failures and preemptions of the whole run, per second."""
    per_device = reliability.failures_per_device_hour, reliability.preemptions_per_device_hour
    return devices * per_device[0] / _H, devices * per_device[1] / _H


def _attempts_s(number: Array, length_s: Array, rate_per_s: Array) -> Array:
    """Expected seconds of running until `number` stretches of `length_s` were done without an interruption."""
    exponent = np.minimum(rate_per_s * length_s, _LARGEST_EXPONENT)
    growth = np.divide(np.expm1(exponent), exponent, out=np.ones_like(exponent), where=exponent > 0)
    return number * length_s * growth


def _binding(productive_s: float, reliability: ReliabilityConfig) -> tuple[str, float]:
    """The setting that asks for the longest stretch without an interruption, and that stretch in seconds."""
    stretches = {"reliability.restart": reliability.restart_s, "reliability.checkpoint": reliability.checkpoint_s}
    if reliability.checkpoint_interval_s is not None:
        work = productive_s * (1.0 + reliability.straggler_slowdown)
        stretches["reliability.checkpoint_interval"] = min(reliability.checkpoint_interval_s, work)
    key = max(stretches, key=lambda name: stretches[name])
    return key, stretches[key]


def _remedy(productive_s: float, devices: int, between_s: float, reliability: ReliabilityConfig) -> str:
    """What would let the run finish, each change alone: the interval that is best, fewer devices."""

    def goodput(count: int, settings: ReliabilityConfig) -> float:
        # The same work takes fewer devices longer.
        return float(expected_run_time(productive_s * devices / count, count, settings).goodput)

    advice = []
    free = reliability.model_copy(update={"checkpoint_interval_s": None})
    if reliability.checkpoint_interval_s is not None and goodput(devices, free) >= _LEAST_GOODPUT:
        best = format_duration(float(best_interval_s(1.0 / between_s, reliability.checkpoint_s)))
        advice.append(f"checkpoint every {best} (leave reliability.checkpoint_interval out and it is chosen so)")
    most = _largest(devices, lambda count: goodput(count, reliability) >= _LEAST_GOODPUT)
    if most:
        advice.append(f"use at most {most:,} devices")
    advice.append("shorten reliability.restart and reliability.checkpoint")
    return "To change that: " + ", or ".join(advice)


def _largest(limit: int, good: Callable[[int], bool]) -> int:
    """The largest count from 1 to `limit` that is good, where fewer are never worse; 0 if none is."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if good(middle) else (low, middle - 1)
    return low
