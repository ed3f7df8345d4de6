"""Files that are written whole, read within bounds, and checked by digest before anything in them is believed.

A result is never half on disk: `write_text`, `write_bytes` and `write_json` write a temporary file in the same folder,
flush it to the disk, and rename it over the target. `write_manifest` and `check_manifest` record and verify the
SHA-256 of each file of a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import InputError, PredictorError
from .units import shown

__all__ = [
    "AT_WORK",
    "MANIFEST_NAME",
    "check_manifest",
    "file_slug",
    "read_bounded_text",
    "read_json",
    "refuse_pipe",
    "sha256_file",
    "sync_folder",
    "version_of",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_text",
]

MANIFEST_NAME = "MANIFEST.json"
"""Name of the file that `write_manifest` writes into a folder."""

AT_WORK = re.compile(r"\.(new|committed|lock|tmp-[0-9a-f]{16})")
"""What writers hold in a folder while they work, see `disk.folders`: no part of its contents."""

_MANIFEST_FORMAT = 1
_MANIFEST_MAX_BYTES = 1_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    Raises `InputError` if the folder is missing or can't be written, or if `path` is a folder or a device. The
    temporary file is removed whatever happens, Ctrl-C included.
    """
    try:
        # A symbolic link keeps pointing at its file, as with a plain write; the file is what is replaced.
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            # Renaming over a device would replace the device itself.
            raise InputError(f"{path}: can't be written: it is a folder or a device; expected the path of a file")
        _replace(target, data)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        # A path that contains a NUL character.
        raise InputError(f"{path!r}: can't be written: {error}") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` as UTF-8, whole; line ends are kept as they are. Errors as in `write_bytes`.

    Raises `InputError` too for text that has no UTF-8: half of a surrogate pair, as in a file's name that isn't UTF-8.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        around = shown(text[max(0, error.start - 20) : error.start + 20])
        raise InputError(f"{path!s}: can't be written: {around} has no UTF-8; expected names in UTF-8") from None
    write_bytes(path, data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` to `path` as JSON; equal values give equal bytes.

    Keys are sorted and floats have their shortest exact form; NumPy scalars and arrays become numbers and lists.
    Raises `ValueError` for NaN and infinities (JSON has none) and `TypeError` for what JSON can't say; otherwise
    errors as in `write_bytes`.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    write_text(path, text + "\n")


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_slug(name: str) -> str:
    """Return a name as a file name may hold it; one that had to change carries a digest to stay unique.

    >>> file_slug("web"), file_slug("Web pages")
    ('web', 'web-pages-8b4df1e9')
    """
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower())[:60]
    return slug if slug == name else f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def read_bounded_text(path: str | os.PathLike[str], max_bytes: int, error: type[InputError] = InputError) -> str:
    """Return the text of a UTF-8 file of at most `max_bytes` bytes; a byte-order mark is dropped.

    Raises `error` if the file is missing, is a folder, can't be read, is larger, or isn't UTF-8.
    """
    refuse_pipe(path, error)
    try:
        with open(path, "rb") as stream:
            # Read instead of stat: it also bounds pipes, and a file that grows meanwhile.
            data = stream.read(max_bytes + 1)
    except FileNotFoundError as cause:
        raise error(f"{path}: there is no such file") from cause
    except IsADirectoryError as cause:
        raise error(f"{path}: is a folder; expected a file") from cause
    except (OSError, ValueError) as cause:
        # A path that contains a NUL character is a ValueError.
        raise error(f"{path}: can't be read: {getattr(cause, 'strerror', None) or cause}") from cause
    if len(data) > max_bytes:
        raise error(f"{path}: is larger than {max_bytes} bytes; expected at most that")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(f"{path}: byte {cause.start} isn't UTF-8 text; is this the right file?") from cause


