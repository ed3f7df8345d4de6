"""A predictor as plain values and back: what `predictor.json` holds, checked before anything believes it."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ....core.output.plain import is_plain, made_plain, strings_of
from ....core.units import shown
from ....core.version import __version__
from ...fitting import Fit
from ...laws import Law, Reference, get_law
from ..calibration import GRID, Calibration
from ..loss_model import LossModel
from ..predictor import Predictor
from .facts import checked_about, checked_name, checked_notes, checked_plain
from .forms_format import forms_from, forms_to_list
from .misfit_format import misfit_arrays, misfit_from, misfit_to_dict
from .surrogate_format import surrogate_arrays, surrogate_from, surrogate_to_dict, with_new_parameters

FORMAT = 1
"""Version of the layout; a predictor of another version is refused."""

_MOST_NOISE = 10.0  # mean absolute residual of log loss; the worst real table has 0.1
_WIDEST = 1e4  # quantile of |z|; real ones end near 3
_TINY, _HUGE = 1e-6, 1e40  # parameters, tokens, FLOPs
_MOST_DRAWS = 10_000  # of a target; a fit keeps 200
_MOST_LEARNED_ROWS = 150_000  # of all targets' learners together: a hundred targets of as many runs as one may have


def to_dict(predictor: Predictor) -> dict[str, Any]:
    """A predictor as plain values, everything but the draws: what `predictor.json` and `simulate fit --json` hold."""
    facts = {
        "format": FORMAT,
        "name": predictor.name,
        "about": _plain({"versions": _versions(), **predictor.about}),
        "notes": list(predictor.notes),
        "order": list(predictor.models),
        "targets": {name: _target_to_dict(model) for name, model in predictor.models.items()},
    }
    return made_plain(facts)  # what is written can be read: names that come from files may hold anything


def _target_to_dict(model: LossModel) -> dict[str, Any]:
    fit = model.fit
    return {
        "law": fit.law.name,
        "fixed": {k: v for k, v in fit.law.fixed.items() if k not in fit.law.member.fixed},
        "reference": _plain(fit.reference.values),
        "theta": {name: _digits(v) for name, v in zip(fit.law.names, fit.theta, strict=True)},
        "parameters": {name: _digits(v, 6) for name, v in model.parameters.items()},
        "noise": _digits(fit.noise),
        "objective": _digits(fit.objective, 13),
        "seen": {name: [_digits(low), _digits(high)] for name, (low, high) in model.fitted_ranges.items()},
        "rows": model.rows,
        "calibration": model.calibration.to_dict(),
        "choice": _plain(model.choice),
        **_learned_to_dict(model),
    }


def _learned_to_dict(model: LossModel) -> dict[str, Any]:
    """Training domains, levels of categories, surrogate and its calibration: only where there are any."""
    found: dict[str, Any] = {}
    if model.fit.law.domains:
        found["domains"] = list(model.fit.law.domains)
    if model.fit.law.levels:
        found["levels"] = {column: list(levels) for column, levels in model.fit.law.levels.items()}
    if model.mix_fitted_ranges is not None:
        found["mix_seen"] = {
            name: [_digits(low), _digits(high)] for name, (low, high) in model.mix_fitted_ranges.items()
        }
    if model.surrogate is not None and model.within is not None:
        found |= {"surrogate": surrogate_to_dict(model.surrogate), "within": model.within.to_dict()}
    if model.forms is not None:
        found["forms"] = forms_to_list(model.forms)
    if model.misfit is not None:
        found["misfit"] = misfit_to_dict(model.misfit)
    return found


def arrays_of(predictor: Predictor) -> dict[str, np.ndarray]:
    """Draws and surrogates' arrays of all targets, by the names that `from_dict` looks for."""
    found: dict[str, np.ndarray] = {}
    if predictor.correlation is not None and len(predictor.models) > 1:
        found["correlation"] = predictor.correlation
    for number, model in enumerate(predictor.models.values()):
        # float32 keeps seven digits, far more than a draw means, and hides the last bits that differ between machines
        found[f"draws_{number}"] = model.fit.draws.astype(np.float32)
        if model.surrogate is not None:
            found |= {f"{name}_{number}": values for name, values in surrogate_arrays(model.surrogate).items()}
        if model.misfit is not None:
            found |= {f"{name}_{number}": values for name, values in misfit_arrays(model.misfit).items()}
    return found


