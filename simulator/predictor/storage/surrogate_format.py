"""A surrogate as plain values and arrays, and back; checked before anything believes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...fitting.trees import Trees
from ...laws import Law
from ...surrogate import KINDS, Fade, Features, Surrogate
from ...surrogate._kernel import Hyper
from ...surrogate._process import Inputs, Process
from ...surrogate._surrogate import MOST_ROWS
from ...surrogate._tangent import Tangent
from ...surrogate.features import run_noise_causes

_ARRAYS = ("hyper", "x", "luck", "tangent", "z", "trust", "offset", "root")
_TREES = "trees_"  # before the names of the trees' arrays
_WIDE = 1e6  # no honest feature, tangent or residual is larger in its own unit
_MOST_RATES = 100  # eleven are written
_SIZES = ("params", "tokens", "compute")
_HUGE = 1e40
_WIDEST_LOG = 40.0  # log hyperparameters are learned within 14 of zero


def surrogate_to_dict(surrogate: Surrogate) -> dict[str, Any]:
    """What `predictor.json` holds of a surrogate: everything but arrays."""
    return {
        "kind": surrogate.kind,
        "joint": surrogate.joint,
        "features": surrogate.features.to_dict(),
        "unit": surrogate.process.unit,
        "fade": _fade_to_dict(surrogate.fade),
        "errors": {name: float(f"{error:.6g}") for name, error in surrogate.errors.items()},
    }


def surrogate_arrays(surrogate: Surrogate) -> dict[str, np.ndarray]:
    """Its arrays by name."""
    process, tangent = surrogate.process, surrogate.tangent
    inputs = process.inputs
    values = (process.hyper.vector(), inputs.x, inputs.run_noise, inputs.tangent, process.z, process.trust)
    found: dict[str, np.ndarray] = dict(zip(_ARRAYS, (*values, tangent.offset, tangent.root), strict=True))
    if surrogate.trees is not None:
        # the archive holds floating-point numbers only; single precision keeps numbers of nodes and features exactly
        for name, array in surrogate.trees.arrays().items():
            found[_TREES + name] = array.astype(np.float32) if array.dtype.kind == "i" else array
    return found


def with_new_parameters(arrays: Mapping[str, np.ndarray], known: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a file from before a law had some of its parameters: all but those that are `known: (P,)`."""
    found, old = dict(arrays), int(known.sum())
    for name, axes in (("tangent", (1,)), ("offset", (0,)), ("root", (0, 1))):
        array = found.get(name)
        if array is None or known.all() or array.shape[-1] != old:
            continue
        for axis in axes:
            places = np.clip(np.cumsum(known) - 1, 0, None)
            shape = [-1 if each == axis else 1 for each in range(array.ndim)]
            array = np.take(array, places, axis=axis) * known.reshape(shape)
        found[name] = array
    return found


def surrogate_from(
    entry: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    law: Law,
    fitted: Mapping[str, tuple[float, float]],
) -> Surrogate:
    """The inverse. `fitted` are the ranges of the fitted sizes, for files that don't state how a correction fades.

    Raises ValueError, KeyError or TypeError for what isn't ours."""
    kind, features = entry["kind"], Features.from_dict(entry["features"])
    trees = {name.removeprefix(_TREES): array for name, array in arrays.items() if name.startswith(_TREES)}
    if kind not in KINDS or bool(trees) != (kind != "gp"):
        raise ValueError(f"surrogate {kind!r} {'with' if trees else 'without'} trees")
    if set(features.shares) - {f"mix.{domain}" for domain in law.domains}:
        raise ValueError("the surrogate reads shares that the law doesn't know")
    values = {name: np.asarray(arrays[name], dtype=float) for name in _ARRAYS}
    n, c = len(values["z"]), run_noise_causes(law)
    d, s, p = len(features.names), len(features.shares), len(law.parameters)
    expected = {"hyper": (d + s + c + 2,), "x": (n, d), "luck": (n, c), "tangent": (n, p), "z": (n,), "trust": (n,)}
    expected |= {"offset": (p,), "root": (p, p)}
    for name, array in values.items():
        if array.shape != expected[name] or not 1 <= n <= MOST_ROWS:
            raise ValueError(f"surrogate array {name!r} of shape {array.shape}; expected {expected[name]}")
        if not np.all(np.abs(array) < _WIDE):  # also false for NaN
            raise ValueError(f"surrogate array {name!r}: not finite, or out of range")
    x, trust = values["x"], values["trust"]
    unit = float(entry["unit"])
    if not 0 < unit < 10 or not np.all((trust > 0) & (trust <= 1)) or np.any(x[:, :s] < 0):
        raise ValueError("surrogate: unit, trust or shares out of range")
    if np.any(np.abs(values["hyper"]) > _WIDEST_LOG):
        raise ValueError("surrogate: hyperparameters out of range")
    inputs = Inputs(x, values["luck"], values["tangent"])
    process = Process(Hyper.of(values["hyper"], s, c), unit, inputs, values["z"], trust)
    with np.errstate(all="ignore"):  # LinAlgError, a ValueError, where the numbers are no covariance
        if not np.all(np.isfinite(process.predict(inputs.take(np.arange(1))))):
            raise ValueError("surrogate: its predictions are not finite")
    tangent = Tangent(values["offset"], values["root"])
    errors = {str(name): float(error) for name, error in entry["errors"].items()}
    grown = Trees.of(trees, d) if trees else None
    fade = _fade(entry.get("fade"), fitted)
    return Surrogate(kind, features, tangent, process, fade, bool(entry["joint"]), grown, errors)


def _fade_to_dict(fade: Fade) -> dict[str, Any]:
    tried = {name: list(ends) for name, ends in fade.tried.items()}
    return {"tried": tried, "rates": fade.rates.tolist(), "weights": fade.weights.tolist()}


def _fade(entry: Mapping[str, Any] | None, fitted: Mapping[str, tuple[float, float]]) -> Fade:
    """How a correction fades; as usual, beyond what was fitted, in files from before that was learned."""
    if entry is None:
        return Fade.usual(fitted)
    tried = {name: (float(entry["tried"][name][0]), float(entry["tried"][name][1])) for name in _SIZES}
    if not all(0 < low <= high < _HUGE for low, high in tried.values()):
        raise ValueError("fade: expected a range of sizes")
    rates, weights = (np.array(entry[name], dtype=float) for name in ("rates", "weights"))
    if rates.shape != weights.shape or rates.ndim != 1 or not 1 <= len(rates) <= _MOST_RATES:
        raise ValueError(f"fade: {rates.shape} rates and {weights.shape} weights; expected as many of each")
    if not np.all((rates >= 0) & (rates < _WIDE)) or not np.all(weights >= 0) or not abs(weights.sum() - 1.0) < 1e-6:
        raise ValueError("fade: expected rates of at least 0, and weights that sum to 1")
    return Fade(tried, rates, weights)
