"""New outcomes in a folder that training jobs write to: `new_results`."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from .....core.errors import DataWarning, InputError, LogError
from ....config.run_config import RunConfig
from .outcome import Asked, RunOutcome
from .outcome_folders import WANDB_SUMMARY, is_mlflow_run
from .reading import outcomes

__all__ = ["new_results"]

_LOGS = (".csv", ".jsonl", ".ndjson")
_DOCUMENTS = ("trainer_state.json",)
_MOST_FILES = 100_000


def new_results(
    folder: str | os.PathLike[str],
    seen: Collection[str] = (),
    *,
    study: str | None = None,
    configs: Mapping[int, RunConfig] | None = None,
    columns: Mapping[str, str] | None = None,
    quiet_s: float = 600.0,
    now: float | None = None,
) -> list[RunOutcome]:
    """The outcomes in a folder and its subfolders that haven't been seen before, each once.

    CSV files, JSON lines, trainer_state.json and the folders of MLflow and W&B runs are read. A run is matched to its
    proposal by a column, parameter or tag `foretrain_trial`, or by its name `<study>-<number>`. A run that isn't over
    is skipped until the next call. A run is over if its state says so; one that states no state is over once it has
    reached its planned tokens or its file hasn't changed for `quiet_s`. A file that is still damaged after that time
    causes a DataWarning.

    Args:
        folder: The folder to read.
        seen: Digests of outcomes that are known already.
        study: The study's name, with which the runs' names begin.
        configs: The plans of proposals by number.
        columns: The standard name of each column, as for a run table.
        quiet_s: Seconds without a change after which a run without a state counts as finished.
        now: The current time, seconds since 1970; default the clock's.

    Raises:
        LogError: There is no such folder.
    """
    asked = Asked(None, configs or {}, study, columns or {}, whole=False)
    now = time.time() if now is None else now
    found: dict[str, RunOutcome] = {}
    for path in _sources(Path(folder)):
        quiet = _quiet(path, now, quiet_s)
        for told in _read(path, replace(asked, whole=quiet)):
            if told.digest not in seen:
                found.setdefault(told.digest, told)
    return list(found.values())


def _read(path: Path, asked: Asked) -> Iterator[RunOutcome]:
    """The outcomes of one file or run folder. Errors become warnings once it is no longer being written."""
    try:
        results = [told for _, told in outcomes(path, asked)]
    except InputError as error:
        results = [error]
    for told in results:
        if isinstance(told, RunOutcome):
            yield told
        elif told is not None and asked.whole:
            warnings.warn(str(told), DataWarning, stacklevel=4)


def _sources(folder: Path) -> Iterator[Path]:
    """Files and run folders that may hold outcomes, in order; links and hidden folders aren't followed."""
    if not folder.is_dir():
        raise LogError(f"{folder}: there is no such folder; expected the one that runs write their results to")
    count = 0
    for parent, folders, names in os.walk(folder, followlinks=False):
        here = Path(parent)
        if is_mlflow_run(here):
            folders.clear()
            yield here
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        count += len(names)
        if count > _MOST_FILES:
            raise LogError(f"{folder}: holds more than {_MOST_FILES} files; expected the folder of one study's results")
        for name in sorted(names):
            if name.endswith(_LOGS) or name in (*_DOCUMENTS, WANDB_SUMMARY):
                yield here / name


def _quiet(path: Path, now: float, quiet_s: float) -> bool:
    """Whether nothing was written for `quiet_s` seconds. A folder's own time doesn't show changes to its files."""
    try:
        files = [path, *(file for file in path.rglob("*") if file.is_file())] if path.is_dir() else [path]
        return now - max(file.stat().st_mtime for file in files) >= quiet_s
    except OSError:  # gone meanwhile
        return False
