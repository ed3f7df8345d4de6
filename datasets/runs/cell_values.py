"""Turn the cells of a raw table into numbers and text, refusing by row and column what is neither."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from .columns import expected, is_text, rule_of
from .impossible_values import refuse_losses_beyond_guessing
from .other_units import UNITS, to_nats
from .raw_table import Cells, Frame, RawTable
from .statuses import STATUS_WORDS, STATUSES, UNFINISHED_WORDS

__all__ = ["Numbers", "as_text", "parse_cells", "parse_numbers"]

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

_RANGE = (1e-40, 1e40)
"""Positive numbers must lie in here, so that products of three of them can't overflow."""

_BLANKS = ["", "NA", "N/A", "n/a", "<NA>", "null", "NULL", "None"]
_SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_PLAIN = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([kKmMbBgGtT]?)")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9,])")  # not 0,345: a decimal comma
_FLAGS = {"1": 1.0, "1.0": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0, "no": 0.0}


class Numbers(NamedTuple):
    """Parsed cells, each (n_rows,): the values (NaN where blank), and where a cell is no number or not a finite one."""

    values: np.ndarray
    unreadable: np.ndarray
    nonfinite: np.ndarray


def as_text(cells: Cells) -> pa.Array:
    """The cells as trimmed text, blank ones null. Whole floats lose their `.0`, so that a key stays the key it was."""
    if pd.api.types.is_float_dtype(cells) and (cells.dropna() % 1 == 0).all():
        cells = cells.astype("Int64")
    if not isinstance(cells.dtype, pd.StringDtype):
        cells = cells.astype(object).map(str, na_action="ignore")
    text = pa.array(cells, type=pa.string(), from_pandas=True)
    text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    text = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.equal(text, ""), None, text)


def parse_numbers(cells: Cells, suffixes: bool = False, percent: bool = False) -> Numbers:
    """Read cells as float64, rightly rounded. With `suffixes`, "7B" is 7e9, "20,000" 2e4; with `percent`, "40%" 0.4."""
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells) and cells.dtype.kind != "c":
        values = cells.to_numpy(dtype=float, na_value=np.nan)
        return Numbers(values, np.zeros(len(values), bool), np.isinf(values))
    text = as_text(cells)
    text = pc.if_else(pc.is_in(text, value_set=pa.array(_BLANKS)), None, text)
    filled = np.asarray(pc.is_valid(text))
    try:
        values = _floats(text)
    except pa.ArrowInvalid:
        plain = pc.match_substring_regex(text, _PLAIN)
        values = _floats(pc.if_else(plain, text, None))
        odd = filled & np.isnan(values)
        codes, words = pd.factorize(np.asarray(text, dtype=object)[odd])
        values[odd] = np.array([_number(word, suffixes, percent) for word in words], float)[codes]
        # A word that spells infinity or "not a number" is a number gone wrong, not a typing error.
        spelled = np.array([word.lower().lstrip("+-") in ("inf", "infinity", "nan") for word in words], bool)[codes]
        unreadable = odd & np.isnan(values)
        unreadable[odd] &= ~spelled
        return Numbers(values, unreadable, filled & ~np.isfinite(values) & ~unreadable)
    return Numbers(values, np.zeros(len(values), bool), filled & ~np.isfinite(values))


def _floats(text: pa.Array) -> np.ndarray:
    """Cast to float64 with NaN for null. Raises ArrowInvalid if a cell is no number."""
    return pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False).astype(float)


def _number(word: str, suffixes: bool, percent: bool) -> float:
    """One oddly written number, NaN if it is none."""
    if percent and word.endswith("%"):
        return _number(word[:-1].rstrip(), False, False) / 100.0
    if suffixes and _GROUPED.match(word):
        word = word.replace(",", "")
    match = _NUMBER.fullmatch(word)
    if match is None or (match[2] and not suffixes):
        return float(word) if word.lower().lstrip("+-") in ("inf", "infinity") else float("nan")
    return float(match[1]) * _SUFFIXES.get(match[2].lower(), 1.0)


def parse_cells(raw: RawTable) -> Frame:
    """All columns of a named raw table as float64 (numeric standard columns), text, or as extra columns are best read.

    Adds `status`. Raises RunTableError for the first cell that breaks the rule of its column.
    """
    status = _status(raw)
    ok = (status == "ok").to_numpy()
    columns: dict[str, Cells] = {}
    for name in raw.frame.columns:
        cells = raw.frame[name]
        if name in raw.units or name == "loss" or name.startswith("loss."):
            raw.original[name] = cells
            columns[name] = pd.Series(_loss(raw, name, ok), cells.index)
        elif is_text(name):
            columns[name] = _to_text(cells)
        elif rule_of(name) is None or (rule_of(name) == "flag" and not _flags(cells).known.all()):
            columns[name] = _extra(cells)
        else:
            raw.original[name] = cells
            columns[name] = pd.Series(_number_column(raw, name), cells.index)
    frame = pd.DataFrame(columns)
    frame["status"] = status
    frame = to_nats(raw, frame)
    _refuse_rows_without_loss(raw, frame)
    refuse_losses_beyond_guessing(raw, frame)
    return frame


def _to_text(cells: Cells) -> Cells:
    return as_text(cells).to_pandas().set_axis(cells.index)


