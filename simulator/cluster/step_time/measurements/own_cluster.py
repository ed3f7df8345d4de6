"""Measured steps of one's own cluster, and what they say of steps like them beyond the fitted efficiencies.

What efficiencies can't explain of a measured step also holds for steps that spend their time alike, the less the more
they differ, and for the measured step itself all of it does: there the answer is the measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from ..parts import StepTime
from ..steps import Layouts, Machines, Models, States, Steps

__all__ = ["REPEAT_SD", "MeasuredSteps", "likeness", "same_release", "time_shares"]

REPEAT_SD = 0.03
"""Sd of log step time among measurements of one plan on one cluster: the median of 14 groups of rows of published runs
that agree in model, machines, software and layout (0 to 0.05; `benchmarks/step_time.py`)."""

_LENGTH = 0.02
"""Share of a step's time that has to be spent otherwise for two steps to be alike by 0.6 only.

Chosen by the coverage of dense sources left out and calibrated on three of their rows (`benchmarks/step_time.py`: 0.82
of 80 % intervals; 0.71 at 0.1), whose errors hardly depend on it."""
_OTHER_RELEASE = 0.8
"""How far two steps that are alike in all else are alike with two releases of the software. 0.7 to 0.9 do as well where
sources are left out and calibrated on three rows; at 1, intervals of mixtures of experts cover 75 % instead of 85."""
_LARGEST = 1e18  # of any number that describes a step in a file: parameters, FLOP/s
_MOST_STEPS = 1000
_LATER = (
    "release",
    "unstated_sd",
    "unattended",
    "mixer_flops",
    "mixer_log_sd",
)  # names that files of the first versions lack
_STRUCTS = {"models": Models, "machines": Machines, "layouts": Layouts, "states": States}


@dataclass(frozen=True)
class MeasuredSteps:
    """Distinct measured steps of one cluster: what was measured (k,), how often, and the mean of its log seconds."""

    steps: Steps
    log_s: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.log_s)

    @classmethod
    def of(cls, steps: Steps, step_time_s: np.ndarray) -> Self:
        """Of n measured times; the repetitions of a step become one with their mean logarithm."""
        each = [steps.take(np.array([i])) for i in range(len(step_time_s))]
        keys = [str(_plain(one)) for one in each]
        first = {key: keys.index(key) for key in keys}
        members = [[i for i, key in enumerate(keys) if key == name] for name in first]
        return cls(
            Steps.join([each[i] for i in first.values()]),
            np.array([np.mean(np.log(step_time_s[rows])) for rows in members]),
            np.array([len(rows) for rows in members]),
        )

    def joined(self, other: MeasuredSteps) -> MeasuredSteps:
        """Both; what was measured in both is one step with the mean of all repetitions."""
        repeated = [np.repeat(np.exp(one.log_s), one.counts) for one in (self, other)]
        rows = [np.repeat(np.arange(len(one)), one.counts) for one in (self, other)]
        parts = [one.steps.take(np.array([i])) for one, which in zip((self, other), rows, strict=True) for i in which]
        return MeasuredSteps.of(Steps.join(parts), np.concatenate(repeated))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        each = [self.steps.take(np.array([i])) for i in range(len(self))]
        joined = Steps.join(each)
        # kernels are left out: they change what a step needs of memory, not its time
        steps = {name: _plain(getattr(joined, name)) for name in _STRUCTS}
        return {"steps": steps, "log_s": self.log_s.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote. Raises ValueError, KeyError or their like for anything else."""
        log_s, counts = np.array(plain["log_s"], dtype=float), np.array(plain["counts"], dtype=int)
        if not 1 <= len(log_s) <= _MOST_STEPS or counts.shape != log_s.shape or not np.all(np.isfinite(log_s)):
            raise ValueError("its measured steps are none, too many, or not numbers")
        if not np.all((counts >= 1) & (counts <= _MOST_STEPS)):
            raise ValueError("its measured steps were measured too seldom or too often")
        parts = plain["steps"]
        structs = {name: _struct(kind, parts[name], len(log_s)) for name, kind in _STRUCTS.items()}
        return cls(Steps(**structs), log_s, counts)


def _plain(struct: Any) -> Any:
    if isinstance(struct, np.ndarray):
        # the speed of a link that nothing goes over is infinite, which JSON can't say
        plain = struct.astype(object)
        plain[np.isinf(struct)] = None
        return plain.tolist()
    return {field.name: _plain(getattr(struct, field.name)) for field in fields(struct)}


def _struct(kind: Any, plain: Mapping[str, Any], length: int) -> Any:
    """One struct of arrays (…, length) of numbers within bounds; ValueError for any other."""
    values = {}
    for name in (field.name for field in fields(kind)):
        # files of earlier versions tell no release, nor what wasn't stated
        given = plain[name] if name in plain or name not in _LATER else [0.0] * length
        stated = np.array(given, dtype=object)
        unused = stated == np.array(None)
        stated[unused] = np.inf
        value = stated.astype(float)
        if value.shape[-1:] != (length,) or value.ndim > 2 or not np.all(unused | (np.abs(value) <= _LARGEST)):
            raise ValueError(f"{name} of its measured steps is out of range")
        values[name] = value
    return kind(**values)


def time_shares(time: StepTime) -> np.ndarray:
    """What a step spends its time on: its parts as shares of the whole, (n, parts)."""
    parts = np.broadcast_arrays(*(np.atleast_1d(part) for part in time.parts.values()))
    return np.stack(parts, axis=-1) / np.atleast_1d(time.total_s)[..., None]


def likeness(shares: np.ndarray, others: np.ndarray, release: np.ndarray, of_others: np.ndarray) -> np.ndarray:
    """How far steps (n,) and others (k,) are alike: 1 where they are, 0 where not at all, (n, k).

    Told by what they spend their time on, (n, parts) and (k, parts), and by the releases of their software.
    """
    apart = np.sum((shares[:, None, :] - others[None, :, :]) ** 2, axis=-1)
    return np.exp(-0.5 * apart / _LENGTH**2) * np.where(same_release(release, of_others), 1.0, _OTHER_RELEASE)


def same_release(release: np.ndarray, of_others: np.ndarray) -> np.ndarray:
    """Whether steps (n,) and others (k,) state the same release, or both none. (n, k)"""
    return np.isclose(np.atleast_1d(release)[:, None], np.atleast_1d(of_others)[None, :], rtol=0.0, atol=1e-3)
