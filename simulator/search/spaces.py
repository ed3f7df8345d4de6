"""`Space`: from what a study lets vary to run configurations, and back.

Values at paths are put into the run as it is written, and the whole is read as any run configuration is. Four things
follow along: `model.params` of a run with an architecture scales the shape within its family, a batch from a range
becomes one that the devices can share evenly, `optim.lr_final` keeps its ratio to `optim.lr`, and the stocks of a mix's
domains go to `data.unique_tokens_by_domain`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from pydantic import BaseModel

from ...architecture import Architecture
from ...config_errors import Origins, known_keys, suggestion
from ...errors import ConfigError, ForetrainError
from ..config import RunConfig
from .dimensions import Dimension, MixDimension, RangeDimension, SetDimension, Values
from .shapes import family_shape, params_range
from .space_config import ALL_DOMAINS, DomainSpec, RangeSpec, SimplexSpec, Spec, ValueSet, read_spec

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Space", "build_space"]

_STEPPED = ("model.params", "optim.batch_tokens")
"""Ranges along which forecasts jump: shapes and batches come in whole heads, layers and sequences."""


@dataclass(frozen=True)
class Space:
    """What may vary, around one run."""

    base: Mapping[str, Any]
    """The run as it is written."""
    run: RunConfig
    dimensions: tuple[Dimension, ...]
    """The mix comes last, since its bounds depend on tokens."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """The values of a trial."""
        values: dict[str, Any] = {"data.tokens": self.run.data.tokens}
        for dimension in self.dimensions:
            values[dimension.path] = dimension.suggest(trial, values)
        return values

    def config(self, values: Values) -> RunConfig:
        """The run with these values. Raises ConfigError where they don't go together."""
        mapping = dict(self.base)
        for path, value in self._all(values).items():
            _put(mapping, path.split("."), value)
        return RunConfig.from_mapping(mapping, where="trial")

    def encode(self, values: Values) -> dict[str, Any] | None:
        """Optuna's parameters for these values; the run's own where a path isn't among them. None if out of reach."""
        every = {**self.current(), **values}
        found: dict[str, Any] = {}
        for dimension in self.dimensions:
            part = dimension.encode(every)
            if part is None:
                return None
            found |= part
        return found

    def current(self) -> dict[str, Any]:
        """The run's own values of what may vary."""
        plain = self.run.to_mapping()
        plain["model"]["params"] = self.run.model.params_total
        values = {"data.tokens": self.run.data.tokens}
        return values | {dimension.path: _get(plain, dimension.path.split(".")) for dimension in self.dimensions}

    @property
    def paths(self) -> list[str]:
        """What may vary."""
        return [dimension.path for dimension in self.dimensions]

    @property
    def parameters(self) -> list[str]:
        """Names of all Optuna parameters."""
        return [name for dimension in self.dimensions for name in dimension.parameters]

    @property
    def continuous(self) -> bool:
        """Whether every parameter is continuous."""
        return all(dimension.continuous for dimension in self.dimensions)

    @property
    def mix(self) -> MixDimension | None:
        """The mix, if it may vary."""
        return next((one for one in self.dimensions if isinstance(one, MixDimension)), None)

    @property
    def smooth(self) -> list[RangeDimension]:
        """The ranges along which gradients say something."""
        return [d for d in self.dimensions if isinstance(d, RangeDimension) and d.smooth and d.continuous]

    def _all(self, values: Values) -> dict[str, Any]:
        """The values with what follows from them."""
        found, shape = dict(values), self.run.model.architecture
        if "model.params" in found and shape is not None:
            found["model"] = {"architecture": family_shape(shape, float(found.pop("model.params"))).model_dump()}
        batch = next((d for d in self.dimensions if d.path == "optim.batch_tokens"), None)
        if isinstance(batch, RangeDimension) and shape is not None and batch.path in found:
            count = found.get("hardware.count", self.run.hardware.count)
            found[batch.path] = _shared_batch(found[batch.path], shape.context_length, count, batch)
        optim = self.run.optim
        if "optim.lr" in found and "optim.lr_final" not in found and optim.lr and optim.lr_final:
            found["optim.lr_final"] = optim.lr_final * found["optim.lr"] / optim.lr
        mix = self.mix
        if mix is not None:
            stocks = {d: float(s) for d, s in zip(mix.domains, mix.stocks, strict=True) if math.isfinite(s)}
            found["data.unique_tokens_by_domain"] = stocks or None
        return found


