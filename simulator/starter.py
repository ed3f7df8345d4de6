"""The project that `simulate init` writes: corpus, proxies, plan and study, commented, small enough for one sitting."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from ..core.errors import InputError
from ..core.files import write_text

__all__ = ["FILES", "write_starter"]

FILES = ("corpora.yaml", "space.yaml", "run.yaml", "study.yaml")
"""What a project has, in the order in which one meets it."""


def write_starter(folder: str | os.PathLike[str], overwrite: bool = False) -> list[Path]:
    """Write the project's files into `folder`, made if absent; return their paths.

    InputError, and nothing written, if one of them is there and `overwrite` isn't set.
    """
    targets = [Path(folder) / name for name in FILES]
    there = [str(path) for path in targets if path.exists()]
    if there and not overwrite:
        raise InputError(f"{', '.join(there)}: already there; take another folder, or --force to overwrite")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be made: {error.strerror}") from None
    source = resources.files("foretrain.examples.project")
    for target in targets:
        write_text(target, source.joinpath(target.name).read_text(encoding="utf-8"))
    return targets
