"""Read a table of runs from disk, or take one from memory, without interpreting it.

The result is a `RawTable`: cells as they came, plus what is needed to say where a cell was. CSV cells stay text until
`cell_values` parses them, so that a message can quote what the file says and so that no number is rounded on the way.
Nothing here unpickles anything.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ...core.errors import RunTableError
from ...core.files import refuse_pipe
from .formats.excel import read_sheet

__all__ = [
    "EXTENSIONS",
    "MAX_BYTES",
    "MAX_CELLS",
    "WRITTEN",
    "Cells",
    "Frame",
    "RawTable",
    "raw_from_frame",
    "read_raw",
]

Frame: TypeAlias = Any
"""A pandas.DataFrame, untyped: by its own annotations `frame[name]` may be a Series, a DataFrame or a bool."""

Cells: TypeAlias = Any
"""A pandas.Series: one column, indexed like its frame."""

MAX_BYTES = 512 * 1024**2
"""Largest file, largest unpacked CSV.gz, and largest text of a Parquet table's cells, in bytes: a small file can unpack
to any size, and a table of runs of this one is some other file."""

MAX_CELLS = 20_000_000
"""Largest table, rows × columns; of a CSV, lines × columns."""

WRITTEN = (".csv", ".csv.gz", ".parquet", ".pq")
"""File types that are written, and read."""

EXTENSIONS = (*WRITTEN, ".tsv", ".tsv.gz", ".xlsx")
"""File types that are read."""

_BLOCK_BYTES = 64 * 1024**2  # pyarrow refuses a row longer than one block


@dataclass
class RawTable:
    """A table on its way to being a RunTable; the index of `frame` is the row number in the source, from 0.

    `labels` maps a column to the name it had in the source where that differs, `original` a standard column to its
    cells in the source; `notes` collects what was done to the table. `units` says which columns hold losses in another
    unit, `fills` which loss such a column fills where it isn't that loss itself; `tokenizer` is that of rows without.
    """

    frame: Frame
    where: str
    locate: Callable[[int], str]
    notes: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    original: dict[str, Cells] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    fills: dict[str, str] = field(default_factory=dict)
    tokenizer: str | None = None

    def label(self, column: str) -> str:
        """The column in words: `column 'loss'`, or `column 'val_loss' (read as loss)`."""
        source = self.labels.get(column, column)
        return f"column {source!r}" + (f" (read as {column})" if source != column else "")

    def listed(self) -> str:
        """The columns that the source has, by their names there, for messages."""
        names = [self.labels.get(str(name), str(name)) for name in self.frame.columns]
        return ", ".join(names[:60]) + (f" and {len(names) - 60} more" if len(names) > 60 else "")

    def refuse(self, message: str) -> NoReturn:
        """Raise RunTableError about the table as a whole."""
        raise RunTableError(f"{self.where}: {message}")

    def refuse_cells(self, column: str, bad: np.ndarray, rows: pd.Index, problem: str, accepted: str) -> None:
        """Raise RunTableError about the first cell where `bad` holds; do nothing if there is none.

        `bad` is a mask over `rows`, the source row numbers. The message quotes the cell as the source has it.
        """
        if not bad.any():
            return
        row = int(rows[int(np.argmax(bad))])
        cells = self.original.get(column)
        value = "an empty cell" if cells is None or pd.isna(cells[row]) else repr(str(cells[row]))
        more = f" ({int(bad.sum()) - 1} more rows like it)" if bad.sum() > 1 else ""
        self.refuse_row(row, f"{self.label(column)}: {value} {problem}; expected {accepted}{more}")

    def refuse_row(self, row: int, message: str) -> NoReturn:
        """Raise RunTableError about one source row, counted from 0."""
        raise RunTableError(f"{self.where}, {self.locate(row)}, {message}")


def read_raw(path: str | Path) -> RawTable:
    """Read a CSV, TSV, Parquet or Excel file. Raises RunTableError for what is no readable table with rows."""
    path = Path(path)
    kind = next((e for e in EXTENSIONS if path.name.lower().endswith(e)), None)
    if kind is None:
        raise RunTableError(f"{path}: unknown file type {path.suffix!r}; a run table ends in {', '.join(EXTENSIONS)}")
    refuse_pipe(path, RunTableError)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RunTableError(f"{path}: {size:,} bytes; a run table has at most {MAX_BYTES:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise RunTableError(f"{path}: there is no such file; expected a table of runs") from None
    except OSError as error:
        raise RunTableError(f"{path}: can't be read ({error.strerror or error}); expected a table of runs") from None
    where = str(path)
    if not data.strip():
        raise RunTableError(f"{where}: the file is empty; expected a header line and one line per run")
    if kind in (".parquet", ".pq"):
        return _read_parquet(data, where)
    if kind == ".xlsx":
        header, rows, notes = read_sheet(data, where)
        _refuse_repeated(header, where)
        raw = _checked(RawTable(pd.DataFrame(rows, columns=header), where, lambda row: f"row {row + 2}"))
        raw.notes.extend(notes)
        return raw
    text = _unpack(data, where) if kind.endswith(".gz") else data
    return _read_csv(text, where, "\t" if kind.startswith(".tsv") else ",")


def raw_from_frame(frame: Frame, where: str) -> RawTable:
    """Take a DataFrame as it is; its index is ignored and rows are named by position, from 1."""
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1).reset_index(drop=True)
    return _checked(RawTable(frame, where, lambda row: f"row {row + 1}"))


def _checked(raw: RawTable) -> RawTable:
    """Refuse tables without rows and columns without a unique name."""
    names = list(raw.frame.columns)
    if names and not names[0].strip() and "" not in names[1:]:
        # What DataFrame.to_csv() writes when nobody said index=False.
        raw.frame = raw.frame.iloc[:, 1:]
        raw.notes.append("dropped the first column, which has no name (a row index)")
        names = names[1:]
    for position, name in enumerate(names):
        if not name.strip():
            raw.refuse(f"column {position + 1} of the header has no name; every column needs one")
    _refuse_repeated(names, raw.where)
    if raw.frame.empty:
        raw.refuse("there are no rows; expected a header line and one line per run")
    return raw


def _refuse_repeated(names: list[str], where: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for position, name in enumerate(names) if name in names[:position])
        raise RunTableError(f"{where}: column {twice!r} is there twice; column names must differ")


def _unpack(data: bytes, where: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            text = packed.read(MAX_BYTES + 1)  # bounded, so that a small file can't fill the memory
    except (OSError, EOFError, zlib.error) as error:
        raise RunTableError(f"{where}: not a complete gzip file ({error}); expected a gzip-compressed CSV") from None
    if len(text) > MAX_BYTES:
        raise RunTableError(f"{where}: unpacks to more than {MAX_BYTES:,} bytes, the most a run table may have")
    return text


def _refuse_cells(cells: int, where: str) -> None:
    if cells > MAX_CELLS:
        raise RunTableError(f"{where}: too large: {cells:,} cells; expected a run table of at most {MAX_CELLS:,}")


def _read_csv(data: bytes, where: str, separator: str = ",") -> RawTable:
    if not data.strip():
        raise RunTableError(f"{where}: the file is empty; expected a header line and one line per run")
    _refuse_cells(2 * data.count(b"\n"), where)  # two columns at least, before any line is looked at
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RunTableError(f"{where}, line {line}: not UTF-8 text; save the table as CSV in UTF-8") from None
    if b"\0" in data:
        raise RunTableError(f"{where}: holds binary data (a zero byte); expected CSV text in UTF-8")
    filled = (cells for _, cells in _records(data, where, separator) if cells)
    header, first = next(filled, []), next(filled, None)
    if len(header) < 2:
        other = next((s for s in ";\t|," if header and s in header[0]), None)
        hint = f"; it seems to be separated by {other!r}, save it with commas" if other else ""
        by = "tab" if separator == "\t" else "comma"
        raise RunTableError(f"{where}: expected a header line of {by}-separated column names, found {header!r}{hint}")
    _refuse_repeated(header, where)
    _refuse_cells(data.count(b"\n") * len(header), where)
    if first is None:
        raise RunTableError(f"{where}: there are no rows; expected a header line and one line per run")
    frame = _parse_csv(data, header, where, separator)
    return _checked(RawTable(frame, where, lambda row: f"line {_line_of(data, row, where, separator)}"))


def _parse_csv(data: bytes, header: list[str], where: str, separator: str) -> Frame:
    """All cells as text, empty ones missing."""
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, delimiter=separator),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException as error:
        numbered = ((line, cells) for line, cells in _records(data, where, separator) if cells)
        for line, cells in numbered:
            if len(cells) != len(header):
                problem = f"{len(cells)} cells, but the header has {len(header)} columns"
                raise RunTableError(f"{where}, line {line}: {problem}; every line needs the same number") from None
        raise RunTableError(f"{where}: can't be read as CSV ({str(error).splitlines()[0][:200]})") from None
    return table.to_pandas()


def _records(data: bytes, where: str, separator: str):
    """Yield (line number of its start, cells) of each CSV record; blank lines yield no cells."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""), delimiter=separator)
    start = 1
    try:
        for cells in reader:
            yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise RunTableError(f"{where}, line {start}: can't be read as CSV ({error}); is a quote left open?") from None