def _shared_batch(tokens: float, context_length: int, count: int | None, batch: RangeDimension) -> float:
    """The nearest batch of whole sequences that all devices, or a whole part of them, can share evenly."""
    if count is None:
        return tokens
    sequences = max(tokens / context_length, 1.0)
    unit = next(count // parts for parts in range(1, count + 1) if count % parts == 0 and count // parts <= sequences)
    near = [context_length * unit * turns for turns in (math.floor(sequences / unit), math.ceil(sequences / unit))]
    within = [one for one in near if batch.low <= one <= batch.high] or near
    return float(min(within, key=lambda one: abs(math.log(one / tokens))))


def build_space(
    raw: Mapping[str, Any], base: Mapping[str, Any], run: RunConfig, domains: Sequence[str], origins: Origins
) -> Space:
    """Read the space of a study. `domains` are those whose shares the predictor reads.

    Raises ConfigError that lists every problem with its place in the file.
    """
    problems, dimensions = [], []
    for path, value in raw.items():
        try:
            dimensions.append(_dimension(path, read_spec(path, value, origins), base, run, domains, origins))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    dimensions.sort(key=lambda one: isinstance(one, MixDimension))
    space = Space(base, run, tuple(dimensions))
    _check_ends(space, origins)
    return space


def _dimension(
    path: str, spec: Spec, base: Mapping[str, Any], run: RunConfig, domains: Sequence[str], origins: Origins
) -> Dimension:
    place = f"{origins.of(('space', path))}: space.{path}"
    parts = tuple(path.split("."))
    if parts[-1] not in (known_keys(RunConfig, parts[:-1]) or []):
        raise ConfigError(f"{place}: unknown key; {suggestion(RunConfig, parts)}")
    if isinstance(spec, SimplexSpec):
        return _mix(path, spec, run, domains, place)
    if isinstance(spec, ValueSet):
        return SetDimension.of(path, spec.values, tuple(_read(base, path, value) for value in spec.values))
    kinds = _leaves(RunConfig, parts)
    if not kinds & {int, float}:
        raise ConfigError(f"{place}: isn't a number; expected a list of values instead of a range")
    whole = float not in kinds
    return _range(path, spec, whole, run.model.architecture, place)


def _read(base: Mapping[str, Any], path: str, value: Any) -> Any:
    """A value as a run configuration reads it; as it is where the run doesn't accept it by itself."""
    mapping = dict(base)
    _put(mapping, path.split("."), value)
    try:
        return _get(RunConfig.from_mapping(mapping).to_mapping(), path.split("."))
    except ConfigError:
        return value


def _range(path: str, spec: RangeSpec, whole: bool, shape: Architecture | None, place: str) -> RangeDimension:
    numbers = [spec.low, spec.high, *([] if spec.step is None else [spec.step])]
    if whole and any(not float(number).is_integer() for number in numbers):
        raise ConfigError(f"{place}: is a whole number; got {', '.join(f'{n:g}' for n in numbers)}")
    if path == "model.params" and shape is not None:
        low, high = params_range(shape)
        if spec.low < low or spec.high > high:
            raise ConfigError(f"{place}: got {spec.low:.3g} to {spec.high:.3g}; expected {low:.3g} to {high:.3g}")
    high = spec.high
    if spec.step is not None:  # Optuna wants the last step to be the end
        high = spec.low + spec.step * math.floor((spec.high - spec.low) / spec.step + 1e-9)
    smooth = path not in _STEPPED and not path.startswith(("hardware.", "layout.", "model.architecture."))
    return RangeDimension(path, spec.low, high, spec.log, spec.step, whole, smooth)


def _mix(path: str, spec: SimplexSpec, run: RunConfig, domains: Sequence[str], place: str) -> MixDimension:
    wanted = spec.simplex
    if isinstance(wanted, str):
        if not domains:
            raise ConfigError(f"{place}.simplex: got {ALL_DOMAINS}; the predictor's laws read no mix: name the domains")
        wanted = dict.fromkeys(domains, DomainSpec())
    stated = run.data.unique_tokens_by_domain or {}
    stocks = [one.unique_tokens or stated.get(domain, math.inf) for domain, one in wanted.items()]
    if spec.max_epochs is not None and not np.isfinite(stocks).any():
        raise ConfigError(f"{place}.max_epochs: no domain states its stock; expected unique_tokens of some domains")
    return MixDimension(
        path,
        tuple(wanted),
        np.array([one.min for one in wanted.values()]),
        np.array([one.max for one in wanted.values()]),
        np.array(stocks, dtype=float),
        spec.max_epochs,
    )


def _check_ends(space: Space, origins: Origins) -> None:
    """Refuse ranges and values that no run configuration accepts, whatever else varies."""
    problems = []
    for dimension in space.dimensions:
        if isinstance(dimension, RangeDimension):
            ends = [dimension.low, dimension.high]
        else:
            ends = list(dimension.choices) if isinstance(dimension, SetDimension) else []
        for value in ends:
            try:
                space.config({dimension.path: round(value) if getattr(dimension, "whole", False) else value})
            except ForetrainError as error:
                own = [line for line in str(error).splitlines() if f": {dimension.path}: " in f": {line}"]
                place = origins.of(("space", dimension.path))
                problems += [line.replace("trial: ", f"{place}: space.", 1) for line in own[:1]]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def _leaves(root: type[BaseModel], path: tuple[str, ...]) -> set[type]:
    """The plain types that the field at `path` takes."""
    kind: Any = root
    for part in path:
        section = next(one for one in _types(kind) if isinstance(one, type) and issubclass(one, BaseModel))
        kind = next(f.annotation for name, f in section.model_fields.items() if (f.alias or name) == part)
    return {one for one in _types(kind) if one in (int, float, str, bool)}


def _types(annotation: Any) -> list[Any]:
    """An annotation's types, unions and metadata taken apart."""
    inner = get_args(annotation)
    return [annotation] if not inner else [one for part in inner for one in _types(part)]


def _put(mapping: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value, copying each mapping on the way."""
    for part in path[:-1]:
        mapping[part] = dict(mapping.get(part) or {})
        mapping = mapping[part]
    mapping[path[-1]] = value


def _get(mapping: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = mapping
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
