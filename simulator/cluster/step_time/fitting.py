"""Fitting efficiencies to measured steps: a mixed model in log time, robust, with an offset for every source.

Rows of one source share a software release, a cluster and a way of measuring, so their errors are correlated. Without
offsets a hundred rows of one source would bias parameters that all share; with them a source mostly informs about the
differences among its own rows. A new source has offset 0, and the spread of offsets is part of the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .efficiency import PARAMETERS, Efficiencies
from .parts import step_time
from .releases import KINDS, RELEASE_STEP_SD, Releases, any_generation, release_kinds
from .steps import FRAMEWORKS, GENERATIONS, Steps

__all__ = [
    "EfficiencyFit",
    "fit_efficiencies",
    "jacobian",
    "kind_offsets",
    "source_weights",
    "sources_by_model",
]

SOURCE_SD = 0.3
"""Prior sd of the sources' offsets, log units. Wide, so that sources are free (chosen by leave-one-source-out)."""
NOISE_SD = 0.2
"""Sd of a row about its source, from layouts, releases and errors of this model, log units. Chosen likewise."""

KIND_VARIANCE = 1.0
"""Variance shared by sources with the same generation and software, over that of a single source (chosen likewise)."""
KIND_SCALE = 0.05
"""Log units about its kind from which a source counts less, as a Cauchy variable (chosen likewise: 0.1 does nearly as
well). One source of untuned software is 0.3 slower than its kind; a plain mean would take all of that kind with it."""

AGAIN_SD = 0.05
"""Sd of a row about the other measurements of its layout by its source, log units: what is left of NOISE_SD where only
the release differs (shared runs: 0.03 dense; 0.05 experts, outliers aside)."""

_ROWS_PER_SOURCE = 25  # a source counts as that many independent rows at most
_ROBUST_AT = 1.5  # soft-L1 from that many standard deviations on
_REWEIGHTED = 20  # times that kinds' means are reweighted
_STEP = 1e-4  # of finite differences, log units
_PRIOR_MEANS = np.log([prior.median for prior in PARAMETERS.values()])
_PRIOR_SDS = np.array([prior.log_sd for prior in PARAMETERS.values()])


@dataclass(frozen=True)
class EfficiencyFit:
    """Fitted efficiencies, and how far each source lies off them: log units, above 0 where it is slower."""

    efficiencies: Efficiencies
    offsets: Mapping[str, float]
    releases: Releases = field(default_factory=Releases.none)

    def log_offsets(self, source: np.ndarray) -> np.ndarray:
        """Offsets of rows by their source, 0 for sources that were not fitted."""
        return np.array([self.offsets.get(str(name), 0.0) for name in source])


def kind_offsets(steps: Steps, source: np.ndarray, offsets: Mapping[str, float]) -> np.ndarray:
    """The expected offset of a new source by its generation and software: a robust mean of such sources, shrunk.

    Told by dense models alone: the offsets of sources of mixtures of experts say little of each other.

    (generations + 1, frameworks), log units; 0 for kinds without measurements.
    """
    dense = np.flatnonzero(np.broadcast_to(steps.models.num_experts == 0, source.shape))
    steps, source = steps.take(dense), source[dense]
    generations = np.broadcast_to(steps.machines.generation, source.shape)
    frameworks = np.broadcast_to(steps.layouts.framework, source.shape)
    found: dict[tuple[int, int], list[float]] = {}
    for name in np.unique(source):
        row = int(np.argmax(source == name))
        found.setdefault((int(generations[row]), int(frameworks[row])), []).append(offsets[str(name)])
    kinds = np.zeros((len(GENERATIONS) + 1, len(FRAMEWORKS)))
    for cell, values in found.items():
        each = np.array(values)
        weights = _about(each, float(np.median(each)))
        for _ in range(_REWEIGHTED):
            weights = _about(each, float(weights @ each / weights.sum()))
        kinds[cell] = KIND_VARIANCE * (weights @ each) / (KIND_VARIANCE * weights.sum() + 1.0)
    return kinds


