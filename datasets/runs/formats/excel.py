"""Read a sheet of an Excel workbook as cells, bounded, without running anything in it.

Values only: formulas count as what they gave when the file was last saved. Macros aren't read, nor
files that hold them.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

from ....core.errors import RunTableError
from ....core.extras import require
from ....core.units import shown

__all__ = ["MOST_UNPACKED_BYTES", "read_sheet"]

MOST_UNPACKED_BYTES = 256 * 1024**2
"""Largest unpacked workbook: a small file can unpack to any size."""

_MOST_ROWS = 100_000
_MOST_CELLS = 2_000_000


def read_sheet(data: bytes, where: str) -> tuple[list[str], list[list[Any]], list[str]]:
    """The first sheet that holds a table: two or more columns and a row below its header.

    Args:
        data: The workbook.
        where: Its name, for messages.

    Returns:
        The header, the rows as long as it is, and what is to be said of the choice.

    Raises:
        RunTableError: It isn't a workbook, is too large, or holds no table.
        MissingExtraError: openpyxl isn't installed.
    """
    require("an Excel table", "openpyxl")
    import openpyxl

    _refuse_bombs(data, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations, which nobody reads here
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            names, found = list(book.sheetnames), None
            for name in names:
                rows = _rows(book[name], where, name)
                if len(rows) >= 2 and len(rows[0]) >= 2:
                    found = name, rows
                    break
            book.close()
    except RunTableError:
        raise
    except Exception as error:  # what its parsers raise of a damaged file has no common base
        problem = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise RunTableError(f"{where}: damaged, or not an Excel workbook ({problem})") from None
    if found is None:
        raise RunTableError(f"{where}: no sheet holds a table; expected a header row and one row per run")
    name, (header, *rest) = found
    notes = []
    if len(names) > 1:
        others = ", ".join(shown(other) for other in names if other != name)
        notes.append(f"read sheet {shown(name)}, the first that holds a table, and not {others[:200]}")
    return ["" if cell is None else str(cell) for cell in header], rest, notes


def _refuse_bombs(data: bytes, where: str) -> None:
    """Raise RunTableError for what isn't a zip file, unpacks to too much, or holds macros."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            parts = packed.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise RunTableError(f"{where}: damaged, or not an Excel workbook ({error})") from None
    size = sum(part.file_size for part in parts)
    if size > MOST_UNPACKED_BYTES:
        raise RunTableError(f"{where}: unpacks to {size:,} bytes; an Excel table has at most {MOST_UNPACKED_BYTES:,}")
    if any(part.filename.lower().endswith("vbaproject.bin") for part in parts):
        raise RunTableError(f"{where}: holds macros; save it as a workbook without them (.xlsx), or as CSV")


def _rows(sheet: Any, where: str, name: str) -> list[list[Any]]:
    """The filled rows of a sheet, without empty columns at the right; blanks are None."""
    if not hasattr(sheet, "iter_rows"):  # a chart
        return []
    rows: list[list[Any]] = []
    cells = 0
    for row in sheet.iter_rows(values_only=True, max_row=_MOST_ROWS + 1):
        cells += len(row)
        if cells > _MOST_CELLS or len(rows) > _MOST_ROWS:
            most = f"{_MOST_ROWS:,} rows or {_MOST_CELLS:,} cells"
            raise RunTableError(f"{where}: sheet {shown(name)} has more than {most}; save it as CSV")
        if any(cell not in (None, "") for cell in row):
            rows.append(list(row))
    width = max((place + 1 for row in rows for place, cell in enumerate(row) if cell not in (None, "")), default=0)
    return [(row + [None] * width)[:width] for row in rows]
