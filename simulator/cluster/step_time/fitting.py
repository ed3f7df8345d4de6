"""Fitting efficiencies to measured steps: a mixed model in log time, robust, with an offset for every source.

Rows of one source share a software release, a cluster and a way of measuring, so their errors are correlated. Without
offsets a hundred rows of one source would bias parameters that all share; with them a source mostly informs about the
differences among its own rows. A new source has offset 0, and the spread of offsets is part of the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .efficiency import PARAMETERS, Efficiencies
from .parts import step_time
from .steps import FRAMEWORKS, GENERATIONS, Steps

__all__ = ["EfficiencyFit", "fit_efficiencies", "jacobian", "kind_offsets", "source_weights"]

SOURCE_SD = 0.3
"""Prior sd of the sources' offsets, log units. Wide, so that sources are free (chosen by leave-one-source-out)."""
NOISE_SD = 0.2
"""Sd of a row about its source, from layouts, releases and errors of this model, log units. Chosen likewise."""

KIND_VARIANCE = 0.5
"""Variance shared by sources with the same generation and software, over that of a single source (chosen likewise)."""

_ROWS_PER_SOURCE = 25  # a source counts as that many independent rows at most
_ROBUST_AT = 1.5  # soft-L1 from that many standard deviations on
_STEP = 1e-4  # of finite differences, log units
_PRIOR_MEANS = np.log([prior.median for prior in PARAMETERS.values()])
_PRIOR_SDS = np.array([prior.log_sd for prior in PARAMETERS.values()])


@dataclass(frozen=True)
class EfficiencyFit:
    """Fitted efficiencies, and how far each source lies off them: log units, above 0 where it is slower."""

    efficiencies: Efficiencies
    offsets: Mapping[str, float]

    def log_offsets(self, source: np.ndarray) -> np.ndarray:
        """Offsets of rows by their source, 0 for sources that were not fitted."""
        return np.array([self.offsets.get(str(name), 0.0) for name in source])


def kind_offsets(steps: Steps, source: np.ndarray, offsets: Mapping[str, float]) -> np.ndarray:
    """The expected offset of a new source by its generation and software: the mean of such sources, shrunk.

    (generations + 1, frameworks), log units; 0 for kinds without measurements.
    """
    generations = np.broadcast_to(steps.machines.generation, source.shape)
    frameworks = np.broadcast_to(steps.layouts.framework, source.shape)
    found: dict[tuple[int, int], list[float]] = {}
    for name in np.unique(source):
        row = int(np.argmax(source == name))
        found.setdefault((int(generations[row]), int(frameworks[row])), []).append(offsets[str(name)])
    kinds = np.zeros((len(GENERATIONS) + 1, len(FRAMEWORKS)))
    for cell, values in found.items():
        kinds[cell] = KIND_VARIANCE * sum(values) / (KIND_VARIANCE * len(values) + 1.0)
    return kinds


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
    """Fit all parameters and an offset for every source to measured steps; priors hold what the rows can't tell."""
    from scipy.optimize import least_squares

    names, index = np.unique(source, return_inverse=True)
    observed, rows, parameters = np.log(step_time_s), len(step_time_s), len(PARAMETERS)
    effective = min(rows, _ROWS_PER_SOURCE * len(names))
    scale = np.sqrt(source_weights(source) * effective / rows) / NOISE_SD

    def residuals(x: np.ndarray) -> np.ndarray:
        predicted = np.log(step_time(steps, Efficiencies.from_logs(x[:parameters])).total_s)
        misfit = scale * (predicted + SOURCE_SD * x[parameters:][index] - observed)
        return np.concatenate([misfit, (x[:parameters] - _PRIOR_MEANS) / _PRIOR_SDS, x[parameters:]])

    def derivatives(x: np.ndarray) -> np.ndarray:
        out = np.zeros((rows + parameters + len(names), parameters + len(names)))
        out[:rows, :parameters] = scale[:, None] * jacobian(steps, Efficiencies.from_logs(x[:parameters]))
        out[np.arange(rows), parameters + index] = scale * SOURCE_SD
        out[rows : rows + parameters, :parameters] = np.diag(1.0 / _PRIOR_SDS)
        out[rows + parameters :, parameters:] = np.eye(len(names))
        return out

    start = np.concatenate([_PRIOR_MEANS, np.zeros(len(names))])
    found = least_squares(residuals, start, jac=derivatives, loss="soft_l1", f_scale=_ROBUST_AT, max_nfev=40).x  # pyright: ignore[reportArgumentType]
    offsets = dict(zip(names.tolist(), (SOURCE_SD * found[parameters:]).tolist(), strict=True))
    return EfficiencyFit(Efficiencies.from_logs(found[:parameters]), offsets)
