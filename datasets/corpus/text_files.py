"""Finding the files of a domain, and opening them as plain bytes whatever they are packed in.

A path names a file, a folder or a glob. What is read:

- records, one document each: JSON lines (.jsonl, .ndjson; .json only where it is named, because folders often hold
  other JSON) and Parquet (.parquet);
- plain text, one document per file: .txt and .md;

all but Parquet also as .gz or .zst. A folder is read recursively in sorted order; hidden files and folders, links to
folders, and files of other kinds are passed over; a glob must match nothing but files that can be read. Records and
plain text together are refused, for the text is then likely a README.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast

from ...core.errors import CorpusError
from ...core.units import shown

__all__ = ["ACCEPTED", "FileKind", "TextFile", "find_files", "open_bytes"]

FileKind = Literal["json lines", "parquet", "text"]

ACCEPTED = ".jsonl, .ndjson, .txt, .md (each also .gz or .zst) and .parquet"
"""What a folder may hold, in words."""

_KINDS: dict[str, FileKind] = {
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".json": "json lines",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
}
_PACKINGS = (".gz", ".zst")
_ONLY_IF_NAMED = ".json"
_BUFFER_BYTES = 1 << 18
_MAX_LISTED = 6


class TextFile(NamedTuple):
    """A file to read: its path, what it holds, and how it is packed (`.gz`, `.zst` or nothing)."""

    path: Path
    kind: FileKind
    packing: str


def find_files(folder: Path, pattern: str, place: str) -> list[TextFile]:
    """Return the files that `pattern`, relative to `folder`, names, in the order in which they are read.

    `place` starts the message of an error, such as ``corpora.yaml:7: domains.books.path``. Raises `CorpusError` if
    there is no such file, nothing matches, or what is there isn't text that can be read.
    """
    target = folder / pattern
    try:
        if target.is_dir():
            return _of_one_sort(_in_folder(target, place), place)
        if target.exists():
            return [_named(target, place)]
        matches = _matches(target) if any(sign in pattern for sign in "*?[") else []
    except (OSError, ValueError) as error:
        # A path that contains a NUL character is a ValueError.
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{place}: got {shown(pattern)}; can't be read: {reason}") from error
    if not matches:
        what = "no file matches" if any(sign in pattern for sign in "*?[") else "there is no such file or folder"
        raise CorpusError(f"{place}: got {shown(pattern)}; {what} (looked for {target})")
    return _of_one_sort([_named(match, place) for match in matches], place)


@contextmanager
def open_bytes(file: TextFile) -> Iterator[BinaryIO]:
    """Open a file for reading its unpacked bytes.

    Raises whatever the unpacking library raises for a damaged or cut-off file, also while it is read: EOFError,
    zlib.error, OSError.
    """
    if file.packing == ".gz":
        with gzip.open(file.path, "rb") as stream:
            yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER_BYTES))
    elif file.packing == ".zst":
        # Not the zstandard package, whose stream ends without a word where a file is cut off.
        import pyarrow as pa

        with pa.input_stream(str(file.path), compression="zstd") as stream:
            yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER_BYTES))
    else:
        with open(file.path, "rb", buffering=_BUFFER_BYTES) as stream:
            yield stream


def _kind_of(path: Path) -> tuple[TextFile | None, str]:
    """Return the file as one that can be read, or None, and its extension without the packing."""
    name = path.name.lower()
    packing = next((packing for packing in _PACKINGS if name.endswith(packing)), "")
    extension = os.path.splitext(name.removesuffix(packing))[1]
    kind = _KINDS.get(extension)
    if kind is None or (kind == "parquet" and packing):
        return None, extension
    return TextFile(path, kind, packing), extension


def _named(path: Path, place: str) -> TextFile:
    """Return a file that was named, by path or by glob; raise `CorpusError` if it isn't one of ours."""
    file, _ = _kind_of(path)
    if file is None:
        raise CorpusError(f"{place}: {path}: isn't a kind of file that can be read; expected {ACCEPTED}")
    if not path.is_file():
        raise CorpusError(f"{place}: {path}: is a device or a pipe; expected a regular file")
    return file


def _matches(target: Path) -> list[Path]:
    """Return the files that a glob matches, `**` included, sorted; hidden ones only if the pattern says so."""
    return [Path(match) for match in sorted(glob.glob(str(target), recursive=True)) if not os.path.isdir(match)]


def _in_folder(folder: Path, place: str) -> list[TextFile]:
    """Return the files below `folder` that can be read; raise `CorpusError` if there are none."""
    found: list[TextFile] = []
    others: list[str] = []
    for path in _walk(folder):
        file, extension = _kind_of(path)
        if file is None or extension == _ONLY_IF_NAMED or not path.is_file():
            others.append(path.relative_to(folder).as_posix())
        else:
            found.append(file)
    if not found:
        listed = ", ".join(others[:_MAX_LISTED]) + (", …" if len(others) > _MAX_LISTED else "")
        raise CorpusError(f"{place}: {folder}: holds {listed or 'no files'}; expected files that end in {ACCEPTED}")
    return found


def _of_one_sort(files: list[TextFile], place: str) -> list[TextFile]:
    """Return the files; raise `CorpusError` if they are records and plain text together."""
    texts = [file.path for file in files if file.kind == "text"]
    if 0 < len(texts) < len(files):
        record = next(file.path for file in files if file.kind != "text")
        raise CorpusError(
            f"{place}: leads to records ({len(files) - len(texts)} files, such as {record.name}) and plain text "
            f"({len(texts)}, such as {texts[0].name}); say which with a glob, such as folder/**/*{record.suffix}"
        )
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below `folder` in sorted order, without hidden ones; links to folders aren't followed."""

    def refuse(error: OSError) -> None:
        raise error

    paths = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(parent, name) for name in names if not name.startswith(".")]
    yield from sorted(paths, key=lambda path: path.relative_to(folder).as_posix())
