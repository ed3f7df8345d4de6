"""One row per run: make run ids, drop exact repeats, refuse contradictions, turn rows per val_domain into targets."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .columns import is_standard
from .histories import settings_of, with_training_runs
from .raw_table import Cells, Frame, RawTable
from .statuses import STATUSES

__all__ = ["one_row_per_run"]


def one_row_per_run(raw: RawTable, frame: Frame) -> Frame:
    """Return the table with unique run_ids, in order of first appearance.

    Rows of one run at several tokens are points of it, see `histories`. A table with one row per (run, val_domain)
    comes back with one `loss.<val_domain>` column per domain.
    Raises RunTableError where two rows claim different things about the same run.
    """
    frame = _with_run_ids(raw, frame)
    if not frame["run_id"].is_unique:
        frame = _without_repeats(raw, frame)
    frame = with_training_runs(raw, frame)
    if frame["run_id"].is_unique:
        _note_mixed_domains(raw, frame)
        return frame
    is_long = "val_domain" in frame.columns and frame.groupby("run_id")["val_domain"].nunique().gt(1).any()
    keys = ["run_id", "val_domain"] if is_long else ["run_id"]
    _refuse_contradictions(raw, frame, keys)
    return _pivot(raw, frame)


def _with_run_ids(raw: RawTable, frame: Frame) -> Frame:
    if "run_id" in frame.columns and frame["run_id"].notna().all():
        return frame
    if "run_id" not in frame.columns:
        frame = _without_repeats(raw, frame)
    numbers = "row-" + (frame.index.to_series() + 1).astype(str).str.zfill(6)
    if "run_id" in frame.columns:
        blank = frame["run_id"].isna()
        raw.notes.append(f"made a run_id from the row number in {int(blank.sum())} rows")
        return frame.assign(run_id=frame["run_id"].where(~blank, numbers))
    made = "row number"
    if "val_domain" in frame.columns and frame["val_domain"].nunique() > 1:
        # One row per (run, val_domain) without a name for the run: rows that describe the same run are the same run.
        outcome = ("loss", "val_domain", "status")
        same = [c for c in frame.columns if is_standard(c) and c not in outcome and not c.startswith("loss.")]
        if same:
            numbers = numbers.groupby(frame.groupby(same, dropna=False).ngroup()).transform("first")
            made = "row that first describes the same run"
    raw.notes.append(f"made run_id from the {made}")
    frame.insert(0, "run_id", numbers)
    return frame


def _note_mixed_domains(raw: RawTable, frame: Frame) -> None:
    domains = frame["val_domain"].nunique() if "val_domain" in frame.columns and "loss" in frame.columns else 0
    if domains > 1:
        raw.notes.append(
            f"loss was measured on {domains} different val_domains; losses compare only within one of them"
        )


def _without_repeats(raw: RawTable, frame: Frame) -> Frame:
    repeats = frame.duplicated()
    if repeats.any():
        raw.notes.append(f"dropped {int(repeats.sum())} rows that repeat another row exactly: each run counts once")
    return frame[~repeats]


def _refuse_contradictions(raw: RawTable, frame: Frame, keys: list[str]) -> None:
    if len(keys) > 1:
        blank = frame["val_domain"].isna().to_numpy()
        if blank.any():
            raw.refuse_row(
                int(frame.index[int(np.argmax(blank))]),
                f"{raw.label('val_domain')}: an empty cell, but rows are told apart by it; expected a domain",
            )
    repeated = frame.duplicated(keys)
    if not repeated.any():
        return
    row = int(frame[repeated].index[0])
    alike = frame[(frame[keys] == frame.loc[row, keys]).all(axis=1)]
    # which no two points of one run can have
    settings = [str(c) for c in settings_of(frame) if alike[c].nunique() > 1]
    along = next((name for name in ("tokens", "steps") if name in frame.columns), None)
    if not settings and along is not None and alike[along].duplicated().any():
        # the rows at the same tokens contradict each other, not those at other tokens
        twice = alike[along][alike[along].duplicated()].iloc[0]
        alike = alike[alike[along] == twice]
        row = int(alike.index[1])
    first, first_row = alike.iloc[0], int(alike.index[0])
    if settings:
        row = int(alike.index[int(np.argmax(alike[settings[0]] != first[settings[0]]))])
    second = frame.loc[row]
    pair = pd.DataFrame([first, second], dtype=object)
    differs = [str(c) for c, values in pair.nunique(dropna=False).items() if values > 1]
    losses = [c for c in differs if c == "loss" or c.startswith("loss.")]
    column = (settings or losses or differs)[0]
    domain = f" and val_domain {second['val_domain']!r}" if len(keys) > 1 else ""
    raw.refuse_row(
        row,
        f"{raw.label('run_id')}: run_id {second['run_id']!r}{domain} is there already, at {raw.locate(first_row)}, "
        f"with {column} {first[column]} where this row has {column} {second[column]}; expected one row per run, per "
        "run and val_domain, or per run and tokens: points of one run, alike but for tokens and losses, are named "
        "run_id@tokens (which is made where tokens differ); if another column tells runs apart, say "
        "--columns run_id=COLUMN",
    )


def _pivot(raw: RawTable, frame: Frame) -> Frame:
    """Rows keyed by (run_id, val_domain) → one row per run. The caller has made sure that the keys are unique."""
    if "loss" not in frame.columns:
        raw.refuse("run_ids repeat with different val_domains, but there is no column 'loss' to take per domain")
    domains = list(frame["val_domain"].unique())
    clash = next((d for d in domains if f"loss.{d}" in frame.columns), None)
    if clash is not None:
        raw.refuse(f"has both a column 'loss.{clash}' and rows with val_domain {clash!r}; expected one of the two")
    losses = frame.pivot(index="run_id", columns="val_domain", values="loss")
    rest = frame.drop(columns=["loss", "val_domain"])
    rest["status"] = _worst_status(rest)
    by_run = rest.groupby("run_id", sort=False, dropna=False)
    varying = [c for c in rest.columns if c != "run_id" and by_run[c].nunique(dropna=False).gt(1).any()]
    extras = [c for c in varying if not is_standard(c)]
    if extras:
        raw.notes.append(f"dropped columns that vary with val_domain within a run: {', '.join(extras)}")
    for column in (c for c in varying if is_standard(c)):
        raw.notes.append(f"{column} differs between rows of one run: kept the first")
    runs = rest.drop(columns=extras)[~rest["run_id"].duplicated()]
    targets = losses.reindex(runs["run_id"])[domains].set_axis([f"loss.{d}" for d in domains], axis=1)
    raw.notes.append(f"{len(frame)} rows of (run, val_domain) became {len(runs)} runs with {len(domains)} targets")
    return pd.concat([runs, targets.set_axis(runs.index)], axis=1)


def _worst_status(frame: Frame) -> Cells:
    """A run that failed in one of its rows failed: the status of each row's run."""
    order = {status: rank for rank, status in enumerate((STATUSES[0], STATUSES[2], STATUSES[1]))}
    worst = frame["status"].map(order).astype(int).groupby(frame["run_id"]).transform("max")
    return worst.map({rank: status for status, rank in order.items()}).astype(frame["status"].dtype)
