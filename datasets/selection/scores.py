"""Scores and labels that a user has for documents, from a file: CSV, JSON lines, Parquet, or an .npy in order.

A row names its document in one column, and says what it says in another:

    digest    SHA-256 of the normalised text, 64 hexadecimal digits (`Document.digest.hex()`); copies share a row
    where     file:line, file:row or file, as messages name it, or relative to the folder of corpora.yaml
    document  number among the training documents of the domain, from 0

An .npy holds one number for each training document of the domain, in order. Rows for documents that earlier steps left
out, or that are kept for validation, are passed over. Memory: some 40 bytes a row and a document.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import CorpusError
from ...core.units import shown
from ..corpus.document import Document
from .step import Texts

__all__ = ["check_scores", "read_labels", "read_scores"]

KEYS = ("digest", "where", "document")
"""Columns that may name the document of a row."""

_FORMATS = ".csv, .jsonl, .ndjson, .json, .parquet and .npy"
_NAMED = 3  # of the rows or documents that a message counts
_BATCH_ROWS = 65_536
_LONGEST_LINE = 1 << 20
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")

_Batch = tuple[Sequence[Any], Sequence[Any]]
"""What rows hold: whom they name, and what they say."""


def read_scores(path: Path, texts: Texts, column: str = "score") -> np.ndarray:
    """Return the score of each document that reaches a step `(n,)`, from a file that has one for each.

    Args:
        path: The file; the module says what it may hold.
        texts: The documents.
        column: The column of scores; an .npy has none.

    Raises:
        CorpusError: The file can't be read; rows are missing, doubled or extra, or hold no finite number; or all
            scores are equal. The message begins with `texts.place`, counts the rows and names the first ones.
    """
    scores = _matched(path, texts, column)
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        names = ", ".join(_wheres(texts, missing[:_NAMED]))
        raise CorpusError(
            f"{texts.place}: {path}: {len(missing)} of {len(texts)} documents have no {column}, such as {names}; "
            "expected a row for each document"
        )
    check_scores(scores, texts, f"{path}: {column}")
    return scores


def read_labels(path: Path, texts: Texts, column: str = "label") -> np.ndarray:
    """Return the label of each document that reaches a step `(n,)`, NaN where the file has none for it.

    Arguments and errors as `read_scores`, except that rows may be missing and labels equal.
    """
    return _matched(path, texts, column)


def check_scores(scores: np.ndarray, texts: Texts, what: str) -> None:
    """Raise CorpusError unless scores `(n,)` can choose among the documents: all finite, not all of several equal.

    `what` says whose they are, as in `judged.csv: score`.
    """
    if scores.shape != (len(texts),):
        raise CorpusError(f"{texts.place}: {what}: got {scores.shape}; expected {len(texts)} scores, one a document")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        names = ", ".join(_wheres(texts, bad[:_NAMED]))
        raise CorpusError(
            f"{texts.place}: {what}: {len(bad)} of {len(scores)} scores aren't finite, such as of {names}; expected "
            "finite numbers"
        )
    if len(scores) > 1 and (scores == scores[0]).all():
        raise CorpusError(
            f"{texts.place}: {what}: is {scores[0]:g} for all {len(scores)} documents; expected scores that differ"
        )


def _matched(path: Path, texts: Texts, column: str) -> np.ndarray:
    """What a file says of each document that reaches a step `(n,)`, NaN where it says nothing."""
    place = f"{texts.place}: {path}"
    if path.suffix.lower() == ".npy":
        return _in_order(path, texts, place)
    try:
        key, batches = _rows(path, column, place)
        of_rows, says = _gathered(key, batches, column, texts.folder, place)
    except CorpusError:
        raise
    except Exception as error:  # what a damaged file makes its reader raise has no common class
        raise CorpusError(f"{place}: can't be read: {getattr(error, 'strerror', None) or error}") from None
    if not len(says):
        raise CorpusError(f"{place}: has no row; expected some")
    training, others = _of_documents(key, texts)
    order = np.argsort(of_rows, kind="stable")
    ranked = of_rows[order]
    doubled = np.sort(order[1:][ranked[1:] == ranked[:-1]])
    _refuse(doubled, place, "name a document that an earlier row names", "one row for each document")
    extra = np.flatnonzero(~np.isin(of_rows, training) & ~np.isin(of_rows, others))
    if len(extra):
        named = f", such as {next(texts.everything())[1].where}" if key == "where" else ""
        _refuse(extra, place, f"name no document of the domain by its {key}", f"rows of its documents only{named}")
    _refuse(np.flatnonzero(~np.isfinite(says)), place, f"hold no finite {column}", "a finite number in each")
    wanted = training[texts.numbers]
    at = np.minimum(np.searchsorted(ranked, wanted), len(ranked) - 1)
    return np.where(ranked[at] == wanted, says[order[at]], np.nan)


def _in_order(path: Path, texts: Texts, place: str) -> np.ndarray:
    """The numbers of an .npy, which has one for each training document of the domain."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise CorpusError(f"{place}: can't be read: {error.strerror or error}") from None
    except (ValueError, EOFError):
        raise CorpusError(f"{place}: isn't an array of NumPy; expected a .npy as numpy.save writes it") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf" or values.ndim != 1:
        raise CorpusError(f"{place}: expected an array of numbers in one dimension, one for each training document")
    if len(values) != texts.total:
        raise CorpusError(
            f"{place}: has {len(values)} rows; expected {texts.total}, one for each training document of the domain in "
            "order"
        )
    numbers = np.asarray(values, float)
    _refuse(np.flatnonzero(~np.isfinite(numbers)), place, "hold no finite number", "a finite number in each")
    return numbers[texts.numbers]


