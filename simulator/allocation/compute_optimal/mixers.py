"""Compute-optimal size and tokens of each token mixer, how their losses differ there, and where two laws cross."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import ValidationError

from ....core.errors import ConfigError, InputError
from ....core.model.architecture import Architecture
from ....core.model.mixers.members.attention import ATTENTION
from ....core.model.mixers.registry import mixers as known_mixers
from ....core.quantity import Difference
from ....core.reading.config_messages import first_problem
from ....core.reading.suggest import did_you_mean, nearest
from ....core.units import shown
from ....core.version import __version__
from ...config.run_config import RunConfig
from ...forecast.adjustments import known_places
from ...forecast.adjustments.architecture import ARCHITECTURE, MIXER_PLACE, PROXIES, TRANSFORMER
from ...forecast.law_inputs import planned_loss
from ...forecast.strategies.architecture import LARGE
from ...forecast.strategies.levels import side_by_side
from ...predictor.levels import new_levels
from ...predictor.predictor import Predictor
from .optimal import ComputeOptimal, compute_optimal, optimum_at
from .optimum import find_optimum
from .surface import LossSurface

__all__ = ["Crossing", "DifferenceCurve", "MixerOptimum", "OptimalMixers", "mixers_optimal"]

_STEP_DECADES, _BEYOND_DECADES, _AROUND_DECADES = 0.25, 4.0, 1.5
_SAME = 1.0 + 1e-9  # a range of compute that is narrower is none
_BEYOND = "beyond the fitted runs"  # how notes on it begin
_SMALL_RUNS = (
    "small runs rank architectures by how fast they learn n-grams: beyond the fitted runs the differences hold with "
    "their intervals only"
)


@dataclass(frozen=True)
class MixerOptimum:
    """The best split of a compute with one mixer."""

    mixer: str
    optimum: ComputeOptimal
    difference: Difference | None
    """Its loss minus that of the first mixer, each at its own best size; None for the first."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "mixer": self.mixer,
            "optimum": self.optimum.to_dict(),
            "difference_nats": None if self.difference is None else self.difference.to_dict(),
            "verdict": None if self.difference is None else self.difference.verdict,
        }


@dataclass(frozen=True)
class Crossing:
    """Up to which compute one of two mixers leads, each at its own best size, and where that is undecided."""

    leads: str
    """The mixer of the lower loss at the smallest compute that was looked at."""
    then: str
    """The other one."""
    flops: float | None
    """From which compute on the other one's loss is the lower; None where that is nowhere."""
    undecided: tuple[float, float] | None
    """The lowest and the highest compute at which the 90 % interval of the difference contains 0; None for none."""
    decided: tuple[tuple[str, float, float], ...]
    """Where it doesn't: which mixer leads, from which compute on, up to which."""
    looked_at: tuple[float, float]
    """From the smallest compute of the fitted runs to four decades beyond the largest, FLOPs."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "leads": self.leads,
            "then": self.then,
            "training_flops": self.flops,
            "undecided_flops": None if self.undecided is None else list(self.undecided),
            "decided": [{"leads": name, "from_flops": low, "to_flops": high} for name, low, high in self.decided],
            "looked_at_flops": list(self.looked_at),
        }


@dataclass(frozen=True)
class DifferenceCurve:
    """The loss of a mixer minus that of the first over compute, each at its own best size; every field is `(n,)`."""

    mixer: str
    flops: np.ndarray
    median: np.ndarray
    """Nats per token."""
    low_90: np.ndarray
    high_90: np.ndarray


@dataclass(frozen=True)
class OptimalMixers:
    """Mixers at one compute, each at its own best size."""

    flops: float
    rows: tuple[MixerOptimum, ...]
    crossings: tuple[Crossing, ...]
    """Of the first mixer with each other."""
    notes: tuple[str, ...]
    curves: tuple[DifferenceCurve, ...] = ()
    """Of each mixer but the first, in their order."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        first = self.rows[0].optimum
        return {
            "training_flops": self.flops,
            "predictor": first.predictor,
            "target": first.target,
            "mixers": [row.to_dict() for row in self.rows],
            "crossings": [one.to_dict() for one in self.crossings],
            "notes": list(self.notes),
            "version": __version__,
        }