def _about(offsets: np.ndarray, middle: float) -> np.ndarray:
    """How much each source counts about the middle of its kind."""
    return 1.0 / (1.0 + ((offsets - middle) / KIND_SCALE) ** 2)


def sources_by_model(steps: Steps, source: np.ndarray) -> np.ndarray:
    """Names of the sources of rows (n,), each source's mixtures of experts as a source of their own.

    Kernels of experts differ between clusters by other causes than those of dense models: with one offset for both,
    experts of sources left out are 14 % off instead of 11.5.
    """
    experts = np.broadcast_to(steps.models.num_experts > 0, source.shape)
    names = source.astype(str)
    return np.where(experts, np.char.add(names, " (experts)"), names)


def source_weights(source: np.ndarray) -> np.ndarray:
    """Weights of rows, mean 1: a source with four times the rows counts twice, not four times."""
    _, index, counts = np.unique(source, return_inverse=True, return_counts=True)
    weights = counts[index] ** -0.5
    return weights / weights.mean()


def jacobian(steps: Steps, efficiencies: Efficiencies) -> np.ndarray:
    """Derivatives of log step time by the logarithms of all parameters, by forward differences. (n, parameters)"""
    logs, idle = efficiencies.logs(), _idle_kinds(steps)
    moving = [j for j, name in enumerate(PARAMETERS) if name.rpartition(".")[2] not in idle]
    # one row as it is, then one for each parameter that matters, a little larger
    moved = np.concatenate([logs[None], logs + _STEP * np.eye(len(logs))[moving]])
    log_s = np.log(step_time(steps, Efficiencies.side_by_side(moved)).total_s)
    slopes = np.zeros((*log_s.shape[1:], len(logs)))
    slopes[..., moving] = np.moveaxis((log_s[1:] - log_s[0]) / _STEP, 0, -1)
    return slopes


def _idle_kinds(steps: Steps) -> set[str]:
    """Generations and frameworks that none of the steps has: their parameters change nothing."""
    generations = set(np.ravel(steps.machines.generation).astype(int).tolist())
    frameworks = set(np.ravel(steps.layouts.framework).astype(int).tolist())
    idle = {name for i, name in enumerate(FRAMEWORKS) if i not in frameworks}
    if len(GENERATIONS) not in generations:  # a generation without measurements takes the mean of all
        idle |= {name for i, name in enumerate(GENERATIONS) if i not in generations}
    return idle


def fit_efficiencies(steps: Steps, step_time_s: np.ndarray, source: np.ndarray) -> EfficiencyFit:
    """Fit all parameters, an offset for every source and the walks of releases; priors hold what rows can't tell."""
    from scipy.optimize import least_squares

    names, index = np.unique(source, return_inverse=True)
    observed, rows, parameters = np.log(step_time_s), len(step_time_s), len(PARAMETERS)
    effective = min(rows, _ROWS_PER_SOURCE * len(names))
    walks, again = _release_walks(steps), _measured_again(steps, source)
    scale = np.sqrt(source_weights(source) * effective / rows) / np.where(again.any(axis=1), AGAIN_SD, NOISE_SD)
    # what shifts rows, in standard deviations of its prior: sources' offsets, layouts, steps from release to release
    offset = np.zeros((rows, len(names)))
    offset[np.arange(rows), index] = SOURCE_SD
    layouts = again * np.sqrt(NOISE_SD**2 - AGAIN_SD**2)
    shifts = np.concatenate([offset, *(columns for *_, columns in walks), layouts], axis=1)

    def residuals(x: np.ndarray) -> np.ndarray:
        predicted = np.log(step_time(steps, Efficiencies.from_logs(x[:parameters])).total_s)
        misfit = scale * (predicted + shifts @ x[parameters:] - observed)
        return np.concatenate([misfit, (x[:parameters] - _PRIOR_MEANS) / _PRIOR_SDS, x[parameters:]])

    def derivatives(x: np.ndarray) -> np.ndarray:
        out = np.zeros((rows + len(x), len(x)))
        out[:rows, :parameters] = scale[:, None] * jacobian(steps, Efficiencies.from_logs(x[:parameters]))
        out[:rows, parameters:] = scale[:, None] * shifts
        out[rows:] = np.diag(np.concatenate([1.0 / _PRIOR_SDS, np.ones(shifts.shape[1])]))
        return out

    start = np.concatenate([_PRIOR_MEANS, np.zeros(shifts.shape[1])])
    found = least_squares(residuals, start, jac=derivatives, loss="soft_l1", f_scale=_ROBUST_AT, max_nfev=40).x  # pyright: ignore[reportArgumentType]
    offsets = dict(zip(names.tolist(), (SOURCE_SD * found[parameters:][: len(names)]).tolist(), strict=True))
    known, at = {}, parameters + len(names)
    for numbers, kinds, columns in walks:
        width = len(numbers) - 1
        for kind, parts in kinds.items():
            steps_between = sum(found[at + part * width : at + (part + 1) * width] for part in parts)
            increments = np.sqrt(0.5) * RELEASE_STEP_SD[kind % len(KINDS)] * steps_between
            known[kind] = numbers, np.append(np.cumsum(increments[::-1])[::-1], 0.0)
        at += columns.shape[1]
    spread = _release_spread(steps, observed, again)
    return EfficiencyFit(Efficiencies.from_logs(found[:parameters]), offsets, Releases(known, spread))


