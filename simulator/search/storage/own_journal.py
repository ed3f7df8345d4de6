"""Where `simulate optimize` keeps a study that names no storage: a journal of its own under `studies/`.

Its name holds a digest of everything that the trials depend on, the way of searching included: the same command goes on
where it was interrupted, and an edited study, another seed or another version of foretrain begins anew, beside it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ....core.errors import InputError

__all__ = ["FOLDER", "MEMORY", "own_journal"]

FOLDER = "studies"
"""Under the working folder."""
MEMORY = "memory"
"""Names the storage that keeps nothing."""

_DIGITS = 10  # of the digest in the name: 40 bits, where a folder holds a few thousand studies at most
_LONGEST = 48  # characters of the study's name, of up to four bytes each: file names have 255


def own_journal(name: str, *depends_on: object, folder: str | Path = FOLDER) -> str:
    """The path of a study's own journal in `folder`, which is made; another one for all that its trials depend on.

    Raises InputError if the folder can't be made.
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
