"""Optuna's journal file, made robust against processes that are killed while they write.

A journal is a text file with one JSON object per line, one line per operation. The format is that of Optuna's own
backend, so that Optuna and optuna-dashboard can read the file. Two things differ:

- A killed process leaves an incomplete last line. Optuna loads such a study once more, and the next append makes it
  permanently unreadable. Here every append first cuts off an incomplete last line, under the lock. Damage elsewhere is
  never changed, but reported with its line number.
- The lock is on the journal itself, and the kernel releases it when its process dies. Optuna's own lock is a link in
  the file system, which stays behind and blocks all processes for half a minute.

Importing this module imports Optuna (half a second), so import it where it is used.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult
from typing_extensions import override

from ....core.errors import DataWarning, InputError
from ....core.units import shown
from .line_file import LineFile, is_json

__all__ = ["LOCK_TIMEOUT_S", "Journal", "open_journal"]

LOCK_TIMEOUT_S = 30.0
"""How long an append waits for other processes, seconds. They hold the lock for less than a millisecond each."""

_FIRST_LINE_BYTES = 1 << 20
_START = b'{"op_code":'  # what Optuna begins every line with
# Lines written within a trial are synced to disk together with its outcome, by one fsync. A line survives the death of
# its process in any case; only a power failure can lose these lines, together with their whole trial.
_WITHIN_A_TRIAL = {
    JournalOperation.SET_TRIAL_PARAM,
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
    JournalOperation.SET_TRIAL_USER_ATTR,
    JournalOperation.SET_TRIAL_SYSTEM_ATTR,
}


def open_journal(path: str | os.PathLike[str], lock_timeout_s: float = LOCK_TIMEOUT_S) -> JournalStorage:
    """Open or create the journal at `path`; an incomplete last line is cut off, with a DataWarning.

    Raises InputError, and changes nothing, if the folder is missing, the file can't be read or written, is locked by
    another process for more than `lock_timeout_s`, isn't a journal, or is damaged anywhere but in its last line.
    """
    journal = Journal(path, lock_timeout_s)
    try:
        storage = _InterruptibleStorage(journal)
    except (KeyError, TypeError, AttributeError, AssertionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        # JSON of the right form whose content Optuna can't replay
        raise journal.damaged(journal.lines_read, "isn't an operation that this version of Optuna knows") from None
    cut = journal.repair()  # after reading, so that nothing of a file that can't be used is changed
    if cut:
        warnings.warn(
            f"{path}: its last line was torn, as a killed process leaves it; {cut} bytes were cut, "
            "what was recorded before is whole",
            DataWarning,
            stacklevel=2,
        )
    return storage


class Journal(JournalFileBackend):
    """The file backend of a `JournalStorage`, with atomic appends by any number of processes.

    `lines_read` counts the valid lines that were read so far.
    """

    def __init__(self, path: str | os.PathLike[str], lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        _check_file(Path(path))
        try:
            super().__init__(os.fspath(path))
        except (OSError, ValueError) as error:  # a NUL character is a ValueError
            why = getattr(error, "strerror", None) or error
            raise InputError(f"{shown(os.fspath(path), 200)}: can't be written: {why}") from None
        self.lines_read = 0
        self._lines = LineFile(self._file_path, lock_timeout_s)

    def repair(self) -> int:
        """Cut off an incomplete last line and return its number of bytes. Raises the errors of `open_journal`."""
        return self._lines.repair()

    def damaged(self, line: int, what: str = "isn't whole") -> InputError:
        """The error to raise for a damaged line, counted from 1."""
        return InputError(
            f"{self._file_path}: line {line}: {what}; expected one operation of Optuna's journal, in JSON. "
            "Nothing was changed: restore the file from a copy, or take another"
        )

    @override
    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.lines_read = log_number_from
        try:
            if os.stat(self._file_path).st_size < self._log_number_offset.get(log_number_from, 0):
                raise self.damaged(log_number_from, "was cut off, or the file replaced, while in use")
            for log in super().read_logs(log_number_from):
                if not _is_operation(log):
                    raise self.damaged(self.lines_read + 1)
                self.lines_read += 1
                yield log
        except OSError as error:
            raise InputError(f"{self._file_path}: can't be read: {error.strerror or error}") from None
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise self.damaged(self.lines_read + 1) from None

    @override
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._lines.append(data, to_disk=any(_must_last(log) for log in logs))


class _InterruptibleStorage(JournalStorage):
    """Rereads the journal from its start after Ctrl-C, which may interrupt between counting a line and applying it.

    Otherwise the numbers of all later trials would be one too low.
    """

    @override
    def _sync_with_backend(self) -> None:
        try:
            super()._sync_with_backend()
        except KeyboardInterrupt:
            self._replay_result = JournalStorageReplayResult(self._worker_id_prefix)
            self._replay()
            raise

    def _replay(self) -> None:
        before = -1
        while before < self._replay_result.log_number_read:
            before = self._replay_result.log_number_read
            with suppress(KeyError, UpdateFinishedTrialError, DuplicatedStudyError, ValueError):
                super()._sync_with_backend()  # stops at each of its own operations that was refused then, too


def _must_last(log: dict[str, Any]) -> bool:
    """Whether this operation must be synced to disk before the append returns."""
    if log["op_code"] == JournalOperation.CREATE_TRIAL:
        return "state" in log  # one that is added whole or waits to be run; others only begin
    return log["op_code"] not in _WITHIN_A_TRIAL


def _is_operation(log: Any) -> bool:
    if not isinstance(log, dict) or type(log.get("op_code")) is not int or not isinstance(log.get("worker_id"), str):
        return False
    # a result or parameter that isn't finite is never written, but by an editor
    numbers = [*(log.get("values") or []), log.get("param_value_internal")]
    return all(number is None or (isinstance(number, int | float) and math.isfinite(number)) for number in numbers)


def _check_file(path: Path) -> None:
    """Raise InputError unless there is a journal at `path`, or nothing in a folder that exists."""
    try:
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise InputError(f"{path}: is a folder; expected the path of a journal file, such as {path / 'study.log'}")
        if not path.exists():
            return
        if not path.is_file():
            raise InputError(f"{path}: is a device; expected the path of a journal file")
        with open(path, "rb") as stream:
            first = stream.readline(_FIRST_LINE_BYTES)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}") from None
    if first and not _begins_a_journal(first):
        hint = f"; an SQLite database is named sqlite:///{path}" if first.startswith(b"SQLite format") else ""
        raise InputError(
            f"{path}: isn't a journal of Optuna: it begins with {shown(first[:60].decode('utf-8', 'replace'))}, "
            f"expected {shown(_START.decode())}{hint}. Nothing was changed: name another file"
        )


def _begins_a_journal(line: bytes) -> bool:
    """Whether a file's first line may be a journal's, incomplete ones included."""
    if line.endswith(b"\n") and is_json(line):
        return _is_operation(json.loads(line))
    return line.startswith(_START) or _START.startswith(line)
