"""The run table: one row per observed training run, validated once and then trusted by every part.

`RunTable.read` takes a CSV, TSV, Parquet or Excel file (also a W&B or MLflow export), `RunTable.from_frame` a frame.
Both name the columns (`column_names`), parse the cells (`cell_values`), bring the table to one row per run
(`one_row_per_run`) and complete what follows from the rest (`derived_columns`). What was renamed, derived or dropped is
in `.notes`; what looks like a slip is a DataWarning; what is wrong is a RunTableError.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ...core.errors import RunTableError, UsageError
from ...core.files import write_bytes
from . import histories
from .cell_values import as_text, parse_cells
from .checks.doubts import warn_of_doubts
from .checks.mixes import normalise_mix
from .checks.synthetic import check_synthetic
from .column_names import likest_column, name_columns
from .columns import is_standard, is_text
from .derived_columns import complete
from .one_row_per_run import one_row_per_run
from .other_units import checked_tokenizer
from .raw_table import WRITTEN, Cells, RawTable, raw_from_frame, read_raw

__all__ = ["MOST_LEVELS", "RunTable", "Variation"]

MOST_LEVELS = 20
"""A column of text with more values is names rather than kinds."""


@dataclass(frozen=True)
class Variation:
    """How much a numeric column varies: distinct known values, the lowest and highest, and log10(high / low).

    `low` and `high` are NaN where no value is known; `decades` is NaN unless both are positive.
    """

    column: str
    distinct: int
    low: float
    high: float
    decades: float

    def __str__(self) -> str:
        """In words, for example `column tokens takes one value, 1.3e+11`."""
        if self.distinct == 0:
            return f"column {self.column} has no values"
        if self.distinct == 1:
            return f"column {self.column} takes one value, {self.low:.4g}"
        spread = "" if math.isnan(self.decades) else f" ({self.decades:.2g} decades)"
        return f"column {self.column} takes {self.distinct} values, {self.low:.4g} to {self.high:.4g}{spread}"


@dataclass(frozen=True, eq=False)
class RunTable:
    """A validated table of runs. `RunTable.read` reads one from a file, `RunTable.from_frame` takes a DataFrame.

    Treat `frame` as read-only: every method that changes something returns a new table. Numeric standard columns are
    float64, in counts, FLOPs and nats per token; `params`, `tokens` and `flops` are complete in rows of status `ok`.

    >>> frame = pd.DataFrame({"N": ["7B", "13B"], "D": ["1.4T", "1.4T"], "val_loss": [2.0, 1.9]})
    >>> table = RunTable.from_frame(frame)
    >>> table.loss_columns, len(table), float(table.column("flops")[0])
    (['loss'], 2, 5.88e+22)
    >>> print(table.variation("tokens"))
    column tokens takes one value, 1.4e+12
    """

    frame: pd.DataFrame
    """One row per run: a unique `run_id`, a `status`, the standard columns that are known, and the others."""
    notes: tuple[str, ...] = ()
    """What was renamed, derived or dropped, in plain sentences."""
    where: str = field(default="table")
    """Name of the source, for messages."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names of renamed columns in the source, by their standard names."""
    doubts: tuple[str, ...] = ()
    """What looks like a slip, in plain sentences; each was a DataWarning when the table was read."""

    @classmethod
    def read(
        cls, path: str | Path, columns: Mapping[str, str] | None = None, *, tokenizer: str | None = None
    ) -> RunTable:
        """Read a .csv, .csv.gz, .tsv, .parquet or .xlsx file.

        Args:
            path: The file.
            columns: Standard names of columns, mapped to the file's own names; they override what is guessed.
            tokenizer: Tokenizer of the rows that state none (or one that nobody knows), by its name in the catalogue:
                it says how many bytes per token there are where losses are in bits per byte.

        Raises:
            RunTableError: The table can't be trusted; the message names file, line, column and value.

        Warns:
            DataWarning: Values look like slips of unit.
        """
        return cls._from_raw(read_raw(path), columns, tokenizer)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        columns: Mapping[str, str] | None = None,
        where: str = "table",
        *,
        tokenizer: str | None = None,
    ) -> RunTable:
        """Validate a copy of a DataFrame.

        Args:
            frame: One row per run; the index is ignored.
            columns: Standard names of columns, mapped to the frame's own names.
            where: Name of the table in messages, which count rows from 1.
            tokenizer: As in `read`.

        Raises:
            RunTableError: The table can't be trusted; the message names row, column and value.

        Warns:
            DataWarning: Values look like slips of unit.
        """
        return cls._from_raw(raw_from_frame(frame, where), columns, tokenizer)

    @classmethod
    def _from_raw(cls, raw: RawTable, columns: Mapping[str, str] | None, tokenizer: str | None) -> RunTable:
        raw.tokenizer = None if tokenizer is None else checked_tokenizer(tokenizer)
        try:
            name_columns(raw, columns)
            frame = check_synthetic(raw, normalise_mix(raw, parse_cells(raw)))
        except (pa.ArrowException, UnicodeError) as error:  # text that isn't Unicode, cells of no type we know
            raise RunTableError(f"{raw.where}: can't be read ({str(error)[:200]}); expected numbers and text") from None
        frame = complete(raw, one_row_per_run(raw, frame))
        doubts = warn_of_doubts(raw, frame)
        return cls(frame.reset_index(drop=True), tuple(raw.notes), raw.where, dict(raw.labels), doubts)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def loss_columns(self) -> list[str]:
        """The loss columns: `["loss"]`, or `["loss.<domain>", …]`, with `loss` first where both are there."""
        names = [c for c in self.frame.columns if c.startswith("loss.") and is_standard(c)]
        return (["loss"] if "loss" in self.frame.columns else []) + names

    @property
    def domains(self) -> list[str]:
        """Training domains, from the `mix.<domain>` columns, in their order."""
        return [c.removeprefix("mix.") for c in self.frame.columns if c.startswith("mix.") and is_standard(c)]

    def has(self, name: str) -> bool:
        """Is there such a column with at least one known value?"""
        return name in self.frame.columns and bool(self.frame[name].notna().any())

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """A column as float64, (n_rows,), NaN where unknown. Raises RunTableError if it isn't there or holds text."""
        if name not in self.frame.columns:
            hint, columns = likest_column(name, self.frame.columns), ", ".join(self.frame.columns)
            raise RunTableError(f"{self.where}: there is no column {name!r}{hint}; the columns are {columns}")
        try:
            return self.frame[name].to_numpy(dtype=float, na_value=np.nan)
        except (TypeError, ValueError):
            raise RunTableError(f"{self.where}: column {name!r} holds text; expected a column of numbers") from None

    def variation(self, name: str) -> Variation:
        """How much a numeric column varies over all rows; take `fit_rows(target)` first to leave out failed runs."""
        values = self.column(name)
        values = values[np.isfinite(values)]
        if not len(values):
            return Variation(name, 0, math.nan, math.nan, math.nan)
        low, high = float(values.min()), float(values.max())
        decades = math.log10(high / low) if low > 0 else math.nan
        return Variation(name, len(np.unique(values)), low, high, decades)

    def varies(self, name: str, at_least: int = 2) -> bool:
        """Is the column there, numeric, and with at least this many distinct values?"""
        return self.has(name) and not is_text(name) and self.variation(name).distinct >= at_least

    @property
    def origins(self) -> npt.NDArray[np.int_] | None:
        """The training run of each row, numbered, (n_rows,); None if every row is a run of its own."""
        return histories.origins(self.frame)

    @property
    def progress(self) -> npt.NDArray[np.float64]:
        """Share of its run's tokens that each row has seen, (n_rows,); 1 but for rows that `checkpoint` marks."""
        return histories.progress(self.frame)

    @property
    def steps(self) -> npt.NDArray[np.float64]:
        """Optimizer steps up to each row, (n_rows,): as stated, else tokens / batch_tokens; NaN where unknown."""
        stated = self.column("steps") if self.has("steps") else np.full(len(self), np.nan)
        if not self.has("batch_tokens"):
            return stated
        return np.where(np.isfinite(stated), stated, self.column("tokens") / self.column("batch_tokens"))

    def rows_where(self, values: Mapping[str, str]) -> RunTable:
        """The rows that have these values in these columns, compared as text.

        Args:
            values: The value by column.

        Raises:
            RunTableError: There is no such column, or no row with the value.

        >>> frame = pd.DataFrame({"N": ["7B", "13B"], "D": "1T", "loss": [2.0, 2.1], "data": ["web", "code"]})
        >>> len(RunTable.from_frame(frame).rows_where({"data": "web"}))
        1
        """
        found = self
        for column, value in values.items():
            words = found._words(column)
            if value not in words:
                present = list(dict.fromkeys(word for word in words if word is not None))
                raise RunTableError(
                    f"{self.where}: no row has {value!r} in column {column!r}{likest_column(value, present)}; "
                    f"expected one of {', '.join(map(repr, present[:20]))}"
                )
            found = found.select(np.array([word == value for word in words]))
        return found

    def split_by(self, column: str, levels: Sequence[str] | None = None) -> RunTable:
        """The same rows, with a target `loss.<level>` for each value of a column instead of one `loss`.

        Args:
            column: The column; rows in which it is blank are left out.
            levels: The values to take; by default all of them, 2 to 20.

        Raises:
            RunTableError: There is no such column, it has none of the values, or only one or more than 20 where none
                are named, or the table has no one loss.
        """
        loss, *others = self.loss_columns
        if others and loss != "loss":
            raise RunTableError(
                f"{self.where}: to split the loss by {column!r} there must be one, and there are "
                f"{', '.join(self.loss_columns)}; expected a column 'loss', or --columns loss={loss} or another"
            )
        words = self._words(column)
        found = sorted({word for word in words if word is not None and (levels is None or word in levels)})
        if not found or (levels is None and not 2 <= len(found) <= MOST_LEVELS):
            expected = f"2 to {MOST_LEVELS}, to fit a law to each" if levels is None else f"some of {', '.join(levels)}"
            raise RunTableError(f"{self.where}: column {column!r} has {len(found)} such values; expected {expected}")
        parts = {}
        for level in found:
            parts[f"loss.{level}"] = np.where([word == level for word in words], self.column(loss), np.nan)
        frame = self.frame.drop(columns=self.loss_columns).assign(**parts)
        frame = frame[[word in found for word in words]].reset_index(drop=True)
        notes = [f"loss is split by {column}: {', '.join(found)}"]
        if others:
            notes.append(f"left out {', '.join(others)}: a law is fitted to the loss of each {column}")
        return replace(self, frame=frame, notes=(*self.notes, *notes))

    def _words(self, column: str) -> list[str | None]:
        """The cells of a column as text, None where blank. Raises RunTableError where there is no such column."""
        if column not in self.frame.columns:
            sources = {source: name for name, source in self.labels.items()}
            if column in sources:
                return self._words(sources[column])
            hint, columns = likest_column(column, self.frame.columns), ", ".join(self.frame.columns)
            raise RunTableError(f"{self.where}: there is no column {column!r}{hint}; the columns are {columns}")
        return as_text(self.frame[column]).to_pylist()

    def select(self, mask: npt.ArrayLike) -> RunTable:
        """The rows where the boolean `mask`, (n_rows,), holds, in their order. Raises UsageError for any other mask."""
        keep = np.asarray(mask)
        if keep.shape != (len(self),) or keep.dtype != bool:
            raise UsageError(f"select: expected {len(self)} booleans, got {keep.dtype} of shape {keep.shape}")
        return replace(self, frame=self.frame.loc[keep].reset_index(drop=True))

    def with_params(self, params: np.ndarray, counted: str) -> RunTable:
        """The same runs with other `params`, `(n_rows,)`; `counted` says what these count."""
        return replace(self, frame=self.frame.assign(params=params), labels={**self.labels, "params": counted})

    def fit_mask(self, target: str) -> npt.NDArray[np.bool_]:
        """Which rows may be fitted, (n_rows,): status ok and a finite `target`. RunTableError for an unknown target."""
        if target not in self.loss_columns:
            raise RunTableError(f"{self.where}: no target {target!r}; the targets are {', '.join(self.loss_columns)}")
        return (self.frame["status"] == "ok").to_numpy() & np.isfinite(self.column(target))

    def fit_rows(self, target: str) -> RunTable:
        """The rows that may be fitted (`fit_mask`). Raises RunTableError for an unknown target."""
        return self.select(self.fit_mask(target))

    def write(self, path: str | Path) -> None:
        """Write the table whole, as CSV, CSV.gz or Parquet by extension; reading it back gives the same digest."""
        path = Path(path)
        if not path.name.lower().endswith(WRITTEN):
            raise RunTableError(f"{path}: unknown file type {path.suffix!r}; expected {', '.join(WRITTEN)}")
        if path.name.lower().endswith((".parquet", ".pq")):
            buffer = io.BytesIO()
            self.frame.to_parquet(buffer, index=False)
            data = buffer.getvalue()
        else:
            text = self.frame.to_csv(index=False, lineterminator="\n")
            if "\r" in text:  # the csv module leaves a lone carriage return unquoted, and readers end the line there
                text = self.frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            data = text.encode("utf-8")
            data = gzip.compress(data, mtime=0) if path.name.lower().endswith(".gz") else data
        write_bytes(path, data)

    def digest(self) -> str:
        """SHA-256 (hex) of the content: column names, values and the order of rows, but not the order of columns.

        Row order counts because resampling with a seed depends on it. Neither the file type nor int against float does.
        """
        sha = hashlib.sha256(f"run table 1\n{len(self)}\n".encode())
        for name in sorted(self.frame.columns):
            sha.update(f"{len(name)} {name}\n".encode())
            sha.update(_content(self.frame[name]))
        return sha.hexdigest()


def _content(cells: Cells) -> bytes:
    """The bytes that stand for a column: float64 for numbers, lengths and UTF-8 for text, one mark if all is blank."""
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        values = cells.to_numpy(dtype=float, na_value=np.nan) + 0.0  # -0.0 + 0.0 is 0.0
        values[np.isnan(values)] = np.nan  # there are many bit patterns for NaN
        return b"blank" if np.isnan(values).all() else b"numbers" + values.astype("<f8").tobytes()
    text = as_text(cells)
    if text.null_count == len(text):
        return b"blank"
    words = text.fill_null("").to_pylist()
    lengths = np.array([len(word) for word in words], dtype="<i8")
    return b"text" + lengths.tobytes() + "".join(words).encode("utf-8")
