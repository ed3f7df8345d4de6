"""The default storage of `simulate optimize` for a study that names none: its own journal under `studies/`.

The file name contains a digest of everything that the trials depend on, search options included: the same command
resumes an interrupted search, and an edited study, another seed or another version of foretrain starts a new journal.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ....core.errors import InputError

__all__ = ["FOLDER", "MEMORY", "own_journal"]

FOLDER = "studies"
"""The folder of journals, relative to the working folder."""
MEMORY = "memory"
"""The name of the in-memory storage."""

_DIGITS = 10  # of the digest in the name: 40 bits, where a folder holds a few thousand studies at most
_LONGEST = 48  # characters of the study's name, of up to four bytes each: file names have 255


def own_journal(name: str, *depends_on: object, folder: str | Path = FOLDER) -> str:
    """The path of a study's own journal.

    Args:
        name: The study's name.
        depends_on: Everything that its trials depend on; a change gives another path.
        folder: The folder of the journal, created if missing.

    Raises:
        InputError: The folder can't be created.
    """
    digest = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:_DIGITS]
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:_LONGEST] or "study"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: can't be made, to keep the study in: {error.strerror or error}; expected a folder that can be "
            f"written; --storage FILE|URL names another place, --storage {MEMORY} keeps nothing"
        ) from None
    return (Path(folder) / f"{stem}-{digest}.journal").as_posix()
