"""The shipped model over tables: `datasets/facts/laws/hierarchy.json`, made by `benchmarks/facts_laws.py`.

It holds what the runs of each public table say of its coordinates, not the runs: a 7 × 7 matrix and a vector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from .coordinates import SIZE
from .labels import Labels
from .population import Population, Spreads, Table
from .posterior import Summary

_UPPER = np.triu_indices(SIZE)


@cache
def population() -> Population:
    """The public tables and how tables differ."""
    return from_dict(_data())


def term_moments(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(p,)` and covariance `(p, p)` of a term's parameters, at the reference point of the coordinates."""
    moments = _data()["terms"][name]
    return np.array(moments["mean"]), np.array(moments["covariance"])


def error_quantiles() -> np.ndarray:
    """Quantiles of |error| over s of the public tables, each source left out, on the calibration's grid of levels."""
    return np.array(_data()["quantiles"])


@cache
def _data() -> dict[str, Any]:
    text = resources.files("foretrain.datasets.facts.laws").joinpath("hierarchy.json").read_text(encoding="utf-8")
    return json.loads(text)


def to_dict(population: Population) -> dict[str, Any]:
    """Plain values for JSON, numbers to eight digits."""
    spreads = population.spreads
    return {
        "kinds": list(population.kinds),
        "shift": _rounded(population.shift),
        "spreads": {
            name: _rounded(getattr(spreads, name)[_UPPER]) for name in ("source", "evaluated_on", "corpus", "table")
        },
        "level_sd": {name: float(f"{sd:.4g}") for name, sd in sorted(spreads.level_sd.items())},
        "tables": [_table_to_dict(table) for table in population.tables],
    }


def from_dict(data: Mapping[str, Any]) -> Population:
    """The inverse of `to_dict`."""
    spreads = {name: _symmetric(values) for name, values in data["spreads"].items()}
    return Population(
        tables=tuple(_table_from_dict(entry) for entry in data["tables"]),
        spreads=Spreads(**spreads, level_sd=data["level_sd"]),
        kinds=tuple(data["kinds"]),
        shift=np.array(data["shift"], dtype=float),
    )


def _table_to_dict(table: Table) -> dict[str, Any]:
    labels = table.labels
    return {
        "source": labels.source,
        "corpus": dict(labels.corpus),
        "evaluated_on": labels.evaluated_on,
        "tokenizer": labels.tokenizer,
        "kinds": dict(labels.kinds),
        "bytes_per_token": float(f"{labels.bytes_per_token:.8g}"),
        "bytes_log_sd": float(f"{labels.bytes_log_sd:.4g}"),
        "facts": dict(table.facts),
        "information": _rounded(table.summary.information[_UPPER]),
        "vector": _rounded(table.summary.vector),
    }


def _table_from_dict(entry: Mapping[str, Any]) -> Table:
    names = ("source", "corpus", "evaluated_on", "tokenizer", "kinds", "bytes_per_token", "bytes_log_sd")
    summary = Summary(_symmetric(entry["information"]), np.array(entry["vector"], dtype=float))
    return Table(Labels(**{name: entry[name] for name in names}), summary, entry["facts"])


def _symmetric(upper: list[float]) -> np.ndarray:
    matrix = np.zeros((SIZE, SIZE))
    matrix[_UPPER] = upper
    return matrix + matrix.T - np.diag(np.diag(matrix))


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.8g}") for value in np.asarray(values)]
