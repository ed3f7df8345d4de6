"""Logs of any format as one list of flat records, in the order of the file.

JSON lines, JSON, CSV, TensorBoard, and the lines that trainers print on a console.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.errors import LogError
from ...core.files import refuse_pipe
from ...core.units import shown
from .console import read_lines
from .events import read_events

__all__ = ["MAX_BYTES", "Notice", "Record", "Records", "read_records"]

MAX_BYTES = 1 << 28
"""Largest log that is read, bytes: a quarter of a GiB, some two million points."""
MAX_CELLS = 20_000_000
"""Most lines × columns of a log, or scalars of its events: a short line takes a hundred times its bytes in memory."""
_EVENTS = "tfevents"  # in the name of every event file
_MOST_BAD = 0.01  # share of lines that may be unreadable: a crash leaves a torn line in the middle
_FEW_BAD = 3
_DEPTH = 8  # of nested mappings
_OPENING = re.compile(r"[{\[]\s*(?:[\"{\[\]}]|$)")  # of JSON, but not of a mapping that Python prints, or a [name]
_SAMPLE = 20_000  # characters that tell a table from a console

Record = tuple[int, Mapping[str, Any]]
"""Line or record number, from 1, and what it says: nested keys joined by `/`."""


@dataclass(frozen=True)
class Notice:
    """A remark on a log: a stable `kind`, a sentence, and the step if there is one.

    A `serious` one means that the run may not be the planned one, or has stopped learning.
    """

    kind: str
    text: str
    step: float | None = None
    serious: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": self.kind, "text": self.text, "step": self.step, "serious": self.serious}


@dataclass(frozen=True)
class Records:
    """The contents of a log: its `rows` in order, settings of the run as a whole, and notices of dropped lines."""

    where: str
    rows: list[Record]
    stated: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


def read_records(path: str | os.PathLike[str] | bytes, whole: bool = False) -> Records:
    """Read a log: JSON lines, JSON (`log_history` of trainer_state.json), CSV, console lines, event files or a folder.

    The format is told by the content, which bytes are themselves. A file that is `whole` isn't being written: the last
    line of a CSV counts even without an end. Raises `LogError` naming the file and the line for what can't be read.
    """
    if isinstance(path, bytes):
        return _contents(path, "log", "log", whole)
    path = Path(path)
    where = str(path)
    try:
        if path.is_dir():
            return _folder(path)
    except OSError as error:  # a name that no file system allows, a folder that isn't ours to read
        raise LogError(f"{shown(where)}: can't be read: {error.strerror or error}") from None
    return _contents(_bytes(path), where, path.name, whole)


def _contents(data: bytes, where: str, name: str, whole: bool) -> Records:
    """The records of one file."""
    if not data.strip():
        raise LogError(f"{where}: is empty; expected a log of steps and losses")
    if _EVENTS in name or b"\x00" in data[:64]:
        return _events([(where, data)], where)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(data) - 4 or not data[: error.start].strip():
            raise LogError(f"{where}: byte {error.start} isn't UTF-8 text; is this the right file?") from None
        text = data[: error.start].decode("utf-8-sig")  # a character that is being written
    if not text.strip():  # a byte order mark alone
        raise LogError(f"{where}: is empty; expected a log of steps and losses")
    _refuse_cells(text.count("\n"), where)
    if _is_console(text):
        found = _console(text, where, whole)
        if found is not None:
            return found
    return _json(text, where) if text.lstrip()[:1] in ("{", "[") else _csv(text, where, whole)


def _bytes(path: Path) -> bytes:
    refuse_pipe(path, LogError)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise LogError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise LogError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise LogError(f"{path}: is larger than {MAX_BYTES} bytes; expected at most that: log fewer points")
    return data


def _refuse_cells(cells: int, where: str) -> None:
    if cells > MAX_CELLS:
        raise LogError(f"{where}: too large: {cells:,} values; expected at most {MAX_CELLS:,}: log fewer points")


# TensorBoard


def _folder(path: Path) -> Records:
    files = sorted(file for file in path.iterdir() if _EVENTS in file.name and file.is_file())
    if files:
        if sum(file.stat().st_size for file in files) > MAX_BYTES:
            raise LogError(f"{path}: its event files are larger than {MAX_BYTES} bytes together; name one of them")
        return _events([(str(file), _bytes(file)) for file in files], str(path))
    deeper = sorted({str(file.parent) for file in path.glob("*/*") if _EVENTS in file.name})
    hint = f"; {', '.join(deeper[:3])} has some" if deeper else ""
    raise LogError(f"{path}: is a folder without event files (…tfevents…){hint}; expected one with, or a log file")


def _events(files: list[tuple[str, bytes]], where: str) -> Records:
    rows: list[Record] = []
    notices = []
    for name, data in files:
        scalars, notes = read_events(data, name)
        notices += [Notice("torn" if "cut off" in note else "unreadable", note) for note in notes]
        _refuse_cells(4 * (len(rows) + len(scalars)), where)
        for tag, step, value, wall_s in scalars:
            rows.append((len(rows) + 1, {"step": step, tag: value, "_timestamp": wall_s}))
    if not rows:
        raise LogError(f"{where}: holds no scalars; expected those of a training run")
    return Records(where, rows, {}, tuple(notices))


# JSON


def _json(text: str, where: str) -> Records:
    lines = text.splitlines()
    first = next(line for line in lines if line.strip())
    opening = _parsed(first)
    if not isinstance(opening, dict) or "log_history" in opening:
        whole = _parsed(text)
        if whole is not None:
            return _document(whole, where)
        if len(lines) == 1 or first.strip() in ("{", "["):
            raise LogError(f"{where}: isn't whole JSON; expected JSON lines, or a document that is complete")
    rows: list[Record] = []
    bad: list[int] = []
    last = max(n for n, line in enumerate(lines, 1) if line.strip())
    for number, line in enumerate(lines, 1):
        if line.strip():
            value = _parsed(line)
            if isinstance(value, dict):
                rows.append((number, flat(value)))
            else:
                bad.append(number)
    torn = [last] if bad[-1:] == [last] and not text.endswith("\n") else []
    return Records(where, rows, _opening(rows), _left_out(where, [n for n in bad if n not in torn], torn, len(rows)))


def _parsed(text: str) -> Any:
    """The JSON value, None for none; deep nesting and huge numbers are none either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _document(whole: Any, where: str) -> Records:
    """A list of records, alone or as `log_history` beside facts of the run."""
    history = whole.get("log_history") if isinstance(whole, dict) else whole
    if isinstance(whole, dict) and history is None:
        history = [whole]
    if not isinstance(history, list):
        raise LogError(f"{where}: log_history: got {shown(history)}; expected a list of records")
    rows: list[Record] = [(number, flat(row)) for number, row in enumerate(history, 1) if isinstance(row, dict)]
    stated = {k: v for k, v in whole.items() if not isinstance(v, dict | list)} if isinstance(whole, dict) else {}
    return Records(where, rows, stated or _opening(rows), _left_out(where, [], [], len(rows)))


