"""A predictor on disk: `predictor.json`, `draws.npz` with all arrays, `MODEL_CARD.md`, a manifest of their digests.

Digests are checked before anything is parsed; the archive's sizes are checked before anything is unpacked; nothing is
executed. Predictors that ship with the package are such folders in `datasets/facts/laws`, known by name.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ....core.disk.array_folders import check_folder, named, read_arrays
from ....core.disk.folders import read_whole, replaced
from ....core.errors import FitError, PredictorError
from ....core.files import (
    check_manifest,
    read_json,
    write_bytes,
    write_json,
    write_text,
)
from ....core.output.plain import visible
from ....core.units import shown
from ..named import view, views
from ..predictor import Predictor
from .format import FORMAT, arrays_of, from_dict, to_dict
from .model_card import model_card

DEFAULT = "web-text"
"""The shipped predictor that `simulate predict` uses unless told otherwise."""
_MAX_JSON_BYTES = 4_000_000
_MAX_ARRAY_BYTES = 64_000_000
_FILES = ("predictor.json", "draws.npz", "MODEL_CARD.md")
# LightGBM's own texts, which predictors held before trees were arrays: a crafted one ends the process that parses it
_TREE_TEXT = re.compile(r"trees_\d+\.txt")


def shipped() -> list[str]:
    """Names of the predictors that ship with the package."""
    folders = [p.name for p in _facts().iterdir() if p.is_dir() and (p / "predictor.json").is_file()]
    return sorted([*folders, *views()])


def check_destination(folder: str | os.PathLike[str]) -> Path:
    """The folder as a path, if a predictor may be written there: new, empty, or an earlier predictor's.

    Raises UsageError for an empty name, PredictorError for a file or a folder that holds anything else.
    """
    return check_folder(folder, _ours)


def save(predictor: Predictor, folder: str | os.PathLike[str]) -> None:
    """Save a predictor into a folder, all of it or nothing: a predictor that was there is kept until then.

    Args:
        predictor: The predictor.
        folder: The folder: new, empty, or holding an earlier predictor.

    Raises:
        UsageError: The name of the folder is empty.
        PredictorError: The folder can't be made or holds something else.
        InputError: A file can't be written.

    >>> import tempfile
    >>> import foretrain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     foretrain.save_predictor(foretrain.load_predictor("chinchilla-massivetext"), folder)
    ...     foretrain.load_predictor(folder).name
    'chinchilla-massivetext'
    """
    path = check_destination(folder)
    facts = to_dict(predictor)
    card = "\n".join(map(visible, model_card(predictor).split("\n")))
    buffer = io.BytesIO()
    arrays: dict[str, Any] = arrays_of(predictor)
    np.savez(buffer, allow_pickle=False, **arrays)
    with replaced(path, _ours) as new:
        write_json(new / "predictor.json", facts)
        write_bytes(new / "draws.npz", buffer.getvalue())
        write_text(new / "MODEL_CARD.md", card)


def load(where: str | os.PathLike[str]) -> Predictor:
    """Load a shipped predictor by its name, or one from a folder.

    Args:
        where: Name of a shipped predictor, such as "web-text", or the folder that `save_predictor` or `simulate fit`
            wrote.

    Returns:
        The predictor.

    Raises:
        PredictorError: There is no such predictor, or something in its folder is missing or damaged.

    >>> import foretrain
    >>> predictor = foretrain.load_predictor("web-text")
    >>> predictor.name, predictor.main_loss
    ('web-text', 'loss')
    """
    folder = Path(where)
    if str(where) in views() and not folder.is_dir():
        return view(str(where))
    try:
        if str(where) in shipped() and not folder.is_dir():
            folder = Path(str(_facts())) / str(where)
        there = folder.is_dir()
    except (OSError, ValueError):  # a name that no file system allows
        there = False
    if not there:
        known = ", ".join(shipped())
        raise PredictorError(
            f"{named(where)}: no such predictor; expected a folder made by `simulate fit --out`, or one of {known}"
        )
    return read_whole(folder, _read)


def _read(folder: Path) -> Predictor:
    """The predictor whose files are in this folder."""
    if not (folder / "predictor.json").is_file():
        raise PredictorError(f"{folder}: has no predictor.json; expected a folder made by `simulate fit --out`")
    check_manifest(folder)
    data = read_json(folder / "predictor.json", _MAX_JSON_BYTES, PredictorError)
    try:
        if data["format"] != FORMAT:
            raise PredictorError(f"{folder}: has format {shown(data['format'])}; this version reads format {FORMAT}")
        _refuse_tree_texts(folder, data["about"])
        return from_dict(data, read_arrays(folder / "draws.npz", _MAX_ARRAY_BYTES))
    except PredictorError:
        raise
    except (ArithmeticError, AttributeError, FitError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = shown(str(error), 300) if len(str(error)) > 300 else error
        where = folder / "predictor.json"
        raise PredictorError(f"{where}: is not one of ours ({type(error).__name__}: {reason})") from None


def _ours(name: str) -> bool:
    return name in (*_FILES, "MANIFEST.json") or _TREE_TEXT.fullmatch(name) is not None


def _facts():
    return resources.files("foretrain.datasets.facts.laws")


def _tree_texts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _TREE_TEXT.fullmatch(path.name))


def _refuse_tree_texts(folder: Path, about: Mapping[str, Any]) -> None:
    if texts := _tree_texts(folder):
        table = shown(about["table"], 200) if "table" in about else "RUNS"
        raise PredictorError(
            f"{folder}: {texts[0].name} holds trees in a form that this version doesn't read; "
            f"make the predictor again: simulate fit {table} --out {shlex.quote(str(folder))}"
        )
