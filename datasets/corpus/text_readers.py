"""Reading documents out of one file, as a stream: JSON lines, Parquet and plain text.

Each reader yields a text and where it stands. Memory is bounded by the largest document, which is at most 64 MiB, and
for Parquet by a row group's pages. Everything is UTF-8. Whatever is wrong is a `CorpusError` that says where.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from ...core.errors import CorpusError
from ...core.units import shown
from .text_files import TextFile, open_bytes

__all__ = ["MAX_DOCUMENT_BYTES", "RawText", "read_texts"]

MAX_DOCUMENT_BYTES = 64 << 20
"""Largest document, in bytes of UTF-8; for JSON lines, the largest line."""

UNPACKED_BYTES = 1 << 30
"""What any packed file may unpack to, bytes; a larger one by its size."""

MOST_UNPACKED = 200
"""Bytes of text for each byte of a packed file beyond that: text packs to a tenth, not to a thousandth."""

MOST_BLANK_LINES = 1_000_000
"""Blank lines in a row; a small file can unpack to any number."""

_BATCH_ROWS = 256
_MAX_LISTED = 12
_BOM = b"\xef\xbb\xbf"
_DAMAGE = (EOFError, OSError, zlib.error)  # what reading a damaged or packed file may raise
_GZIP_START, _ZSTD_START, _UTF16_STARTS = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", (b"\xff\xfe", b"\xfe\xff")


class RawText(NamedTuple):
    """A text as it was found, possibly blank, and where: `file:line` (JSON lines), `file:row` (Parquet) or `file`."""

    text: str
    where: str


def read_texts(file: TextFile, text_field: str) -> Iterator[RawText]:
    """Yield every text of a file in order; a null is the empty text. `text_field` is the key or column of records.

    Raises `CorpusError` for a file that is empty, binary, damaged, cut off or not UTF-8, and for records without text.
    """
    if file.kind == "json lines":
        return _json_lines(file, text_field)
    if file.kind == "parquet":
        return _parquet(file, text_field)
    return _plain_text(file)


def _plain_text(file: TextFile) -> Iterator[RawText]:
    """Yield the one text of a file, which may be empty."""
    where = str(file.path)
    with _opened(file) as stream:
        data = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise _too_large(where, "split it into several files")
    yield RawText(_decoded(data.removeprefix(_BOM), where), where)


def _json_lines(file: TextFile, text_field: str) -> Iterator[RawText]:
    """Yield the text of each line; blank lines are passed over."""
    count = 0
    with _opened(file) as stream:
        for number, line in enumerate(_lines(stream, file), start=1):
            where = f"{file.path}:{number}"
            if len(line) > MAX_DOCUMENT_BYTES:
                raise _too_large(where, "is each document on a line of its own?")
            text = _decoded(line.removeprefix(_BOM) if number == 1 else line, where)
            if text.isspace():
                continue
            count += 1
            yield RawText(_text_of(text, text_field, where), where)
    if not count:
        raise CorpusError(f"{file.path}: is empty; expected one JSON object per line")


def _lines(stream: BinaryIO, file: TextFile) -> Iterator[bytes]:
    """Yield the lines of a stream, none longer than a byte more than is allowed."""
    number, blank = 1, 0
    left = _most_unpacked(file)
    try:
        while line := stream.readline(MAX_DOCUMENT_BYTES + 1):
            left -= len(line)
            if left < 0:
                raise unpacks_too_far(f"{file.path}:{number}")
            blank = blank + 1 if line in (b"\n", b"\r\n") else 0
            if blank > MOST_BLANK_LINES:
                raise CorpusError(f"{file.path}:{number}: {blank:,} blank lines follow each other; expected documents")
            yield line
            number += 1
    except _DAMAGE as error:
        raise _damaged(f"{file.path}:{number}", error) from error


def _text_of(line: str, text_field: str, where: str) -> str:
    """Return the text of one JSON line."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else error
        raise CorpusError(f"{where}: isn't JSON ({reason}); expected one JSON object per line") from None
    if not isinstance(record, dict):
        raise CorpusError(f'{where}: got {shown(record)}; expected an object such as {{"{text_field}": "…"}}')
    if text_field not in record:
        raise _no_field(where, text_field, record)
    value = record[text_field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorpusError(f"{where}: {text_field} is {shown(value)}; expected text (a string)")
    if not value.isascii():
        # Escapes can spell half of a surrogate pair, which isn't a character and has no UTF-8.
        _encodable(value, where)
    return value


def _parquet(file: TextFile, text_field: str) -> Iterator[RawText]:
    """Yield the text of each row, reading no other column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        schema = pq.read_schema(file.path)
        if text_field not in schema.names:
            raise _no_field(str(file.path), text_field, schema.names)
        _check_type(schema.field(text_field).type, text_field, file)
        # a text that is repeated stands in the file once, and as a dictionary once in memory too
        texts = [text_field]
        with pq.ParquetFile(file.path, pre_buffer=False, buffer_size=1 << 20, read_dictionary=texts) as table:
            left = _most_unpacked(file)
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=[text_field]):
                for value in _values(batch.column(0)):
                    row += 1
                    where = f"{file.path}:{row}"
                    if value is not None and len(value) > MAX_DOCUMENT_BYTES:
                        raise _too_large(where, "split the document")
                    left -= len(value or "")
                    if left < 0:
                        raise unpacks_too_far(where)
                    yield RawText(value or "", where)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(f"{file.path}:{row + 1}", error) from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file.path}: between rows {row + 1} and {row + _BATCH_ROWS}: isn't UTF-8 text") from error
    if not row:
        raise CorpusError(f"{file.path}: is empty; expected at least one row")


def _values(column: Any) -> Iterator[str | None]:
    """The texts of an Arrow array; those of a dictionary are made once."""
    if hasattr(column, "dictionary"):
        values = column.dictionary.to_pylist()
        return (None if index is None else values[index] for index in column.indices.to_pylist())
    return iter(column.to_pylist())


def _most_unpacked(file: TextFile) -> int:
    """Bytes of text that a file may unpack to."""
    return max(UNPACKED_BYTES, MOST_UNPACKED * file.path.stat().st_size)


def _check_type(kind: Any, text_field: str, file: TextFile) -> None:
    """Raise `CorpusError` unless the Arrow type `kind` is text."""
    import pyarrow.types as types

    value = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)):
        raise CorpusError(f"{file.path}: column {shown(text_field)} holds {kind}; expected text (string)")


@contextmanager
def _opened(file: TextFile) -> Iterator[BinaryIO]:
    """Open a file as `open_bytes` does; what the system and the unpacking libraries raise is a `CorpusError`."""
    try:
        with open_bytes(file) as stream:
            yield stream
    except _DAMAGE as error:
        raise _damaged(str(file.path), error) from error


def _damaged(where: str, error: BaseException) -> CorpusError:
    """Return the error for a file that can't be read to its end."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return CorpusError(f"{where}: can't be read ({reason}); is the file damaged or cut off?")


def _decoded(data: bytes, where: str) -> str:
    """Return UTF-8 as text; raise `CorpusError` for anything else, with a word on what it seems to be."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if data.startswith((_GZIP_START, _ZSTD_START)):
            raise CorpusError(f"{where}: is compressed; expected a name that ends in .gz or .zst then") from None
        if data.startswith(_UTF16_STARTS):
            raise CorpusError(f"{where}: is UTF-16 text; expected UTF-8, save it as that") from None
        if b"\0" in data:
            raise _binary(where) from None
        line = data.count(b"\n", 0, error.start) + 1
        at = f"byte {error.start + 1}" + (f" (line {line})" if line > 1 else "")
        raise CorpusError(f"{where}: {at} isn't UTF-8 text; expected UTF-8, save it as that") from None
    if "\0" in text:
        raise _binary(where)
    return text


def _encodable(text: str, where: str) -> None:
    """Raise `CorpusError` for text that has no UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        bad = f"\\u{ord(text[error.start]):04x}"
        raise CorpusError(f"{where}: the escape {bad} isn't a character (half of a surrogate pair)") from None


def _binary(where: str) -> CorpusError:
    return CorpusError(f"{where}: is binary (it holds NUL bytes); expected UTF-8 text")


def _too_large(where: str, hint: str) -> CorpusError:
    return CorpusError(f"{where}: is larger than {MAX_DOCUMENT_BYTES >> 20} MiB, the limit of one document; {hint}")


def unpacks_too_far(where: str) -> CorpusError:
    """The error for a packed file whose text never ends."""
    return CorpusError(
        f"{where}: too large: unpacks to more than {UNPACKED_BYTES >> 20} MiB and {MOST_UNPACKED} times the file's "
        "size; expected text, unpack it to see what it is"
    )


def _no_field(where: str, text_field: str, fields: Any) -> CorpusError:
    """Return the error for records that lack the text field; lists those that they have."""
    names = [str(name) for name in fields]
    listed = ", ".join(shown(name) for name in names[:_MAX_LISTED]) + (", …" if len(names) > _MAX_LISTED else "")
    if not names:
        return CorpusError(f"{where}: has no fields at all; expected {shown(text_field)} with the text")
    return CorpusError(f"{where}: has no {shown(text_field)}; expected a text_field that is there: {listed}")
