"""Folders whose files are replaced all at once: whoever reads sees the old ones or the new ones, never some of each.

A writer holds `.lock`, writes into `.new` inside the folder, syncs it with its manifest, and renames it to
`.committed`: from this moment on that is what the folder holds. Then the files are put in their places and `.committed`
is removed. A process that dies before the rename has changed nothing; after it, readers take `.committed`, and the next
writer puts its files in place. What dead writers left is removed by the next one. All of it is inside the folder, so
that a mount point, a working folder or a link stays what it is, and its parent need not be writable.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ..errors import ForetrainError, PredictorError
from ..files import AT_WORK, MANIFEST_NAME, sync_folder, write_manifest
from .array_folders import named

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["read_whole", "replaced"]

_NEW, _COMMITTED, _LOCK = ".new", ".committed", ".lock"
_WAIT_S = 60.0  # for another writer, which takes a fraction of a second
_TRIES = 50

_Found = TypeVar("_Found")


@contextlib.contextmanager
def replaced(folder: str | os.PathLike[str], ours: Callable[[str], bool]) -> Iterator[Path]:
    """An empty folder to write files into, which take the place of those of `folder` when the block ends well.

    If it doesn't, `folder` is as it was. The manifest is written here.

    Args:
        folder: The folder, made if there is none. What it holds must be `ours`, see `check_folder`.
        ours: Which names may be removed because the new files don't have them.

    Raises:
        PredictorError: The folder can't be made, or another process has been writing into it for a minute.
        InputError: A file can't be written.
    """
    root, made = Path(os.path.realpath(folder)), False
    try:
        made = not root.is_dir()
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            _finish(root, ours)
            try:
                new = root / _NEW
                new.mkdir()
                yield new
                write_manifest(new)
                sync_folder(new)
                new.rename(root / _COMMITTED)
            except BaseException:
                shutil.rmtree(root / _NEW, ignore_errors=True)
                raise
            finally:
                made = made and not (root / _COMMITTED).exists()
            sync_folder(root)
            with contextlib.suppress(OSError):  # it is committed; whoever comes next puts it in place
                _finish(root, ours)
    except OSError as error:
        raise PredictorError(f"{named(folder)}: can't be written: {error.strerror or error}") from None
    finally:
        # a folder that was made for nothing; one that holds anything stays
        with contextlib.suppress(OSError):
            if made:
                root.rmdir()


def read_whole(folder: str | os.PathLike[str], read: Callable[[Path], _Found]) -> _Found:
    """What `read` makes of the files that were written into `folder` last, all of them by the same writer.

    `read` is called with the folder that holds them, and again if they were replaced meanwhile.
    """
    root = Path(folder)
    for attempt in range(_TRIES):
        before = _stamp(root)
        try:
            found = read(root if before[0] is None else root / _COMMITTED)
        except (ForetrainError, OSError):
            if attempt == _TRIES - 1 or _stamp(root) == before:
                raise
        else:
            if _stamp(root) == before:
                return found
        time.sleep(0.01)
    raise PredictorError(f"{named(folder)}: is being rewritten all the time; expected a folder that rests for a moment")


def _stamp(root: Path) -> tuple[object, ...]:
    """What changes whenever a folder's files are replaced."""
    facts: list[object] = []
    for name in (_COMMITTED, MANIFEST_NAME):
        try:
            found = os.lstat(root / name)
            facts += [None, None] if stat.S_ISLNK(found.st_mode) else [found.st_ino, found.st_mtime_ns]
        except (OSError, ValueError):  # also a name that no file system allows
            facts += [None, None]
    return tuple(facts)


def _finish(root: Path, ours: Callable[[str], bool]) -> None:
    """Put in place what was committed, then remove what writers have left. Call it under the lock."""
    committed = root / _COMMITTED
    if committed.is_dir() and not committed.is_symlink():
        if (committed / MANIFEST_NAME).is_file():
            _put_in_place(committed, root, ours)
        shutil.rmtree(root / _NEW, ignore_errors=True)
        committed.rename(root / _NEW)
    for path in list(root.iterdir()):
        if path.name != _LOCK and AT_WORK.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _put_in_place(committed: Path, root: Path, ours: Callable[[str], bool]) -> None:
    """The committed files into the folder, the manifest last; they stay in `committed` too, for who reads there."""
    names = sorted((path.name for path in committed.iterdir()), key=lambda name: (name == MANIFEST_NAME, name))
    for name in names:
        temporary = root / f".tmp-{os.urandom(8).hex()}"
        try:
            os.link(committed / name, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(committed / name, temporary)
        os.replace(temporary, root / name)
    for path in list(root.iterdir()):
        if path.name not in names and ours(path.name) and not AT_WORK.fullmatch(path.name):
            path.unlink()
    sync_folder(root)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the folder for this process, waiting for others; the kernel lets go of it when its holder dies."""
    path = root / _LOCK
    if fcntl is None:
        from filelock import FileLock, Timeout

        try:
            with FileLock(path, timeout=_WAIT_S):
                yield
        except Timeout:
            raise _in_use(root) from None
        return
    descriptor = _lock_file(root, path)
    try:
        yield
    finally:
        # removed while it is held: whoever waits for it sees that the file is another one and takes that
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _lock_file(root: Path, path: Path) -> int:
    assert fcntl is not None
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        except BlockingIOError:
            time.sleep(0.01)
        except FileNotFoundError:  # removed by who held it
            pass
        except OSError:
            return descriptor  # a file system without locks: a single writer is safe all the same
        os.close(descriptor)
    raise _in_use(root)


def _in_use(root: Path) -> PredictorError:
    return PredictorError(
        f"{named(root)}: another process has been writing into it for {_WAIT_S:g} s; wait for it, or stop it"
    )
