"""A library of curves on disk: `curves.json` (runs and fitted laws), `curves.npz` (points and rates), a manifest.

Digests are checked before parsing, sizes before unpacking, and every curve's values before use.
"""

from __future__ import annotations

import io
import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from ...core.disk.array_folders import check_folder, named, read_arrays
from ...core.disk.folders import read_whole, replaced
from ...core.errors import InputError, PredictorError
from ...core.files import MANIFEST_NAME, check_manifest, read_json, write_bytes, write_json
from ...core.output.plain import is_plain, made_plain
from ...core.version import __version__
from .law.fitting import CurveFit, check_curve
from .law.transfer import Library
from .library import Curve
from .rates.path import RatePath

FORMAT = 2
"""Version of the layout and of the law; a folder of a version that is not known is refused."""
_OTHER_LAW = (1,)  # versions whose fits are of an earlier law: they are made again from the curves
_JSON, _ARRAYS = "curves.json", "curves.npz"
_MAX_JSON_BYTES, _MAX_ARRAY_BYTES = 8_000_000, 512_000_000


def check_destination(folder: str | os.PathLike[str]) -> Path:
    """The folder as a path, if curves may be written there: new, empty, or an earlier library's."""
    return check_folder(folder, _ours, "curve library")


def save(library: Library, folder: str | os.PathLike[str]) -> None:
    """Save a curve library into a folder, all of it or nothing: a library that was there is kept until then.

    Args:
        library: The library.
        folder: The folder: new, empty, or holding an earlier library.

    Raises:
        UsageError: The name of the folder is empty.
        PredictorError: The folder can't be made or holds something else.
        InputError: A file can't be written, or the library is the public one, of laws without curves.

    >>> import tempfile
    >>> import foretrain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     foretrain.save_curves(foretrain.CurveLibrary([]), folder)
    ...     foretrain.load_curves(folder).curves
    []
    """
    if library.laws:
        raise InputError("a library of fitted laws ships and isn't saved; expected one of curves")
    path = check_destination(folder)
    data = made_plain(to_dict(library))  # what is written can be read: names that come from files may hold anything
    arrays: dict[str, Any] = {}
    for i, curve in enumerate(library.curves):
        arrays |= {f"step_{i}": curve.step, f"loss_{i}": curve.loss, f"rate_{i}": curve.path.rate}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    with replaced(path, _ours) as new:
        write_json(new / _JSON, data)
        write_bytes(new / _ARRAYS, buffer.getvalue())


def _ours(name: str) -> bool:
    return name in (_JSON, _ARRAYS, MANIFEST_NAME)


def to_dict(library: Library) -> dict[str, Any]:
    """A library as plain values, everything but points and rates."""
    fits = library.family_fits()
    return {
        "format": FORMAT,
        "versions": {"foretrain": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "runs": [
            {
                "run_id": curve.run_id,
                "family": curve.family,
                "size": curve.size,
                "steps": curve.path.steps,
                "warmup_steps": curve.path.warmup,
                "points": len(curve.step),
                "final_loss_nats": curve.final_loss,
            }
            for curve in library.curves
        ],
        "fits": [{"runs": list(library.runs_of(fit)), **fit.to_dict()} for fit in fits.values()],
    }


def load(where: str | os.PathLike[str]) -> Library:
    """Load a curve library from the folder that `save_curves` or `simulate curve fit` wrote.

    Args:
        where: The folder.

    Returns:
        The library, with its fits.

    Raises:
        PredictorError: Something is missing or damaged; the message names it.

    >>> import foretrain
    >>> foretrain.load_curves("no/such/folder")
    Traceback (most recent call last):
        ...
    foretrain.core.errors.PredictorError: no/such/folder: there is no such folder; expected a folder made by ...
    """
    return read_whole(where, _read)


def _read(folder: Path) -> Library:
    """The library whose files are in this folder."""
    try:
        there, ours = folder.is_dir(), (folder / _JSON).is_file()
    except (OSError, ValueError):  # a name that no file system allows
        there = ours = False
    if not ours:
        what = f"has no {_JSON}" if there else "there is no such folder"
        raise PredictorError(f"{named(folder)}: {what}; expected a folder made by `simulate curve fit --out`")
    check_manifest(folder)
    data = read_json(folder / _JSON, _MAX_JSON_BYTES, PredictorError)
    arrays = read_arrays(folder / _ARRAYS, _MAX_ARRAY_BYTES)
    try:
        if data["format"] not in (FORMAT, *_OTHER_LAW):
            raise PredictorError(f"{folder}: has format {data['format']!r}; this version reads format {FORMAT}")
        curves = [_curve(run, arrays, i) for i, run in enumerate(data["runs"])]
        if data["format"] in _OTHER_LAW:
            return Library(curves)
        return Library(curves, {tuple(fit["runs"]): _fit(fit, curves) for fit in data["fits"]})
    except PredictorError:
        raise
    except (ArithmeticError, AttributeError, InputError, LookupError, TypeError, ValueError) as error:
        raise PredictorError(f"{folder / _JSON}: is not one of ours ({type(error).__name__}: {error})") from None


def _curve(run: dict[str, Any], arrays: dict[str, np.ndarray], i: int) -> Curve:
    path = RatePath(arrays[f"rate_{i}"], int(run["warmup_steps"]))
    size = float(run["size"])
    if not (math.isfinite(size) and size > 0):
        raise ValueError(f"size {size}")
    names = str(run["run_id"]), str(run["family"])
    if not all(map(is_plain, names)):
        raise ValueError(f"names {names!r}")
    curve = Curve(*names, size, path, arrays[f"step_{i}"].astype(float), arrays[f"loss_{i}"].astype(float))
    check_curve(curve)
    return curve


def _fit(data: dict[str, Any], curves: list[Curve]) -> CurveFit:
    fit = CurveFit.from_dict(data)
    runs = [curve for curve in curves if curve.run_id in data["runs"]]
    if list(fit.level) != list(dict.fromkeys(curve.group for curve in runs)):
        raise ValueError("fits: levels and runs disagree")
    numbers = [fit.shape, *fit.level.values(), fit.covariance.ravel()]
    if fit.covariance.shape != 2 * (4 + 3 * len(fit.level),) or not np.isfinite(np.concatenate(numbers)).all():
        raise ValueError("fits: numbers are missing or not finite")
    return fit