def _refuse(rows: np.ndarray, place: str, fault: str, expected: str) -> None:
    """Raise if there are rows with a fault, counted from 0 here and from 1 in the message."""
    if len(rows):
        named = ", ".join(str(row + 1) for row in rows[:_NAMED].tolist())
        more = ", …" if len(rows) > _NAMED else ""
        raise CorpusError(f"{place}: rows that {fault}: {len(rows)} (row {named}{more}); expected {expected}")


def _gathered(
    key: str, batches: Iterator[_Batch], column: str, folder: Path, place: str
) -> tuple[np.ndarray, np.ndarray]:
    """Whom the rows name, as numbers of 64 bits `(rows,)`, and what they say `(rows,)`, NaN where that is nothing."""
    number_of = _row_key(key, folder)
    named, said = array("Q"), array("d")
    for names, values in batches:
        for name, value in zip(names, values, strict=True):
            row = len(said) + 1
            number = number_of(name)
            if number is None:
                expected = {"digest": "64 hexadecimal digits", "where": "text such as web.jsonl:7"}
                wanted = expected.get(key, "a whole number from 0")
                raise CorpusError(f"{place}: row {row}: {key}: got {shown(name)}; expected {wanted}")
            if not isinstance(value, int | float | None):
                raise CorpusError(f"{place}: row {row}: {column}: got {shown(value)}; expected a number")
            named.append(number)
            said.append(np.nan if value is None else _float(value))
    return np.array(named, np.uint64), np.array(said, float)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _row_key(key: str, folder: Path) -> Callable[[Any], int | None]:
    """What turns the name of a document in a row into a number of 64 bits, or None where it isn't one."""

    prefixes = _prefixes(folder)

    def digest(name: Any) -> int | None:
        return int(name[:16], 16) if isinstance(name, str) and _DIGEST.fullmatch(name) else None

    def where(name: Any) -> int | None:
        return _where_key(name, prefixes) if isinstance(name, str) and name else None

    def document(name: Any) -> int | None:
        return name if type(name) is int and 0 <= name < 2**63 else None

    return {"digest": digest, "where": where, "document": document}[key]


def _prefixes(folder: Path) -> tuple[str, ...]:
    """How paths to what lies in a folder may begin, as messages write them or in full."""
    return tuple(f"{str(start).rstrip(os.sep)}{os.sep}" for start in (folder, folder.absolute()))


def _where_key(where: str, prefixes: tuple[str, ...]) -> int:
    """A number of 64 bits for where a document stands, the same for a path that is relative to the folder."""
    prefix = next((prefix for prefix in prefixes if where.startswith(prefix)), "")
    path = os.path.normpath(where.removeprefix(prefix)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "big")