def mixers_optimal(
    predictor: Predictor,
    mixers: Sequence[str],
    flops: float | None = None,
    *,
    config: RunConfig | None = None,
    unique_tokens: float | None = None,
) -> OptimalMixers:
    """The compute-optimal size and tokens with each of some mixers.

    Args:
        predictor: Predicts the loss; it must know architectures.
        mixers: Names of at least two mixers, or the names that run tables have for other kinds of model; the first is
            what others are held against.
        flops: Training compute, FLOPs; by default that of the plan.
        config: A plan, whose shape the mixers are put into.
        unique_tokens: Unique tokens in stock, instead of the plan's.

    Raises:
        InputError: An unknown mixer, one named twice, one that the plan's shape can't have, a predictor that knows no
            architectures, or as `compute_optimal`.
    """
    if flops is None:
        if config is None:
            raise InputError("flops: is missing; expected training FLOPs such as 5.76e23, or a plan")
        flops = compute_optimal(predictor, config=config, unique_tokens=unique_tokens).flops
    _check(predictor, mixers)
    surfaces = {name: LossSurface.of(predictor, _with_mixer(config, name), unique_tokens).as_tuned() for name in mixers}
    optima = {name: optimum_at(surface, predictor.name, flops) for name, surface in surfaces.items()}
    first = surfaces[mixers[0]]
    rows = [MixerOptimum(mixers[0], optima[mixers[0]], None)]
    for name in mixers[1:]:
        sizes = [(optima[one].params.median, optima[one].tokens.median) for one in (mixers[0], name)]
        rows.append(MixerOptimum(name, optima[name], _difference(first, surfaces[name], *sizes)))
    curves = [_curve(mixers[0], name, surfaces, flops) for name in mixers[1:]]
    return OptimalMixers(
        flops=flops,
        rows=tuple(rows),
        crossings=tuple(found for curve in curves for found in _crossing(mixers[0], curve, surfaces)),
        notes=tuple(_notes(surfaces, optima)),
        curves=tuple(curves),
    )


def _check(predictor: Predictor, mixers: Sequence[str]) -> None:
    """Refuse fewer than two mixers, one named twice, one that nobody knows, and a predictor that knows none."""
    laws = [model.fit.law for model in predictor.models.values()]
    levels = {level for law in laws for level in law.levels.get(ARCHITECTURE, ())}
    if not levels and not all(MIXER_PLACE in known_places(model) for model in predictor.models.values()):
        raise InputError(
            f"mixers: got {', '.join(mixers)}, but {predictor.name} knows nothing of architectures; expected a "
            "predictor fitted on runs of several, with their column architecture"
        )
    if len(mixers) < 2 or len(set(mixers)) < len(mixers):
        raise InputError(f"mixers: got {shown(','.join(mixers))}; expected two different ones at least, between commas")
    known = {*known_mixers(), *levels - {TRANSFORMER}}
    for name in mixers:
        if name == TRANSFORMER:
            raise InputError(f"mixers: got {shown(name)}, a kind of model; expected its mixer, {ATTENTION.name}")
        if name not in known:
            listed = ", ".join(sorted(known))
            raise InputError(f"mixers: got {shown(name)}; {did_you_mean(nearest(name, known))}expected among {listed}")


def _with_mixer(config: RunConfig | None, mixer: str) -> RunConfig:
    """The plan with a mixer, or with the kind of model in its columns where it has no shape; may raise ConfigError."""
    if config is None:
        config = RunConfig.from_mapping({"model": {"params": 1e9}, "data": {"tokens": 1e9}})
    shape, columns = config.model.architecture, dict(config.columns)
    columns.pop(ARCHITECTURE, None)
    if shape is None or mixer not in known_mixers():
        columns[ARCHITECTURE] = TRANSFORMER if mixer == ATTENTION.name else mixer
        return config.model_copy(update={"columns": columns})
    try:
        # of its size alone the law speaks: how many heads doesn't matter
        other = shape.as_transformer() if mixer == ATTENTION.name else shape.with_mixer(mixer)
    except ValidationError as error:
        raise ConfigError(str(first_problem(error, Architecture, "model.architecture"))) from None
    model = config.model.model_copy(update={"architecture": other})
    return config.model_copy(update={"model": model, "columns": columns})


_Size = tuple[float, float]
"""Parameters and tokens."""


def _difference(first: LossSurface, other: LossSurface, of_first: _Size, of_other: _Size) -> Difference:
    """The loss of a run of one mixer minus that of a run of the first."""
    pairs = ((first, of_first), (other, of_other))
    both = [surface.whole_columns(np.array([params]), np.array([tokens])) for surface, (params, tokens) in pairs]
    prediction = planned_loss(first.config, first.predictor, first.target, side_by_side(*both), joint=True)
    return prediction.difference(1).summary()


def _curve(first: str, other: str, surfaces: Mapping[str, LossSurface], flops: float) -> DifferenceCurve:
    """How two mixers differ over compute: that of the fitted runs and beyond, or around the compute asked for."""
    low, high = surfaces[first].fitted_range("compute")
    if _has_runs(first, other, surfaces):
        grid = np.geomspace(low, high * 10**_BEYOND_DECADES, _points(high / low * 10**_BEYOND_DECADES))
    else:
        grid = flops * np.geomspace(10**-_AROUND_DECADES, 10**_AROUND_DECADES, _points(10 ** (2 * _AROUND_DECADES)))
    found = []
    for amount in grid:
        best = [find_optimum(surfaces[name], float(amount)) for name in (first, other)]
        sizes = [(one.params, one.tokens) for one in best]
        found.append(_difference(surfaces[first], surfaces[other], *sizes))
    ends = np.array([one.intervals[0.9] for one in found])
    return DifferenceCurve(other, grid, np.array([one.median for one in found]), ends.min(axis=1), ends.max(axis=1))


