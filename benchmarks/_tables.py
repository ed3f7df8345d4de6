"""The shared run tables as fitting tasks: which rows belong together, read in place and never copied."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from foretrain.datasets.runs.run_table import RunTable
from foretrain.simulator.fitting.observations import Observations
from foretrain.simulator.predictor.params_kind import without_embeddings

DATA = Path(os.environ.get("FORETRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"


@dataclass(frozen=True)
class Task:
    """One table and one target. `source` groups tasks that share runs or authors: they are left out together."""

    source: str
    table: str
    target: str
    observations: Observations
    flops: np.ndarray

    @property
    def name(self) -> str:
        """`table/target`."""
        return f"{self.table}/{self.target}"


def read(name: str) -> pd.DataFrame:
    """A shared table as a frame; SystemExit with a clear reason where the shared data are absent."""
    path = DATA / name
    if not path.exists():
        raise SystemExit(f"{path} is absent: this benchmark reads the shared run tables in place")
    return pd.read_csv(path)


def best_per_cell(frame: pd.DataFrame) -> pd.DataFrame:
    """The lowest loss of each (params, tokens): several learning rates per cell are a sweep, not a law's noise."""
    frame = frame[frame.loss.notna()]
    return frame.loc[frame.groupby(["params", "tokens"]).loss.idxmin()].sort_index()


def tasks() -> list[Task]:
    """Every shared table in which N and D vary, one task for each target."""
    found = []

    def add(source, table, target, frame):
        if "batch_tokens" in frame and "steps" not in frame:
            frame = frame.assign(steps=(frame.tokens / frame.batch_tokens).round())
        frame = frame.drop(columns=[c for c in ("lr", "batch_tokens", "num_experts") if c in frame])
        run_table = without_embeddings(RunTable.from_frame(frame.reset_index(drop=True), where=table))
        rows = run_table.fit_rows("loss")
        found.append(Task(source, table, target, Observations.from_table(run_table, "loss"), rows.column("flops")))

    add("chinchilla", "chinchilla", "massivetext", read("chinchilla/runs.csv"))
    repeats = read("datablations/runs.csv")
    repeats = repeats[repeats.diverged_or_overfit == 0]
    once = repeats[repeats.epochs <= 1.01].drop(columns=["unique_tokens", "epochs"])
    add("datablations", "datablations", "c4", once)
    for domain, frame in read("olmo_ladder/runs.csv").groupby("val_domain"):
        add("olmo_ladder", "olmo_ladder", str(domain), frame.assign(run_id=np.arange(len(frame))))
    for (corpus, domain), frame in read("overtraining/runs.csv").groupby(["dataset", "val_domain"]):
        add("overtraining", f"overtraining_{corpus}", str(domain), frame)
    sweeps = read("misfitting/runs.csv").drop(columns=["status"])
    sweeps["flops"] = pd.to_numeric(sweeps.flops, errors="coerce").astype(float)
    for family in ("dense", "dense_v1"):
        add("misfitting", f"misfitting_{family}", "c4", best_per_cell(sweeps[sweeps.family == family]))
    steps = read("steplaw/dense_runs.csv")
    add("steplaw", "steplaw", "train", best_per_cell(steps[steps.diverged == 0]))
    return found