def _release_walks(steps: Steps) -> list[tuple[np.ndarray, dict[int, tuple[int, ...]], np.ndarray]]:
    """Walks over releases, one for each software and kind of model with two releases at least.

    A walk is what accelerators have in common, plus as much of each generation's own. Of each walk: its releases (k,);
    by kind (`release_kinds`) which of its parts add up to it; how rows depend on the steps between releases, part
    after part (n, (k - 1) · parts). A row has all steps from its own release to the newest, in standard deviations.
    """
    release, kinds = np.broadcast_to(steps.layouts.release, (len(steps),)), release_kinds(steps)
    common, walks = any_generation(kinds), []
    for shared in np.unique(common[release > 0]).tolist():
        own = (common == shared) & (release > 0)
        numbers = np.unique(release[own])
        if len(numbers) < 2:
            continue
        later = release[:, None] <= numbers[None, :-1]
        each = np.unique(kinds[own]).tolist()
        parts = [own, *(own & (kinds == kind) for kind in each)]
        sd = np.sqrt(0.5) * RELEASE_STEP_SD[shared % len(KINDS)]
        columns = np.concatenate([sd * (rows[:, None] & later) for rows in parts], axis=1)
        walks.append((numbers, {shared: (0,), **{kind: (0, 1 + i) for i, kind in enumerate(each)}}, columns))
    return walks


def _measured_again(steps: Steps, source: np.ndarray) -> np.ndarray:
    """Rows (n,) by layouts (k,) that a source measured with several releases: True where the row is of the layout."""
    release = np.broadcast_to(steps.layouts.release, (len(steps),))
    alike = np.round(np.log(step_time(steps, Efficiencies.prior()).total_s), 7)
    found: dict[tuple[str, float], list[int]] = {}
    for row in np.flatnonzero(release > 0).tolist():
        found.setdefault((str(source[row]), float(alike[row])), []).append(row)
    several = [members for members in found.values() if len(np.unique(release[members])) > 1]
    rows = np.zeros((len(steps), len(several)), dtype=bool)
    for column, members in enumerate(several):
        rows[members, column] = True
    return rows


def _release_spread(steps: Steps, log_s: np.ndarray, again: np.ndarray) -> tuple[float, float]:
    """Sd of log step time between releases, by KINDS, of layouts measured with several (`_measured_again`)."""
    experts = np.broadcast_to(steps.models.num_experts > 0, log_s.shape)
    found = []
    for kind in range(len(KINDS)):
        each = [log_s[rows] for rows in again.T if experts[rows.argmax()] == kind]
        squares = sum(float(np.sum((logs - logs.mean()) ** 2)) for logs in each)
        found.append(float(np.sqrt(squares / sum(len(logs) - 1 for logs in each))) if each else RELEASE_STEP_SD[kind])
    return found[0], found[1]