def _opening(rows: list[Record]) -> dict[str, Any]:
    """The settings of the run as a whole, where the first record is a configuration: `{"config": {…}}`."""
    first = rows[0][1] if rows else {}
    keys = ("config/", "args/", "hparams/", "hyperparameters/")
    return {key.rpartition("/")[2]: value for key, value in first.items() if key.startswith(keys)}


def flat(record: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Nested mappings as one, keys joined by `/`.

    >>> flat({"train": {"loss": 3.2}, "step": 10})
    {'train/loss': 3.2, 'step': 10}
    """
    if not prefix and not any(isinstance(value, dict) for value in record.values()):
        return dict(record)
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict) and depth < _DEPTH:
            found |= flat(value, f"{prefix}{key}/", depth + 1)
        else:
            found[f"{prefix}{key}"] = value
    return found


# Console


def _is_console(text: str) -> bool:
    """Whether a text is neither JSON nor a table: its first line is a record of a console, or no header of a table."""
    lines = text.lstrip()[:_SAMPLE].splitlines()
    if _OPENING.match(lines[0]) or isinstance(_parsed(lines[0]), dict | list):
        return False
    delimiter = _delimiter(lines[0])
    cells = lines[0].count(delimiter)
    return not cells or any(sign.isdigit() for sign in lines[0]) or not _like(lines[1:], delimiter, cells)


def _like(lines: list[str], delimiter: str, cells: int) -> bool:
    """Whether most of the lines have as many cells as a header."""
    full = [line.count(delimiter) == cells for line in lines if line.strip()]
    return sum(full) >= 0.5 * len(full)


def _console(text: str, where: str, whole: bool) -> Records | None:
    """The records of console lines, None where no line is one. A last line without an end may be half-written."""
    lines = text.splitlines()
    torn = [] if whole or text.endswith(("\n", "\r")) else [len(lines)]
    found = read_lines(lines[: len(lines) - len(torn)])
    if not found.rows:
        return None
    torn = torn if torn and read_lines([lines[-1]]).rows else []
    return Records(where, list(found.rows), found.stated, _left_out(where, [], torn, len(found.rows)))


# CSV


def _delimiter(head: str) -> str:
    return max(",\t;", key=head.count)


def _csv(text: str, where: str, whole: bool) -> Records:
    head = text.partition("\n")[0]
    delimiter = _delimiter(head)
    _refuse_cells(text.count("\n") * (head.count(delimiter) + 1), where)
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise LogError(f"{where}: can't be read as CSV: {error}") from None
    names = [name.strip() for name in table[0]]
    if len(names) < 2:
        raise LogError(
            f"{where}: line 1: got {shown(head)}; expected JSON lines, or CSV with a header such as step,loss"
        )
    # a closed quote ends a cell, and W&B writes no line end after the last
    whole = whole or (text.endswith('"') and len(table[-1]) == len(names))
    last = 0 if whole or text.endswith(("\n", "\r")) else len(table)
    rows, bad = [], []
    for number, cells in enumerate(table[1:], 2):
        if len(cells) == len(names) and number != last:
            rows.append((number, dict(zip(names, cells, strict=True))))
        elif cells and number != last:
            bad.append(number)
    return Records(where, rows, {}, _left_out(where, bad, [last] if last > 1 else [], len(rows)))


def _left_out(where: str, bad: list[int], torn: list[int], good: int) -> tuple[Notice, ...]:
    """Notices of lines that were left out. `LogError` where they are too many, or nothing is left."""
    if not good or len(bad) > max(_FEW_BAD, _MOST_BAD * good):
        at = f"line {bad[0]}" if bad else "no line"
        raise LogError(
            f"{where}: {at} {'is not' if bad else 'is'} a record ({len(bad)} of {good + len(bad)} unreadable); "
            "expected JSON lines, CSV or TensorBoard events with steps and losses"
        )
    notices = []
    if bad:
        some = ", ".join(map(str, bad[:3])) + (", …" if len(bad) > 3 else "")
        notices.append(Notice("unreadable", f"{where}: {len(bad)} unreadable lines left out (line {some})"))
    if torn:
        notices.append(
            Notice("torn", f"{where}: line {torn[0]}, the last, has no end and is left out: it may be half-written")
        )
    return tuple(notices)
