"""Published or own measurements of training steps: a table of rows → `Steps`, what was measured, and what was skipped.

The columns are those of a table of measured runs (one row per configuration): the model's shape, the hardware, the
layout, and `step_time_s`, `peak_mem_gib`. Rows that can't be expressed are counted by reason, never guessed at
(`table_rows.py` says which).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .....core.errors import RunTableError
from .....core.model.architecture import Architecture
from ...layouts.unstated import usual_of_memory
from ..steps import Kernels, Layouts, Steps, layouts, model
from .table_rows import (
    Cell,
    SkippedError,
    clean,
    framework_index,
    kernels_in,
    layout_of,
    machine_key,
    machine_of,
    positive,
    shape_fields,
    shape_of,
    text,
    unstated,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["REQUIRED", "Measurements", "framework_index", "load_measurements", "read_measurements"]

REQUIRED = ("n_layers", "d_model", "n_heads", "d_ff", "vocab", "seq_len", "gpu", "n_gpus", "global_batch")
"""Columns without which no row can be expressed."""

_SAME = (
    "sub_source", "model", "n_layers", "d_model", "n_heads", "d_ff", "seq_len", "gpu", "n_gpus", "precision",
    "global_batch", "framework",
)  # fmt: skip
"""Columns in which rows agree that differ only in layout."""
_MOST_REASONS = 12


@dataclass(frozen=True)
class Measurements:
    """Measured steps that the model can express. Arrays (n,); NaN where a row doesn't have the figure."""

    steps: Steps
    step_time_s: np.ndarray
    peak_memory_gib: np.ndarray
    memory_kind: np.ndarray
    """What was read: `device` (the driver's figure, everything included), `reserved` (the allocator's), else
    `allocated` (what tensors took of it)."""
    source: np.ndarray
    group: np.ndarray
    """Same model, machines, batch and software: rows that differ only in layout. Codes from 0."""
    recompute_known: np.ndarray
    """Whether it was published what is recomputed. Where not, nothing is taken to be."""
    ran: np.ndarray
    """False for rows whose `status` says that memory ran out: neither time nor peak, but an answer to what fits."""
    rows: np.ndarray
    """Positions in the table."""
    skipped: Mapping[str, int]
    assumed: Mapping[str, int] = field(default_factory=dict)
    """Keys of the layout that rows don't state, which were taken as usual, with the number of those rows."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> Measurements:
        """Some of the rows."""
        parts = {name: getattr(self, name)[chosen] for name in _PER_ROW}
        return Measurements(steps=self.steps.take(chosen), skipped=self.skipped, assumed=self.assumed, **parts)


_PER_ROW = ("step_time_s", "peak_memory_gib", "memory_kind", "source", "group", "recompute_known", "ran", "rows")


def _memory_kind(words: str) -> str:
    if "smi" in words or "device" in words:
        return "device"
    return "reserved" if "reserved" in words else "allocated"


def load_measurements(path: str) -> Measurements:
    """Read a CSV or Parquet file and express its rows. Raises `RunTableError` as `read_measurements` does."""
    import pandas as pd

    from .....datasets.runs.raw_table import read_raw

    frame = read_raw(path).frame
    for name in frame.columns:
        try:
            frame[name] = pd.to_numeric(frame[name])
        except (ValueError, TypeError):
            continue  # text, or a number in some rows only: looked at cell by cell
    return read_measurements(frame, path)


def read_measurements(table: pd.DataFrame, where: str = "table") -> Measurements:
    """Express the rows of a table. Raises `RunTableError` for missing columns or if no row can be expressed."""
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise RunTableError(f"{where}: has no column {', '.join(missing)}; expected {', '.join(REQUIRED)}")
    if not table.columns.is_unique:
        twice = ", ".join(map(str, table.columns[table.columns.duplicated()].unique()))
        raise RunTableError(f"{where}: has column {twice} more than once; expected each once")
    found = _Found()
    for position, row in enumerate(table.to_dict("records")):
        found.add(position, {str(name): clean(value) for name, value in row.items()})
    if not found.rows:
        reasons = "; ".join(f"{count} {reason}" for reason, count in found.skipped.most_common(_MOST_REASONS))
        raise RunTableError(f"{where}: no row can be expressed ({reasons or 'it is empty'})")
    return found.measurements()


class _Found:
    """Rows expressed so far. Models and machines are kept once each."""

    def __init__(self) -> None:
        self.shapes: dict[Hashable, Architecture] = {}
        self.models = _Unique()
        self.machines = _Unique()
        self.groups: dict[Hashable, int] = {}
        self.layouts: list[dict[str, float]] = []
        self.kernels: list[dict[str, float]] = []
        self.facts: list[dict[str, Any]] = []
        self.rows: list[int] = []
        self.skipped: Counter[str] = Counter()
        self.assumed: Counter[str] = Counter()

    def add(self, position: int, row: Mapping[str, Cell]) -> None:
        try:
            seconds, gib = positive(row, "step_time_s"), positive(row, "peak_mem_gib")
            failed = "oom" in text(row, "status")
            if seconds is None and gib is None and not failed:
                raise SkippedError("without step_time_s or peak_mem_gib")
            key, shape = self._shape(row)
            layout, kernels = layout_of(row, shape.layers), kernels_in(row)
            self.machines.add(machine_key(row), lambda: machine_of(row))
        except SkippedError as reason:
            self.skipped[str(reason)] += 1
            return
        self.models.add(key, lambda: model(shape))
        open_keys = unstated(row)
        if open_keys:
            layout = usual_of_memory(self.models.last, self.machines.last, layout, open_keys)
        self.assumed.update(open_keys)
        self.layouts.append(layout)
        self.kernels.append(kernels)
        self.rows.append(position)
        same = tuple(row.get(name) for name in _SAME)
        sources = [name for name in ("sub_source", "source") if name in row]
        self.facts.append(
            {
                "step_time_s": math.nan if seconds is None else seconds,
                "peak_memory_gib": math.nan if gib is None else gib,
                "memory_kind": _memory_kind(text(row, "mem_kind")),
                "ran": not failed,
                "source": str(row[sources[0] if sources else "gpu"] or "unknown"),
                "group": self.groups.setdefault(same, len(self.groups)),
                "recompute_known": text(row, "recompute") not in ("", "unknown"),
            }
        )

    def _shape(self, row: Mapping[str, Cell]) -> tuple[Hashable, Architecture]:
        fields, stated = shape_fields(row), positive(row, "params_total_b")
        key = (*fields.items(), stated)
        if key not in self.shapes:
            self.shapes[key] = shape_of(fields, stated)
        return key, self.shapes[key]

    def measurements(self) -> Measurements:
        columns = {name: np.array([one[name] for one in self.layouts], dtype=float) for name in self.layouts[0]}
        kernels = {name: np.array([one[name] for one in self.kernels]) for name in self.kernels[0]}
        plans = Layouts(**vars(layouts(**columns)))
        facts = {name: np.array([one[name] for one in self.facts]) for name in self.facts[0]}
        return Measurements(
            steps=Steps(self.models.join(), self.machines.join(), plans, kernels=Kernels(**kernels)),
            rows=np.array(self.rows),
            skipped=dict(self.skipped),
            assumed=dict(self.assumed),
            **facts,
        )


class _Unique:
    """Structs by key, and which of them each row uses."""

    def __init__(self) -> None:
        self.keys: dict[Hashable, int] = {}
        self.made: list[Any] = []
        self.index: list[int] = []

    def add(self, key: Hashable, make: Callable[[], Any]) -> None:
        if key not in self.keys:
            self.made.append(make())  # first, as it may fail
            self.keys[key] = len(self.made) - 1
        self.index.append(self.keys[key])

    @property
    def last(self) -> Any:
        """The struct of the row that was added last."""
        return self.made[self.index[-1]]

    def join(self) -> Any:
        joined = type(self.made[0]).join(self.made)
        return joined.take(np.array(self.index)) if len(self.made) > 1 else joined