def _of_documents(key: str, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """The number of 64 bits for each training document of a domain, in order, and for each of the others."""
    if key == "document":
        return np.arange(texts.total, dtype=np.uint64), np.array([], np.uint64)
    prefixes = _prefixes(texts.folder)

    def number_of(document: Document) -> int:
        return int.from_bytes(document.digest[:8], "big") if key == "digest" else _where_key(document.where, prefixes)

    found = {"train": array("Q"), "valid": array("Q")}
    for side, document in texts.everything():
        found[side].append(number_of(document))
    return np.array(found["train"], np.uint64), np.array(found["valid"], np.uint64)


def _wheres(texts: Texts, numbers: Iterable[int]) -> list[str]:
    """Where documents stand, by their number among those that reach the step."""
    wanted = sorted(int(number) for number in numbers)
    first = islice(enumerate(texts), wanted[-1] + 1)
    return [document.where for number, document in first if number in wanted]


def _rows(path: Path, column: str, place: str) -> tuple[str, Iterator[_Batch]]:
    """Which column names the document of a row, and the rows in batches."""
    kind = path.suffix.lower()
    if kind == ".csv":
        return _csv(path, column, place)
    if kind == ".parquet":
        return _parquet(path, column, place)
    if kind in (".jsonl", ".ndjson", ".json"):
        return _json_lines(path, column, place)
    raise CorpusError(f"{place}: isn't a kind of file that can be read; expected {_FORMATS}")


def _key_of(names: Iterable[str], column: str, place: str) -> str:
    """Which of the columns names the document of a row. Raises CorpusError unless one does, and `column` is there."""
    names = list(names)
    listed = ", ".join(shown(name) for name in names[:12]) or "none"
    if column not in names:
        raise CorpusError(f"{place}: has no column {shown(column)}; it has {listed}")
    twice = next((name for name in (column, *KEYS) if names.count(name) > 1), None)
    if twice is not None:
        raise CorpusError(f"{place}: has the column {twice} twice; expected it once")
    keys = [key for key in KEYS if key in names and key != column]
    if len(keys) != 1:
        raise CorpusError(f"{place}: has the columns {listed}; expected one of {', '.join(KEYS)} beside {column}")
    return keys[0]


def _csv(path: Path, column: str, place: str) -> tuple[str, Iterator[_Batch]]:
    import pyarrow as pa
    from pyarrow import csv

    with csv.open_csv(path) as table:
        key = _key_of(table.schema.names, column, place)
    types = {key: pa.string(), column: pa.string()}
    options = csv.ConvertOptions(column_types=types, include_columns=[key, column], strings_can_be_null=False)

    def batches() -> Iterator[_Batch]:
        with csv.open_csv(path, convert_options=options) as table:
            for batch in table:
                names, values = batch.column(0).to_pylist(), batch.column(1).to_pylist()
                if key == "document":
                    names = [_read(name, int) for name in names]
                yield names, [_read(value, float) for value in values]

    return key, batches()


def _read(text: str, kind: type[int] | type[float]) -> Any:
    """The number of a cell, None for a blank one; the cell itself where it holds something else."""
    try:
        return kind(text) if text.strip() else None
    except ValueError:
        return text


def _parquet(path: Path, column: str, place: str) -> tuple[str, Iterator[_Batch]]:
    import pyarrow.parquet as pq

    key = _key_of(pq.read_schema(path).names, column, place)

    # a name that is repeated stands in the file once, and as a dictionary once in memory, too
    names = [] if key == "document" else [key]

    def batches() -> Iterator[_Batch]:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20, read_dictionary=names) as table:
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=[key, column]):
                yield _values(batch.column(key)), batch.column(column).to_pylist()

    return key, batches()


def _values(names: Any) -> list[Any]:
    """The values of an Arrow array; those of a dictionary are made once."""
    if not hasattr(names, "dictionary"):
        return names.to_pylist()
    distinct = names.dictionary.to_pylist()
    return [None if index is None else distinct[index] for index in names.indices.to_pylist()]


def _json_lines(path: Path, column: str, place: str) -> tuple[str, Iterator[_Batch]]:
    def records() -> Iterator[dict[str, Any]]:
        with open(path, "rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE + 1), b""), start=1):
                if line.isspace():
                    continue
                try:
                    record = json.loads(line) if len(line) <= _LONGEST_LINE else None
                except (ValueError, RecursionError):
                    record = None
                if not isinstance(record, dict):
                    raise CorpusError(f"{place}:{number}: isn't a JSON object on a line of its own; expected one")
                yield record

    first = next(records(), None)
    key = _key_of(first or {}, column, place) if first is not None else KEYS[0]
    return key, (([record.get(key)], [record.get(column)]) for record in records())