def _line_of(data: bytes, row: int, where: str, separator: str) -> int:
    """Line on which a data row starts. Slow and exact: blank lines and quoted line breaks count; for messages only."""
    filled = (line for line, cells in _records(data, where, separator) if cells)
    return next(line for position, line in enumerate(filled) if position == row + 1)


def _read_parquet(data: bytes, where: str) -> RawTable:
    notes: list[str] = []
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        _refuse_cells(file.metadata.num_rows * file.metadata.num_columns, where)
        _refuse_repeated(file.schema_arrow.names, where)
        columns = {field.name: field.type for field in file.schema_arrow if not (pa.types.is_nested(field.type))}
        if nested := [name for name in file.schema_arrow.names if name not in columns]:
            notes.append(f"columns of lists or records are not read: {', '.join(map(repr, nested[:6]))}")
        table = _decoded(data, columns, where)
        # Metadata can hold an index and custom types; the plain columns are all that is wanted.
        frame = table.to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, RunTableError):
            raise
        problem = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RunTableError(f"{where}: damaged, or not a Parquet file ({problem})") from None
    return _checked(RawTable(frame, where, lambda row: f"row {row + 1}", notes))


def _decoded(data: bytes, columns: dict[str, pa.DataType], where: str) -> pa.Table:
    """The columns of a Parquet file, read by row group, the bytes of their cells counted before they are unpacked.

    A text that is repeated stands in the file once: as a dictionary it stays so, and what it would take is known.
    """
    texts = [name for name, kind in columns.items() if _is_text(kind)]
    file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
    # what has a width has it in every cell, whatever the file takes
    widths = sum(kind.bit_width // 8 for kind in columns.values() if pa.types.is_fixed_size_binary(kind))
    if widths * file.metadata.num_rows > MAX_BYTES:
        raise RunTableError(f"{where}: too large: cells of {widths:,} bytes; expected numbers and names of runs")
    groups, total = [], 0
    for number in range(file.num_row_groups):
        group = file.read_row_group(number, columns=list(columns), use_threads=False)
        total += sum(_cell_bytes(group.column(name)) for name in columns)
        if total > MAX_BYTES:
            raise RunTableError(
                f"{where}: too large: the cells of its first {number + 1} row groups unpack to {total:,} bytes; "
                f"expected a run table of at most {MAX_BYTES:,}"
            )
        groups.append(group)
    if not groups:
        return file.read(columns=list(columns), use_threads=False)
    table = pa.concat_tables(groups)
    for place, name in enumerate(table.column_names):
        if name in texts:
            table = table.set_column(place, name, table.column(place).cast(columns[name]))
    return table


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)


def _cell_bytes(column: pa.ChunkedArray) -> int:
    """What a column's cells hold once each stands for itself, bytes."""
    total = 0
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type):
            values = chunk.dictionary
            if not _is_text(values.type):
                total += 8 * len(chunk)
                continue
            lengths = pc.call_function("binary_length", [values])
            total += pc.call_function("sum", [pc.take(lengths, chunk.indices)]).as_py() or 0
        else:
            total += chunk.nbytes
    return total
