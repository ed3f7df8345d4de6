"""The outcomes of real training runs, from the files of experiment trackers: `read_outcome`, `read_outcomes`.

Supported are the files of a W&B run, its summary as JSON or an export of runs as CSV; MLflow's run folder or export;
and the log of a run's metrics as CSV, JSON lines or JSON. Nothing is downloaded or executed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from .....core.errors import InputError, LogError
from .....datasets.run_logs.names import STEPS, folded
from .....datasets.run_logs.records import Records, read_records
from ....config.run_config import RunConfig
from .outcome import TRIAL_KEY, Asked, RunOutcome, Status, status_word
from .outcome_folders import WANDB_SUMMARY, is_mlflow_run, mlflow_facts, wandb_facts
from .outcome_logs import outcome_of_log
from .outcome_rows import outcome_of_row

__all__ = ["TRIAL_KEY", "Asked", "RunOutcome", "Status", "outcomes", "read_outcome", "read_outcomes"]

_EXPORT = ("metrics.", "params.", "tags.", "config.", "summary.", "summary/")  # before keys that trackers export
_IDS = ("run_id", "id", "run_uuid", "name", "run_name", TRIAL_KEY)


def read_outcome(
    source: str | os.PathLike[str],
    config: RunConfig | None = None,
    *,
    study: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> RunOutcome:
    r"""Read the outcome of one finished run from a file or folder: a W&B or MLflow run, an export, or a log of metrics.

    Args:
        source: The file or folder.
        config: The run's plan, which gives size and tokens where the run says neither, and shows whether it broke off.
        study: The name that runs carry, as `<study>-<number>`.
        columns: Standard names of columns, mapped to the source's own names.

    Returns:
        Status, losses by target in nats per token, tokens and parameters.

    Raises:
        LogError: The source can't be read, holds several runs, or one that isn't over.
        RunTableError: An export is wrong.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> config = foretrain.RunConfig.from_mapping({
    ...     "model": {"params": "1B"}, "data": {"tokens": "4B"}, "optim": {"batch_tokens": "1M"}
    ... })
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "run.csv").write_text("step,val_loss\n1000,3.1\n4000,2.7\n")
    ...     found = foretrain.read_outcome(f"{folder}/run.csv", config)
    >>> found.status, found.losses, found.tokens
    ('ok', {'loss': 2.7}, 4000000000.0)
    """
    found = list(outcomes(source, Asked(config, {}, study, columns or {})))
    for _, told in found:
        if isinstance(told, InputError):
            raise told
    over = [told for _, told in found if isinstance(told, RunOutcome)]
    if len(found) == 1 and over:
        return over[0]
    if not over:
        raise LogError(f"{source}: its run isn't over; expected the outcome of one that is")
    raise LogError(f"{source}: holds {len(found)} runs; expected one (read_outcomes reads several)")


def read_outcomes(source: str | os.PathLike[str], asked: Asked | None = None) -> list[RunOutcome]:
    """The outcomes of all finished runs of a file or a run's folder. Raises the errors of `read_outcome`."""
    results = []
    for _, told in outcomes(source, asked or Asked()):
        if isinstance(told, InputError):
            raise told
        results += [] if told is None else [told]
    return results


def outcomes(source: str | os.PathLike[str], asked: Asked) -> Iterator[tuple[str, RunOutcome | InputError | None]]:
    """The location of each run of a file or a run's folder, with its outcome, None if it isn't over, or its error.

    Raises `LogError` for a file that can't be read at all.
    """
    path = Path(source)
    where = str(path)
    if path.name == WANDB_SUMMARY:
        path = path.parent
    if path.is_dir():
        yield from _folder(path, where, asked)
        return
    records = read_records(path, asked.whole)
    if not _is_table(records):
        yield where, _caught(lambda: outcome_of_log(records, f"{path.parent.name}/{path.name}", asked))
        return
    if _just_begun(records, asked):
        yield where, None
        return
    for line, row in records.rows:
        at = f"line {line}"
        yield f"{where}, {at}", _caught(lambda row=row, at=at: outcome_of_row(row, where, at, asked))


def _folder(path: Path, where: str, asked: Asked) -> Iterator[tuple[str, RunOutcome | InputError | None]]:
    if is_mlflow_run(path):
        facts = mlflow_facts(path)
    elif (path / WANDB_SUMMARY).is_file() or (path / "files" / WANDB_SUMMARY).is_file():
        facts = wandb_facts(path, asked.whole)
    else:
        raise LogError(f"{where}: is a folder without a run of MLflow (meta.yaml, metrics) or W&B ({WANDB_SUMMARY})")
    if facts is not None:
        yield where, _caught(lambda: outcome_of_row(facts, where, "", asked))


def _caught(read) -> RunOutcome | InputError | None:
    """The outcome that a reader of one run returns, or its error, since the other runs of a file may be valid."""
    try:
        return read()
    except InputError as error:
        return error


def _just_begun(records: Records, asked: Asked) -> bool:
    """Whether the only record may be the first step of a run in progress, as nothing shows that it sums up a run."""
    if asked.whole or len(records.rows) != 1:
        return False
    row = records.rows[0][1]
    return status_word(row) is None and not any(key.startswith(_EXPORT) for key in row)


def _is_table(records: Records) -> bool:
    """Whether each record is a run rather than a step of one run."""
    keys = dict.fromkeys(key for _, row in records.rows for key in row)
    if any(key.startswith(_EXPORT) for key in keys) or {"name", "state"} <= {key.lower() for key in keys}:
        return True
    ids = [key for key in keys if key.strip().lower() in _IDS]
    if any(len({str(row.get(key)) for _, row in records.rows}) > 1 for key in ids):
        return True
    if len(records.rows) > 1 and ids:
        return False  # the steps of one run
    return not any(folded(key) in STEPS for key in keys) and (bool(ids) or "params" in keys)
