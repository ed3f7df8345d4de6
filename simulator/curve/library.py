"""Curves on disk: a folder with `runs.csv` and `curves/<run_id>.csv` (see shared/data/loss_curves/README.md)."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import ConfigError
from ...units import parse_count
from .path import RatePath, named_path, piecewise_path, wsd_path

END_POINTS = 3
"""The final loss of a curve is the mean of its last three points, as in the shared table."""


@dataclass(frozen=True)
class Curve:
    """One run: loss in nats per token `loss: (n,)` at `step: (n,)`, under the rates of `path`.

    Runs of one `family` (maker, corpus, recipe) share the law's shape; those of one size in it (parameters) its level.
    """

    run_id: str
    family: str
    size: float
    path: RatePath
    step: np.ndarray
    loss: np.ndarray

    @property
    def group(self) -> str:
        """Key of the runs that share a level."""
        return f"{self.family}/{self.size:g}"

    @property
    def final_loss(self) -> float:
        """Mean of the last three points, nats."""
        return float(self.loss[-END_POINTS:].mean())

    def until(self, step: float) -> Curve:
        """The prefix up to `step`; the path stays that of the whole plan."""
        seen = self.step <= step
        return replace(self, step=self.step[seen], loss=self.loss[seen])


def planned_path(row: dict[str, str]) -> RatePath:
    """Exact rates of a row of `runs.csv`: schedule, total_steps, warmup_steps, decay_start, lr_peak, lr_final."""
    steps, warmup = int(row["total_steps"]), int(row["warmup_steps"])
    final = float(row["lr_final"]) / float(row["lr_peak"])
    kind = row["schedule"]
    if kind in ("cosine", "constant", "linear"):
        return named_path(kind, steps, warmup, final)
    start = int(float(row["decay_start"]))
    if kind == "two_stage":
        return piecewise_path(steps, warmup, {start: final})
    if kind in ("wsd_linear", "wsd_exp", "wsd_sqrt"):
        return wsd_path(steps, warmup, start, final, {"exp": "exponential"}.get(kind[4:], kind[4:]))
    raise ConfigError(f"runs.csv, {row['run_id']}: unknown schedule {kind!r}")


def read_curves(folder: Path) -> dict[str, Curve]:
    """Every curve of a folder, by run_id."""
    with (folder / "runs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["run_id"]: _read(folder, row) for row in rows}


def _read(folder: Path, row: dict[str, str]) -> Curve:
    data = np.genfromtxt(folder / "curves" / f"{row['run_id']}.csv", delimiter=",", names=True)
    size = parse_count(row["size_label"])
    return Curve(row["run_id"], row["source"], size, planned_path(row), data["step"], data["loss"])
