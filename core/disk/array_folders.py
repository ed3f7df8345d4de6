"""What the folders of fitted things share: where one may be written, how a path is named, how arrays are read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import PredictorError, UsageError
from ..files import AT_WORK
from ..output.plain import is_plain
from ..units import shown

__all__ = ["check_folder", "named", "read_arrays"]


def check_folder(folder: str | os.PathLike[str], ours: Callable[[str], bool], what: str = "predictor") -> Path:
    """The folder as a path, if `what` may be written there: new, empty, or with files that are `ours` by name.

    Raises UsageError for an empty name, PredictorError for a file or a folder that holds anything else.
    """
    if not str(folder).strip():
        raise UsageError(f"--out: the {what}'s folder has an empty name; expected a path, such as mine")
    path = Path(folder)
    try:
        if path.exists() and not path.is_dir():
            raise PredictorError(f"{named(folder)}: is a file; expected a folder to write a {what} into")
        held = [p.name for p in path.iterdir()] if path.exists() else []
        foreign = [name for name in held if not (ours(name) or AT_WORK.fullmatch(name))]
    except (OSError, ValueError) as error:
        if isinstance(error, PredictorError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise PredictorError(f"{named(folder)}: can't be a {what}'s folder: {reason}") from None
    if foreign:
        raise PredictorError(f"{folder}: holds other files, such as {foreign[0]!r}; expected an empty or new folder")
    return path


def named(where: str | os.PathLike[str]) -> str:
    """A path for a message: as it was given, unless it is monstrous."""
    text = str(where)
    return text if len(text) <= 200 and is_plain(text) else shown(text)


def read_arrays(path: Path, most_bytes: int) -> dict[str, np.ndarray]:
    """The arrays of an archive, none of them pickled; sizes are taken from the directory before anything unpacks.

    Raises PredictorError for what isn't an archive of floating-point arrays, or unpacks to more than `most_bytes`.
    """
    try:
        if (packed := path.stat().st_size) > most_bytes:  # a directory of a million empty entries, say
            raise PredictorError(f"{path}: holds {packed} bytes; expected at most {most_bytes}")
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > most_bytes:
            raise PredictorError(f"{path}: unpacks to {size} bytes; expected at most {most_bytes}")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except PredictorError:
        raise
    except Exception as error:  # whatever zipfile, zlib and numpy make of a crafted archive, it is not ours
        raise PredictorError(f"{path}: is not an array archive of ours ({type(error).__name__}: {error})") from None
    for name, array in found.items():
        if array.dtype.kind != "f":
            raise PredictorError(f"{path}: {name} holds {array.dtype}; is not an array archive of ours")
    return found