def from_dict(data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Predictor:
    """The inverse of `to_dict`, with arrays by name. ValueError, KeyError, TypeError for what isn't ours."""
    for text in strings_of(data):
        if not is_plain(text):
            raise ValueError(f"text with control characters: {shown(text)}")
    name, about, notes = checked_name(data["name"]), checked_about(data["about"]), checked_notes(data["notes"])
    # the files' keys are sorted; the order says which target comes first and whose draws are whose
    if sorted(data["order"]) != sorted(data["targets"]) or not data["targets"]:
        raise ValueError("there is no target, or the order names others")
    learned = sum(array.size for key, array in arrays.items() if key.startswith("z_"))
    if learned > _MOST_LEARNED_ROWS:
        raise ValueError(f"learners of {learned} runs together; expected at most {_MOST_LEARNED_ROWS}")
    targets = {
        target: _target_from_dict(target, data["targets"][target], number, arrays)
        for number, target in enumerate(data["order"])
    }
    return Predictor(name, targets, about, notes, _correlation(arrays.get("correlation"), len(targets)))


def _target_from_dict(name: str, entry: Mapping[str, Any], number: int, arrays: Mapping[str, np.ndarray]) -> LossModel:
    law = get_law(entry["law"], entry.get("domains", ()), _levels(entry.get("levels", {})))
    if entry["fixed"]:
        law = Law(law.member, law.terms, entry["fixed"])
    law = law.of_target(name.removeprefix("loss.") if name.startswith("loss.") else None)
    stated = entry["theta"]
    theta = np.array([float(stated[key]) if key in stated else _unstated(law, key) for key in law.names])
    draws = arrays[f"draws_{number}"].astype(float)
    known = np.array([key in stated for key in law.names])
    if draws.ndim == 2 and draws.shape[1] == len(stated) < len(theta):
        every = np.tile(theta, (len(draws), 1))
        every[:, known] = draws
        draws = every
    if draws.ndim != 2 or draws.shape[1] != len(theta) or not 1 <= len(draws) <= _MOST_DRAWS:
        raise ValueError(f"target {name!r}: draws of shape {draws.shape} for {len(theta)} parameters")
    lower, upper = law.box()
    both = np.vstack([theta[None], draws])[:, law.free]
    if not np.all((both >= lower[law.free] - 1.0) & (both <= upper[law.free] + 1.0)):  # also false for NaN
        raise ValueError(f"target {name!r}: a parameter is not finite or out of its range")
    reference = Reference({key: _within(key, v, 0, _HUGE) for key, v in entry["reference"].items()})
    seen = {key: _range(key, entry["seen"][key]) for key in ("params", "tokens", "compute")}
    seen |= {key: _setting_range(key, ends) for key, ends in entry["seen"].items() if key not in seen}
    for key in ("params", "tokens"):
        reference.log(key)
    noise = _within("noise", entry["noise"], 0, _MOST_NOISE)
    calibration = _calibration(name, entry["calibration"])
    rows, objective = int(_within("rows", entry["rows"], 0, 1e15)), float(entry["objective"])
    fit = Fit(law, reference, theta, draws, noise, objective)
    choice, mixed = checked_plain("choice", entry["choice"]), entry.get("mix_seen")
    mix_seen = None if mixed is None else {key: _range(key, mixed[key]) for key in ("params", "tokens", "compute")}
    forms = None if "forms" not in entry else forms_from(entry["forms"], fit)
    model = LossModel(fit, calibration, seen, rows, choice, mix_fitted_ranges=mix_seen, forms=forms)
    if "surrogate" not in entry and "misfit" not in entry:
        return model
    own = {key.removesuffix(f"_{number}"): values for key, values in arrays.items() if key.endswith(f"_{number}")}
    if "misfit" in entry:
        return replace(model, misfit=misfit_from(entry["misfit"], own))
    own = with_new_parameters(own, known)
    surrogate = surrogate_from(entry["surrogate"], own, law, seen if mix_seen is None else mix_seen)
    return replace(model, surrogate=surrogate, within=_calibration(name, entry["within"]))


def _unstated(law: Law, name: str) -> float:
    """What a parameter was in effect in predictors that were saved before it was there. KeyError for other ones."""
    for parameter in law.parameters:
        if parameter.name == name and parameter.unstated is not None:
            return parameter.unstated
    raise KeyError(name)


def _calibration(name: str, entry: Mapping[str, Any]) -> Calibration:
    calibration = Calibration.from_dict(entry)
    quantiles = calibration.quantiles
    if quantiles.shape != GRID.shape:
        raise ValueError(f"target {name!r}: {len(quantiles)} quantiles; expected {len(GRID)}")
    if not np.all((quantiles >= 0) & (quantiles <= _WIDEST)) or np.any(np.diff(quantiles) < 0):
        raise ValueError(f"target {name!r}: quantiles must rise from 0")
    return calibration


def _levels(entry: Any) -> dict[str, tuple[str, ...]]:
    """The levels of each category that a law was built from."""
    if not isinstance(entry, Mapping):
        raise ValueError("levels: expected a list of levels for each category")
    return {str(column): tuple(map(str, levels)) for column, levels in entry.items()}


def _correlation(matrix: np.ndarray | None, count: int) -> np.ndarray | None:
    """The correlation of the targets' errors, `(count, count)`; None where the archive has none."""
    if matrix is None:
        return None
    if matrix.shape != (count, count) or not np.all(np.abs(matrix) <= 1.0 + 1e-9):  # also false for NaN
        raise ValueError("correlation: expected numbers from -1 to 1, one for each pair of targets")
    return matrix.astype(float)


def _within(key: str, value: Any, low: float, high: float) -> float:
    number = float(value)
    if not low < number <= high:
        raise ValueError(f"{key}: got {number}; expected a number above {low:g} and up to {high:g}")
    return number


def _range(key: str, limits: Any) -> tuple[float, float]:
    low, high = (_within(key, v, _TINY, _HUGE) for v in limits)
    if low > high:
        raise ValueError(f"{key}: {low} to {high} is no range")
    return low, high


def _setting_range(key: str, limits: Any) -> tuple[float, float]:
    """The range of a setting, which may be negative."""
    low, high = (float(value) for value in limits)
    if not -_HUGE < low <= high < _HUGE:
        raise ValueError(f"{key}: {low} to {high} is no range")
    return low, high


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