def _points(factor: float) -> int:
    """Points of a curve over so wide a range of compute."""
    return math.ceil(math.log10(factor) / _STEP_DECADES) + 1


def _has_runs(first: str, other: str, surfaces: Mapping[str, LossSurface]) -> bool:
    """Whether runs of both mixers were fitted, of which it is known what they cost."""
    if not all(ARCHITECTURE in model.fit.law.levels for model in surfaces[first].models):
        return False
    low, high = surfaces[first].fitted_range("compute")
    return not (_is_new(surfaces[first]) or _is_new(surfaces[other])) and low > 0.0 and math.isfinite(high)


def _crossing(first: str, curve: DifferenceCurve, surfaces: Mapping[str, LossSurface]) -> Iterator[Crossing]:
    """Where the loss of a mixer crosses that of the first; nothing of one that no fitted run had.

    What proxies say of mixers may be carried over; where their laws cross is told of their own runs alone.
    """
    if _has_runs(first, curve.mixer, surfaces):
        yield _crossing_of(first, curve)


def _crossing_of(first: str, curve: DifferenceCurve) -> Crossing:
    """From the differences, other minus first, over rising compute."""
    flops, x = curve.flops, np.log(curve.flops)
    other_leads = bool(curve.median[0] < 0.0)
    leads, then = (curve.mixer, first) if other_leads else (first, curve.mixer)
    better = [(curve.mixer, *one) for one in _below_zero(x, curve.high_90)]
    worse = [(first, *one) for one in _below_zero(x, -curve.low_90)]
    decided = tuple(sorted(better + worse, key=lambda one: one[1]))
    crossed = _zero(x, -curve.median if other_leads else curve.median)
    return Crossing(
        leads,
        then,
        None if crossed is None else math.exp(crossed),
        _undecided(decided, float(flops[0]), float(flops[-1])),
        decided,
        (float(flops[0]), float(flops[-1])),
    )


def _below_zero(x: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
    """Ranges of e^x in which values lie below zero, linear between their places."""
    found = []
    below = values < 0.0
    for at in np.flatnonzero(below & ~np.concatenate([[False], below[:-1]])):
        start = math.exp(x[at]) if at == 0 else math.exp(_root(x, values, int(at) - 1))
        after = np.flatnonzero(~below[at:])
        end = math.exp(x[-1]) if not len(after) else math.exp(_root(x, values, int(at + after[0]) - 1))
        found.append((start, end))
    return found


def _undecided(decided: Sequence[tuple[str, float, float]], low: float, high: float) -> tuple[float, float] | None:
    """The lowest and the highest compute of a range that lies in no range of these, which rise; None for none."""
    ends = [low, *(end for _, start, stop in decided for end in (start, stop)), high]
    gaps = [(start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=True) if stop > start * _SAME]
    return (gaps[0][0], gaps[-1][1]) if gaps else None


def _root(x: np.ndarray, values: np.ndarray, at: int) -> float:
    """Where values between a place and the next are zero."""
    left, right = values[at], values[at + 1]
    return float(x[at] + (x[at + 1] - x[at]) * left / (left - right))


def _zero(x: np.ndarray, values: np.ndarray) -> float | None:
    """Where values that begin at zero or above first fall below; None for nowhere."""
    for at, (left, right) in enumerate(pairwise(values)):
        if right < 0.0 <= left:
            return _root(x, values, at)
    return None


def _is_new(surface: LossSurface) -> bool:
    """Whether no fitted run had the level of a surface."""
    columns = surface.columns(np.ones(1), np.ones(1))
    return any(ARCHITECTURE in new_levels(model.fit, columns) for model in surface.models if model.fit.law.levels)


def _notes(surfaces: Mapping[str, LossSurface], optima: Mapping[str, ComputeOptimal]) -> list[str]:
    """What all of them rest on, said once: of how far they lie beyond the runs that of the furthest."""
    furthest = max(optima.values(), key=lambda one: one.extrapolation_gap_decades)
    said = [note for one in optima.values() for note in one.notes if not note.startswith(_BEYOND)]
    said += [note for note in furthest.notes if note.startswith(_BEYOND)]
    said += [
        f"{name}: no fitted run had it, so it counts as the baseline, with what levels differ by in the interval"
        for name, surface in surfaces.items()
        if _is_new(surface)
    ]
    carried_over = not all(ARCHITECTURE in model.fit.law.levels for model in next(iter(surfaces.values())).models)
    if carried_over:
        said.append(
            f"what mixers do is carried over from the runs of {PROXIES}; where one overtakes another is told by that "
            "predictor alone"
        )
    if carried_over or max(surface.fitted_range("params")[1] for surface in surfaces.values()) < LARGE:
        said.append(_SMALL_RUNS)
    return list(dict.fromkeys(said))
