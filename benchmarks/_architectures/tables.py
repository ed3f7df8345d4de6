"""The run table of all mixers, cut as the benchmark needs it: by mixer, by size, with or without domains."""

from __future__ import annotations

import numpy as np
import pandas as pd
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting import known_columns
from foretrain.simulator.predictor.prediction import LossPrediction
from foretrain.simulator.predictor.predictor import Predictor

from .campaigns import MIXERS, RESULTS

__all__ = [
    "BASELINE",
    "FEWEST_TOKENS_PER_PARAM",
    "by_tokens",
    "cut",
    "fittable",
    "largest",
    "mixers_of",
    "of_mixer",
    "predicted",
    "read",
    "sizes_of",
    "whole_mixers",
]

BASELINE = MIXERS[0]
SIZES = 4
"""Of every mixer's campaign."""
FEWEST_TOKENS_PER_PARAM = 2
"""Shorter runs are hardly past their warm-up, and bend the law of the rest: the largest size counts from 0.5M on."""


def read() -> RunTable:
    """The run table that the campaigns wrote."""
    if not RESULTS.is_file():
        raise SystemExit(f"{RESULTS} is absent: train first, `python benchmarks/architectures.py train`")
    return RunTable.read(RESULTS)


def mixers_of(table: RunTable) -> list[str]:
    """The mixers of a table, the transformer first."""
    there = set(table.frame["architecture"])
    return [name for name in MIXERS if name in there]


def cut(table: RunTable, rows: np.ndarray, main_loss_alone: bool = False) -> RunTable:
    """Some rows, with all losses or with the mean over domains alone."""
    found = table.select(rows)
    if not main_loss_alone:
        return found
    return RunTable.from_frame(
        found.frame.drop(columns=[name for name in found.frame if name.startswith("loss.")]), where=found.where
    )


def whole_mixers(table: RunTable) -> list[str]:
    """The mixers of which every size is trained: those whose largest can be held against the smaller ones."""
    return [name for name in mixers_of(table) if len(sizes_of(table, name)) >= SIZES]


def of_mixer(table: RunTable, name: str) -> np.ndarray:
    """Which rows are a mixer's."""
    return (table.frame["architecture"] == name).to_numpy()


def sizes_of(table: RunTable, name: str) -> list[float]:
    """The parameters of a mixer's sizes, ascending."""
    return sorted(set(table.column("params")[of_mixer(table, name)]))


def largest(table: RunTable, count: int = 1) -> np.ndarray:
    """Which rows are of the `count` largest sizes of their mixer, or of all that it has."""
    params, found = table.column("params"), np.zeros(len(table), dtype=bool)
    for name in mixers_of(table):
        found |= of_mixer(table, name) & (params >= sizes_of(table, name)[-count:][0])
    return found


def fittable(table: RunTable) -> np.ndarray:
    """Which rows have tokens enough for their size to be fitted on."""
    return table.column("tokens") >= FEWEST_TOKENS_PER_PARAM * table.column("params")


def predicted(fitted: Predictor, rows: RunTable, target: str) -> LossPrediction:
    """What a predictor says of the runs of a table."""
    return fitted.predict(known_columns(rows), target)


def by_tokens(table: RunTable, name: str, seed: float) -> pd.DataFrame:
    """The mean loss of one mixer's runs of a seed: a row a size, a column a token budget."""
    frame = table.frame
    its = frame[(frame["architecture"] == name) & (frame["seed"] == seed)]
    return its.pivot_table(index="params", columns="tokens", values="loss").sort_index()
