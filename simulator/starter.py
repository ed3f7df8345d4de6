"""The commented configuration that `simulate init` writes: the main example, so that there is one to keep right."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from ..errors import InputError
from ..files import write_text

NAME = "run.yaml"


def write_starter(folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write `run.yaml` into `folder`, made if absent. InputError if the file is there and `overwrite` isn't set."""
    target = Path(folder) / NAME
    if target.exists() and not overwrite:
        raise InputError(f"{target}: is already there; take another folder, or --force to overwrite it")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be made: {error.strerror}") from None
    text = resources.files("foretrain.examples").joinpath("llama-7b.yaml").read_text(encoding="utf-8")
    write_text(target, text.replace("examples/llama-7b.yaml", NAME))
    return target
