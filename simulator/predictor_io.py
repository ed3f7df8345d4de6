"""A predictor on disk: a folder of `predictor.json`, `draws.npz`, `MODEL_CARD.md` and a manifest of their digests.

Digests are checked before anything is parsed; the archive's sizes are checked before anything is unpacked; nothing is
executed. Predictors that ship with the package are such folders in `datasets/facts/laws`, known by name.
"""

from __future__ import annotations

import io
import json
import math
import os
import platform
import zipfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import FitError, PredictorError
from ..files import check_manifest, read_bounded_text, write_bytes, write_json, write_manifest, write_text
from .calibration import GRID, Calibration
from .fitting import Fit
from .laws import Law, Reference, get_law
from .model_card import model_card
from .predictor import Predictor, TargetModel

FORMAT = 1
DEFAULT = "web-text"
"""The shipped predictor that `simulate predict` uses unless told otherwise."""
_MAX_JSON_BYTES = 4_000_000
_MAX_ARRAY_BYTES = 64_000_000
_FILES = ("predictor.json", "draws.npz", "MODEL_CARD.md")


def shipped() -> list[str]:
    """Names of the predictors that ship with the package."""
    return sorted(p.name for p in _facts().iterdir() if p.is_dir() and (p / "predictor.json").is_file())


def save(predictor: Predictor, folder: str | os.PathLike[str]) -> None:
    """Write a predictor's folder, each file whole, the manifest last. Raises InputError if it can't be written."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise PredictorError(f"{folder}: is a file; expected a folder to write a predictor into")
    foreign = [p.name for p in folder.iterdir() if p.name not in (*_FILES, "MANIFEST.json")] if folder.exists() else []
    if foreign:
        raise PredictorError(f"{folder}: holds other files, such as {foreign[0]!r}; expected an empty or new folder")
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    models = list(predictor.targets.values())
    # float32 keeps seven digits, far more than a draw means, and hides the last bits that differ between machines
    np.savez(buffer, **{f"draws_{i}": m.fit.draws.astype(np.float32) for i, m in enumerate(models)})  # type: ignore[arg-type]
    write_json(folder / "predictor.json", to_dict(predictor))
    write_bytes(folder / "draws.npz", buffer.getvalue())
    write_text(folder / "MODEL_CARD.md", model_card(predictor))
    write_manifest(folder)


def load(where: str | os.PathLike[str]) -> Predictor:
    """Load a shipped predictor by name, or one from a folder. PredictorError says what is missing or damaged."""
    folder = Path(where)
    if str(where) in shipped() and not folder.is_dir():
        folder = Path(str(_facts())) / str(where)
    if not folder.is_dir():
        raise PredictorError(
            f"{where}: no such predictor; expected a folder made by `simulate fit`, or {_or(shipped())}"
        )
    if not (folder / "predictor.json").is_file():
        raise PredictorError(f"{folder}: has no predictor.json; expected a folder made by `simulate fit --out`")
    check_manifest(folder)
    text = read_bounded_text(folder / "predictor.json", _MAX_JSON_BYTES, error=PredictorError)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PredictorError(f"{folder / 'predictor.json'}: is not JSON ({error})") from None
    try:
        if data["format"] != FORMAT:
            raise PredictorError(f"{folder}: has format {data['format']!r}; this version reads format {FORMAT}")
        return _from_dict(data, _arrays(folder / "draws.npz"))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, FitError) as error:
        if isinstance(error, PredictorError):
            raise
        raise PredictorError(
            f"{folder / 'predictor.json'}: is not one of ours ({type(error).__name__}: {error})"
        ) from None


def _facts():
    return resources.files("foretrain.datasets.facts.laws")


def _or(names: list[str]) -> str:
    return "one of " + ", ".join(names) if names else "a shipped name"


def to_dict(predictor: Predictor) -> dict[str, Any]:
    """A predictor as plain values, everything but the draws: what `predictor.json` and `simulate fit --json` hold."""
    return {
        "format": FORMAT,
        "name": predictor.name,
        "about": _plain({"versions": _versions(), **predictor.about}),
        "notes": list(predictor.notes),
        "targets": {name: _target_to_dict(model) for name, model in predictor.targets.items()},
    }


def _target_to_dict(model: TargetModel) -> dict[str, Any]:
    fit = model.fit
    return {
        "law": fit.law.name,
        "fixed": {k: v for k, v in fit.law.fixed.items() if k not in fit.law.member.fixed},
        "reference": _plain(fit.reference.values),
        "theta": {name: _digits(v) for name, v in zip(fit.law.names, fit.theta, strict=True)},
        "parameters": {name: _digits(v, 6) for name, v in model.parameters.items()},
        "noise": _digits(fit.noise, 5),
        "objective": _digits(fit.objective),
        "seen": {name: [_digits(low), _digits(high)] for name, (low, high) in model.seen.items()},
        "rows": model.rows,
        "calibration": model.calibration.to_dict(),
        "choice": _plain(model.choice),
    }


def _from_dict(data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Predictor:
    targets = {}
    for number, (name, entry) in enumerate(data["targets"].items()):
        law = get_law(entry["law"])
        if entry["fixed"]:
            law = Law(law.member, law.terms, entry["fixed"])
        theta = np.array([float(entry["theta"][key]) for key in law.names])
        draws = arrays[f"draws_{number}"].astype(float)
        if draws.ndim != 2 or draws.shape[1] != len(theta) or not len(draws):
            raise ValueError(f"target {name!r}: draws of shape {draws.shape} for {len(theta)} parameters")
        calibration = Calibration.from_dict(entry["calibration"])
        if calibration.quantiles.shape != GRID.shape:
            raise ValueError(f"target {name!r}: {len(calibration.quantiles)} quantiles; expected {len(GRID)}")
        reference = Reference({key: float(v) for key, v in entry["reference"].items()})
        noise, objective = float(entry["noise"]), float(entry["objective"])
        numbers = [*theta, *draws.ravel(), *calibration.quantiles, *reference.values.values(), noise]
        if not np.all(np.isfinite(numbers)):
            raise ValueError(f"target {name!r}: a parameter is not finite")
        seen = {key: (float(low), float(high)) for key, (low, high) in entry["seen"].items()}
        fit = Fit(law, reference, theta, draws, noise, objective)
        targets[name] = TargetModel(fit, calibration, seen, int(entry["rows"]), dict(entry["choice"]))
    if not targets:
        raise ValueError("there is no target")
    return Predictor(str(data["name"]), targets, dict(data["about"]), tuple(data["notes"]))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > _MAX_ARRAY_BYTES:
            raise PredictorError(f"{path}: unpacks to {size} bytes; expected at most {_MAX_ARRAY_BYTES}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise PredictorError(f"{path}: is not an array archive of ours ({error})") from None


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("numpy", "scipy", "pandas", "pydantic")
    return {"foretrain": __version__, "python": platform.python_version(), **{name: version(name) for name in names}}


def _digits(value: float, digits: int = 10) -> float:
    """Rounded to significant digits, so that files agree between machines whose last bits differ."""
    return float(f"{float(value):.{digits}g}")


def _plain(value: Any) -> Any:
    """JSON values only: numbers rounded, mappings and sequences copied, NaN as null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return _digits(float(value)) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
