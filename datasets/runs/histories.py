"""Histories: rows that are points of one training run, and how far along its schedule each of them is.

A run is told by, in this order: a column `training_run`; a run_id that comes at several tokens, or the part of it
before an `@`; and where a column `checkpoint` marks rows before the end of their schedule, the settings they share.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .columns import is_standard
from .raw_table import Cells, Frame, RawTable

__all__ = ["origins", "progress", "settings_of", "with_training_runs"]

_NAMES = ("run", "name", "model")
"""Extra columns that tell training runs apart, beside the settings of a run."""

_SHARE_DIGITS = 4  # shares of one run that differ by less were rounded

_ALONG_A_RUN = frozenset(
    (
        *("tokens", "flops", "steps", "epochs", "unique_tokens", "lr", "lr_final"),
        *("loss", "status", "run_id", "checkpoint", "val_domain", "bytes_per_token"),
    )
)
"""What may differ between points of one run."""


def with_training_runs(raw: RawTable, frame: Frame) -> Frame:
    """Return the table with unique run_ids and a column `training_run` where rows are points of runs, with a note."""
    if "training_run" in frame.columns:
        return frame
    repeated = _several_tokens(frame)
    found = _named_by_tokens(raw, frame, repeated) if repeated.any() else _grouped_by_settings(raw, frame)
    return _with_peak_rates(raw, found) if "training_run" in found.columns else found


def _several_tokens(frame: Frame) -> Cells:
    """Rows whose run_id comes at several tokens (or steps), everything that a run's settings are being the same."""
    along = next((name for name in ("tokens", "steps") if name in frame.columns), None)
    by_run = frame.groupby("run_id", sort=False)
    if along is None or "params" not in frame.columns:
        return pd.Series(False, frame.index)
    keys = ["run_id", along, *(["val_domain"] if "val_domain" in frame.columns else [])]
    differ = by_run[along].transform("nunique").gt(1)
    for name in settings_of(frame):
        differ &= frame[name].round(_SHARE_DIGITS).groupby(frame["run_id"], sort=False).transform("nunique").le(1)
    twice = frame.duplicated(keys, keep=False).groupby(frame["run_id"]).transform("any")
    return differ & ~twice & frame[along].notna()


def settings_of(frame: Frame) -> list[str]:
    """Columns that tell runs apart whatever they are called: their size, and their mix."""
    return [name for name in frame.columns if name == "params" or (name.startswith("mix.") and is_standard(name))]


def _named_by_tokens(raw: RawTable, frame: Frame, rows: Cells) -> Frame:
    """Name points of a run `<run_id>@<tokens>`, its last one by the run_id, and mark those before it."""
    along = "tokens" if "tokens" in frame.columns else "steps"
    place = frame[along]
    last = place == place.groupby(frame["run_id"]).transform("max")
    named = frame["run_id"] + "@" + place.map(lambda value: f"{value:.12g}" if np.isfinite(value) else "")
    runs = int(frame["run_id"][rows].nunique())
    raw.notes.append(
        f"{int(rows.sum())} rows share {runs} run_id{'s' * (runs > 1)} at several {along}: each run is a curve, its "
        f"points are named run_id@{along} and those before its last one count less"
    )
    changed = frame.assign(training_run=frame["run_id"], run_id=frame["run_id"].where(~rows | last, named))
    if "checkpoint" not in frame.columns:
        changed["checkpoint"] = (rows & ~last).astype(float)
    return changed


def _grouped_by_settings(raw: RawTable, frame: Frame) -> Frame:
    """Group rows of the same settings and name into runs, if something says that they are points of runs."""
    along = next((name for name in ("tokens", "steps", "flops") if name in frame.columns), None)
    marks = frame["checkpoint"] if "checkpoint" in frame.columns else pd.Series(0.0, frame.index)
    names = [name for name in _NAMES if name in frame.columns and not is_standard(name)]
    is_flag = pd.api.types.is_float_dtype(marks)
    marked = is_flag and bool(marks.eq(1).any())
    if along is None or not (marked or (names and ("step" in frame.columns or not is_flag))):
        return frame

    settings = [name for name in frame.columns if is_standard(name) and not _differs_along_a_run(name)]
    alike = frame.groupby(names + settings, dropna=False, sort=False).ngroup()
    if marked:
        # two finished runs of the same settings are two runs, whatever points there are beside them
        finished = marks.ne(1)
        several = finished.groupby(alike).transform("sum").gt(1) & finished
        runs = frame["run_id"].groupby(alike).transform("first").where(~several, frame["run_id"])
    elif frame.assign(_alike=alike).duplicated(["_alike", along]).any():
        return frame
    else:
        runs = frame["run_id"].groupby(alike).transform("first")
    points = runs.value_counts()
    if points.max() == 1:
        return frame
    raw.notes.append(
        f"{int(points[points > 1].sum())} rows are points of {int((points > 1).sum())} training runs, alike but for "
        f"their {along}: each run is a curve, and its points before the end of its schedule count less"
    )
    found = frame.assign(training_run=runs)
    if not marked and "checkpoint" not in frame.columns:
        found["checkpoint"] = (frame[along] < frame[along].groupby(runs).transform("max")).astype(float)
    return found


def _with_peak_rates(raw: RawTable, frame: Frame) -> Frame:
    """Where the learning rate falls along a run, give all of its points the highest: laws speak of peak rates."""
    if "lr" not in frame.columns:
        return frame
    peak = frame["lr"].groupby(frame["training_run"]).transform("max")
    if (frame["lr"] < peak).any():
        raw.notes.append("lr changes along the runs: took the highest of each")
    return frame.assign(lr=peak)


def _differs_along_a_run(name: str) -> bool:
    return name in _ALONG_A_RUN or name.startswith("loss.")


def origins(frame: Frame) -> np.ndarray | None:
    """The training run of each row, numbered, (n_rows,); None if every row is a run of its own."""
    if "run_id" not in frame.columns:
        return None
    names = [str(run_id).partition("@")[0] for run_id in frame["run_id"]]
    if "training_run" in frame.columns:
        stated = frame["training_run"]
        names = [name if pd.isna(run) else str(run) for name, run in zip(names, stated, strict=True)]
    distinct, numbers = np.unique(names, return_inverse=True)
    return None if len(distinct) == len(names) else numbers


def progress(frame: Frame) -> np.ndarray:
    """Share of its run's tokens that each row has seen, (n_rows,): 1 but for rows that `checkpoint` marks.

    Those are set against `tokens_planned`, else against the most tokens that a row of their run has.
    """
    tokens = frame["tokens"].to_numpy(dtype=float)
    found = np.ones(len(frame))
    if "checkpoint" not in frame.columns or not pd.api.types.is_float_dtype(frame["checkpoint"]):
        return found
    early = frame["checkpoint"].eq(1).to_numpy() & np.isfinite(tokens)
    numbers = origins(frame)
    most = pd.Series(tokens).groupby(np.arange(len(frame)) if numbers is None else numbers).transform("max").to_numpy()
    if "tokens_planned" in frame.columns:
        planned = frame["tokens_planned"].to_numpy(dtype=float)
        most = np.where(np.isnan(planned), most, planned)
    found[early] = np.minimum(tokens[early] / most[early], 1.0)
    return found