def version_of(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """What changes when a file does: its number, size and time of change; nothing where there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def refuse_pipe(path: str | os.PathLike[str], error: type[InputError]) -> None:
    """Raise `error` for a named pipe, on which one would wait for ever; the shell's (/dev/fd/63) are read."""
    try:
        waits = stat.S_ISFIFO(os.stat(path).st_mode) and not os.fspath(path).startswith(("/dev/", "/proc/"))
    except (OSError, ValueError):  # which whoever opens it reports
        return
    if waits:
        raise error(f"{path}: is a named pipe; expected a regular file, /dev/stdin or the shell's <(command)")


def read_json(path: str | os.PathLike[str], max_bytes: int, error: type[InputError] = InputError) -> Any:
    """Read a JSON file of at most `max_bytes`; NaN and infinities are read too.

    Raises `error` as `read_bounded_text` does, and if the text isn't JSON or is nested too deeply.
    """
    text = read_bounded_text(path, max_bytes, error)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise error(f"{path}: isn't valid JSON: {cause}; restore it from a copy, or make it anew") from None


def write_manifest(folder: str | os.PathLike[str]) -> None:
    """Write `MANIFEST.json` into `folder`: the size and SHA-256 of every file in it, subfolders included.

    Raises `PredictorError` if there is no such folder, or it holds anything but regular files and folders.
    """
    root = _folder(folder)
    files = {
        name: {"bytes": (root / name).stat().st_size, "sha256": sha256_file(root / name)} for name in _files_in(root)
    }
    write_json(root / MANIFEST_NAME, {"format": _MANIFEST_FORMAT, "files": files})


def check_manifest(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Verify every file of `folder` against its `MANIFEST.json`; return the SHA-256 by relative name.

    Call it before parsing any file of the folder. Raises `PredictorError` that names the first file which is missing,
    extra, of the wrong size or of the wrong content, and for links, devices and names that lead out of the folder.
    """
    root = _folder(folder)
    present = set(_files_in(root))
    listed = _read_manifest(root / MANIFEST_NAME)
    for name in sorted(listed.keys() - present):
        raise PredictorError(f"{root / name}: is missing, though {MANIFEST_NAME} lists it; restore it or write it anew")
    for name in sorted(present - listed.keys()):
        raise PredictorError(f"{root / name}: isn't listed in {MANIFEST_NAME}; remove it or write the folder anew")
    for name, (size, digest) in sorted(listed.items()):
        _check_file(root / name, size, digest)
    return {name: digest for name, (_, digest) in sorted(listed.items())}


def _replace(target: Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `target` and rename it; remove it if anything goes wrong."""
    temporary = target.parent / f".tmp-{secrets.token_hex(8)}"
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        # The first error is the one to report, also where the temporary file never came to be.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(target.parent)


def _folder(folder: str | os.PathLike[str]) -> Path:
    """Return `folder` as a path, or raise `PredictorError` if it isn't one."""
    if not os.path.isdir(folder):
        raise PredictorError(f"{folder}: there is no such folder")
    return Path(folder)


def _check_file(path: Path, size: int, digest: str) -> None:
    """Raise `PredictorError` unless the file has this size (bytes) and SHA-256."""
    try:
        actual_size = path.stat().st_size
        intact = actual_size == size and sha256_file(path) == digest
    except OSError as error:
        raise PredictorError(f"{path}: can't be read: {error.strerror or error}") from error
    if not intact:
        what = f"size is {actual_size} bytes, not the {size}" if actual_size != size else "SHA-256 isn't the one"
        raise PredictorError(f"{path}: is damaged: its {what} that {MANIFEST_NAME} lists; restore it or write it anew")


def _read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """Return (bytes, SHA-256) by name from a manifest of bounded size, every part of it checked."""
    if path.is_symlink():
        raise PredictorError(f"{path}: is a symbolic link; expected a regular file")
    manifest = read_json(path, _MANIFEST_MAX_BYTES, PredictorError)
    if not isinstance(manifest, dict) or manifest.get("format") != _MANIFEST_FORMAT:
        raise PredictorError(f"{path}: isn't a manifest of format {_MANIFEST_FORMAT}")
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise PredictorError(f"{path}: files: got {shown(files)}; expected sizes and digests by file name")
    return {name: _entry(path, name, entry) for name, entry in files.items()}


def _entry(path: Path, name: str, entry: object) -> tuple[int, str]:
    """Return the size and digest of one manifest entry, or raise `PredictorError`."""
    parts = PurePosixPath(name).parts
    # Only the canonical spelling: relative, no "..", no "." or doubled slash, no other system's separators.
    if not parts or ".." in parts or str(PurePosixPath(name)) != name or name[0] == "/" or set(name) & set("\\:\0"):
        raise PredictorError(f"{path}: {shown(name)}: expected the relative name of a file inside the folder")
    size, digest = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    if type(size) is not int or size < 0 or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise PredictorError(f"{path}: {shown(name)}: got {shown(entry)}; expected its bytes and its sha256")
    return size, digest


def _files_in(root: Path) -> Iterator[str]:
    """Yield the relative POSIX name of each file below `root` except its manifest and what writers hold there."""
    for path in sorted(path for top in root.iterdir() if not AT_WORK.fullmatch(top.name) for path in _below(top)):
        mode = path.lstat().st_mode
        name = path.relative_to(root).as_posix()
        if stat.S_ISREG(mode):
            if name != MANIFEST_NAME:
                yield name
        elif not stat.S_ISDIR(mode):
            raise PredictorError(f"{path}: is a link or a device; expected regular files and folders only")


def _below(top: Path) -> Iterator[Path]:
    """A file or folder, and everything in it."""
    yield top
    if not top.is_symlink():
        yield from top.rglob("*")


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system lets a folder be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        # Windows can't open a folder; the rename is atomic there all the same.
        return
    try:
        # Some network file systems refuse to sync a folder. The file itself is already synced and in place.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """Turn a NumPy scalar or array into plain Python, without importing NumPy."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{shown(value)} of type {type(value).__name__} can't be written as JSON")
