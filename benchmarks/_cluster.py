"""What the benchmarks of the cluster model share: the measured runs, fitting, leaving sources out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from _tables import DATA
from foretrain.simulator.cluster.step_time.efficiency import PARAMETERS
from foretrain.simulator.cluster.step_time.fitting import (
    fit_efficiencies,
    kind_offsets,
    source_weights,
    sources_by_model,
)
from foretrain.simulator.cluster.step_time.measurements.table import Measurements, read_measurements
from foretrain.simulator.cluster.step_time.parts import step_time
from foretrain.simulator.cluster.step_time.residual import features, fit_residual
from foretrain.simulator.cluster.step_time.step_model import LEVELS, Spread, StepTimeModel

RUNS = DATA / "measured_runs" / "runs.csv"
SMALL = "vtrain_single"
"""Small models on 2 to 8 devices: 73 % of the rows, so a fifth of them trains and the rest tests."""
SMALL_SHARE = 0.2

# A cluster's own offset, its deviations as shares of the priors' log_sd, and noise by kind of model: the most likely by
# the errors of small samples of rows of sources left out, as a multivariate t (0.07 to 0.14, 0.4 to 0.7, 0.05 to 0.1
# and 0.2 to 0.3 do nearly as well).
OFFSET_SD, DEVIATIONS = 0.1, 0.5
NOISE_SD, NOISE_SD_EXPERTS = 0.08, 0.25
_LARGEST_ERROR = 0.4  # log units; beyond, a row teaches the trees nothing but its accident


def measured() -> tuple[Measurements, pd.DataFrame]:
    """Every row that the model can express and that has a step time, and those rows of the table."""
    table = pd.read_csv(RUNS, low_memory=False)
    found = read_measurements(table, RUNS.name)
    found = found.take(np.flatnonzero(np.isfinite(found.step_time_s)))
    return found, table.iloc[found.rows].reset_index(drop=True)


def small_part(data: Measurements, seed: int = 0) -> np.ndarray:
    """Rows of the small models that train."""
    return (data.source == SMALL) & (np.random.default_rng(seed).random(len(data)) < SMALL_SHARE)


def fit_model(data: Measurements, learned: bool = True) -> tuple[StepTimeModel, dict[str, float]]:
    """Fit efficiencies and the residual to rows; the spread's widths are a Gaussian's until they are measured."""
    data = replace(data, source=sources_by_model(data.steps, data.source))
    fit = fit_efficiencies(data.steps, data.step_time_s, data.source)
    physics = step_time(data.steps, fit.efficiencies)
    explained = fit.log_offsets(data.source) + fit.releases.log_factor(data.steps)
    errors = np.log(data.step_time_s / physics.total_s) - explained
    residual = None
    if learned:
        clipped = np.clip(errors, -_LARGEST_ERROR, _LARGEST_ERROR)
        residual = fit_residual(features(data.steps, physics), clipped, source_weights(data.source))
    sds = np.array([OFFSET_SD, *(DEVIATIONS * prior.log_sd for prior in PARAMETERS.values())])
    gaussian = dict(zip(LEVELS, (0.674, 1.282, 1.645, 1.960), strict=True))
    spread = Spread(NOISE_SD, NOISE_SD_EXPERTS, gaussian)
    kinds = kind_offsets(data.steps, data.source, fit.offsets)
    model = StepTimeModel(fit.efficiencies, residual, spread, kinds, 0.0, np.diag(sds**2), fit.releases)
    return model, dict(fit.offsets)


def left_out(
    data: Measurements, learned: bool = True, seed: int = 0
) -> Iterator[tuple[str, np.ndarray, StepTimeModel]]:
    """For every source: its name, its rows to be predicted, and a model that hasn't seen it.

    Of the small models a fifth trains, as their source's own calibration, and the rest is predicted.
    """
    small, train_small = data.source == SMALL, small_part(data, seed)
    for name in np.unique(data.source):
        own = data.source == name
        if name == SMALL:
            model, offsets = fit_model(data.take(np.flatnonzero(~small | train_small)), learned)
            yield (
                name,
                np.flatnonzero(own & ~train_small),
                replace(model, kinds=np.zeros_like(model.kinds), offset=offsets[SMALL]),
            )
        else:
            yield (
                name,
                np.flatnonzero(own),
                fit_model(data.take(np.flatnonzero(~own & (~small | train_small))), learned)[0],
            )


def spread_widths(standardised: np.ndarray, source: np.ndarray) -> dict[float, float]:
    """Half-widths by level at which the mean over sources of the share inside is the level."""
    grid = np.linspace(0.02, 6.0, 600)
    inside = np.mean(
        [[np.mean(np.abs(standardised[source == s]) <= g) for g in grid] for s in np.unique(source)], axis=0
    )
    return {level: float(np.round(np.interp(level, inside, grid), 3)) for level in LEVELS}