def _extra(cells: Cells) -> Cells:
    """An extra column: numbers if every cell reads as one, else text. "007" is a name, not a number."""
    if pd.api.types.is_float_dtype(cells):
        return cells.astype("float64")  # float32 would not survive a round trip through text
    if pd.api.types.is_bool_dtype(cells) or pd.api.types.is_integer_dtype(cells):
        return cells
    text = as_text(cells)
    named = pc.any(pc.match_substring_regex(text, "^[-+]?0[0-9]")).as_py()
    if text.null_count < len(text) and not named:
        for kind in (pa.int64(), pa.float64()):
            try:
                return pc.cast(text, kind).to_pandas().set_axis(cells.index)
            except pa.ArrowInvalid:
                continue
    return cells if isinstance(cells.dtype, pd.StringDtype) else _to_text(cells)


class _Flags(NamedTuple):
    """Cells of 0, 1 or blank, each (n_rows,): the values (NaN where blank or unknown), and where they are known."""

    values: np.ndarray
    known: np.ndarray


def _flags(cells: Cells) -> _Flags:
    words = as_text(cells).to_pandas().str.lower()
    values = words.map(_FLAGS).to_numpy(dtype=float)
    return _Flags(values, words.isna().to_numpy() | ~np.isnan(values))


def _number_column(raw: RawTable, name: str) -> np.ndarray:
    rule, rows = rule_of(name), raw.frame.index
    if rule == "flag":
        return _flags(raw.frame[name]).values
    is_share = rule in ("share", "share or zero")
    values, unreadable, nonfinite = parse_numbers(
        raw.frame[name], suffixes=rule in ("count", "count or zero"), percent=name.startswith("mix.") or is_share
    )
    raw.refuse_cells(name, unreadable, rows, "is not a number", expected(name))
    raw.refuse_cells(name, nonfinite, rows, "is not finite", expected(name) + ", or an empty cell if unknown")
    if rule in ("count", "positive"):
        raw.refuse_cells(name, values <= 0, rows, "is not positive", expected(name))
        outside = (values < _RANGE[0]) | (values > _RANGE[1])
        raw.refuse_cells(name, outside, rows, "is beyond any real run", f"{_RANGE[0]:g} to {_RANGE[1]:g}")
    elif is_share:
        below = values <= 0 if rule == "share" else values < 0
        raw.refuse_cells(name, below | (values > 1), rows, "is no share", expected(name))
    elif rule != "any":
        raw.refuse_cells(name, values < 0, rows, "is negative", expected(name))
    return values


def _loss(raw: RawTable, name: str, ok: np.ndarray) -> np.ndarray:
    """Losses; in rows that are not ok, "NaN" and "inf" are what a lost run reports and count as blank."""
    rows, unit = raw.frame.index, raw.units.get(name)
    accepted = "a positive loss in nats per token" if unit is None else f"a {unit} above {UNITS[unit].least:g}"
    values, unreadable, nonfinite = parse_numbers(raw.frame[name])
    raw.refuse_cells(name, unreadable, rows, "is not a number", accepted)
    raw.refuse_cells(name, nonfinite & ok, rows, "is not finite", f"{accepted}, or status 'diverged' or 'failed'")
    values = np.where(nonfinite, np.nan, values)
    least = 0.0 if unit is None else UNITS[unit].least
    problem = f"is a {unit} of {least:g} or less" if least else "is not positive"
    raw.refuse_cells(name, ok & (values <= least), rows, problem, accepted)
    return values


def _refuse_rows_without_loss(raw: RawTable, frame: Frame) -> None:
    targets = [name for name in frame.columns if name == "loss" or (name.startswith("loss.") and rule_of(name))]
    missing = frame[targets].isna().all(axis=1).to_numpy() & (frame["status"] == "ok").to_numpy()
    accepted = "a loss in nats per token, or a status 'diverged' or 'failed'"
    raw.refuse_cells(targets[0], missing, frame.index, "counts as missing", accepted)


def _status(raw: RawTable) -> Cells:
    """One of STATUSES per row, from the words of `status` and from a 0/1 column `diverged`."""
    index = raw.frame.index
    status = pd.Series("ok", index, dtype=object)
    if "status" in raw.frame.columns:
        words = as_text(raw.frame["status"]).to_pandas().set_axis(index).astype(object)
        codes, known = pd.factorize(words)  # a blank is code -1
        for code, word in enumerate(known):
            rows = codes == code
            status[rows] = _status_of(raw, str(word), int(rows.sum()))
    if "diverged" in raw.frame.columns:
        raw.original["diverged"] = raw.frame["diverged"]
        flags = _flags(raw.frame["diverged"])
        raw.refuse_cells("diverged", ~flags.known, index, "is no flag", "0 or 1")
        status[flags.values == 1] = "diverged"
    lost = [f"{int((status == word).sum())} {word}" for word in STATUSES[1:] if (status == word).any()]
    if lost:
        raw.notes.append(f"{' and '.join(lost)} rows are kept and marked, and are never fitted")
    return pd.Series(status.to_list(), index)


def _status_of(raw: RawTable, word: str, rows: int) -> str:
    known = STATUS_WORDS.get(word.lower())
    if word.lower() in UNFINISHED_WORDS:
        raw.notes.append(f"{rows} rows with status {word!r} are marked failed: their loss is not final")
    elif known is not None and known != word:
        raw.notes.append(f"{rows} rows with status {word!r} are marked {known}")
    elif known is None:
        raw.notes.append(
            f"status {word!r} ({rows} rows) is none of {', '.join(STATUSES)}: kept as ok because the rows have a loss"
        )
    return known or "ok"
