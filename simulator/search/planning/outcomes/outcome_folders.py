"""Folders that trackers write for each run, read as flat mappings: MLflow's file store, and the files of a W&B run.

Only plain files of bounded size are read; links out of the folder aren't followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .....core.errors import LogError
from .....core.files import read_bounded_text
from .....core.reading.yaml_reader import load_yaml
from .....datasets.run_logs.records import flat, read_records

__all__ = ["WANDB_SUMMARY", "is_mlflow_run", "mlflow_facts", "wandb_facts"]

WANDB_SUMMARY = "wandb-summary.json"
"""Name of the file in which W&B keeps the last value of each metric."""

_MLFLOW_STATES = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}  # its enum RunStatus
_MAX_METRIC_BYTES = 1 << 26
_MAX_TEXT_BYTES = 1 << 16
_MOST_KEYS = 5_000
_MAX_RUN_BYTES = 1 << 28  # of all files of a run


def is_mlflow_run(folder: Path) -> bool:
    """Whether a folder is an MLflow run; an experiment's folder has a meta.yaml too, but no metrics."""
    return (folder / "meta.yaml").is_file() and ((folder / "metrics").is_dir() or (folder / "params").is_dir())


def mlflow_facts(folder: Path) -> dict[str, Any] | None:
    """The values in an MLflow run's files, by the keys of MLflow's CSV export; None for a deleted run.

    A metric's value is that of the last step. Raises `LogError` or `ConfigError` for damaged files.
    """
    meta = load_yaml(folder / "meta.yaml")
    if meta.get("lifecycle_stage") == "deleted":
        return None
    state = meta.get("status")
    known = _MLFLOW_STATES.get(state) if isinstance(state, int) else str(state).lower()
    if known is None:
        raise LogError(f"{folder / 'meta.yaml'}: status: got {state}; expected {_states()}")
    facts: dict[str, Any] = {"run_id": meta.get("run_id") or meta.get("run_uuid") or folder.name, "status": known}
    if meta.get("run_name"):
        facts["run_name"] = meta["run_name"]
    for key, path in _keys(folder / "params"):
        facts[f"params.{key}"] = read_bounded_text(path, _MAX_TEXT_BYTES, LogError).strip()
    for key, path in _keys(folder / "tags"):
        facts[f"tags.{key}"] = read_bounded_text(path, _MAX_TEXT_BYTES, LogError).strip()
    for key, path in _keys(folder / "metrics"):
        facts[f"metrics.{key}"] = _last_value(path)
    return facts


def wandb_facts(folder: Path, whole: bool) -> dict[str, Any]:
    """The values in a W&B run's files, by the keys of W&B's CSV export.

    The files hold no state: a run counts as finished once W&B has written its run time, or with `whole`.

    Args:
        folder: The folder with the summary, or the one whose subfolder `files` has it.
        whole: Whether the files are no longer being written.
    """
    files = folder if (folder / WANDB_SUMMARY).is_file() else folder / "files"
    summary = dict(read_records(files / WANDB_SUMMARY).rows[0][1])
    ended = whole or "_wandb/runtime" in summary
    home = files.parent if files.name == "files" else files
    facts: dict[str, Any] = {"run_id": home.name, "State": "finished" if ended else "running"}
    facts |= {f"summary.{key}": value for key, value in summary.items()}
    if (files / "config.yaml").is_file():
        for key, entry in load_yaml(files / "config.yaml").items():
            value = entry.get("value") if isinstance(entry, dict) and "value" in entry else entry
            if not key.startswith(("_wandb", "wandb_")):
                nested = flat(value, f"{key}/") if isinstance(value, dict) else {key: value}
                facts |= {f"config.{name}": one for name, one in nested.items()}
    return facts


def _keys(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every key that MLflow stores in a folder, and its file; keys with a slash are in subfolders."""
    count = size = 0
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_symlink() or not path.is_file():
                continue
            count, size = count + 1, size + path.stat().st_size
            if size > _MAX_RUN_BYTES:
                raise LogError(f"{folder}: holds more than {_MAX_RUN_BYTES} bytes; expected the folder of one run")
            if count > _MOST_KEYS:
                raise LogError(f"{folder}: holds more than {_MOST_KEYS} keys; expected the folder of one run")
            yield path.relative_to(folder).as_posix(), path


def _last_value(path: Path) -> str:
    """The value at the last step of a metric's file: lines of time, value and step."""
    best: tuple[float, str] | None = None
    text = read_bounded_text(path, _MAX_METRIC_BYTES, LogError)
    lines = text.split("\n")
    # text after the last line end is still being written
    for at, line in enumerate(lines[:-1], 1):
        parts = line.split()
        if not parts:
            continue
        try:
            step = float(parts[2]) if len(parts) > 2 else float(at)
        except ValueError:
            raise LogError(f"{path}: line {at}: got {line[:60]!r}; expected time, value and step") from None
        if len(parts) < 2:
            raise LogError(f"{path}: line {at}: got {line[:60]!r}; expected time, value and step")
        if best is None or step >= best[0]:
            best = (step, parts[1])
    return "" if best is None else best[1]


def _states() -> str:
    return ", ".join(f"{number} ({word})" for number, word in _MLFLOW_STATES.items())
