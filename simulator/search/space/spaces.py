"""`Space`: the search space of a study, and the conversion of its values to run configurations and back.

Values at paths are put into the run as it is written, and the result is read as any run configuration is. Some settings
are adjusted to them: `model.params` of a run with an architecture scales the shape within its family, a batch from a
range (any batch, where the number of devices varies) becomes one that they can share evenly, `optim.lr_final` keeps its
ratio to `optim.lr`, the stocks of a mix's domains go to `data.unique_tokens_by_domain`, and text as it is keeps all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from pydantic import ValidationError

from ....core.errors import ConfigError
from ....core.model.architecture import Architecture
from ....core.model.mixers.members.attention import ATTENTION
from ....core.model.mixers.reading import named_mixer
from ....core.model.shape_family import family_shape, rung
from ....core.reading.config_messages import first_problem
from ....core.units import shown
from ...config.run_config import RunConfig
from ...config.text.selection import NOT_SELECTED
from .dimensions import KEEP, KIND, MIXER, Dimension, MixDimension, RangeDimension, SetDimension, Values
from .paths import get, key_in, put, within

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Space"]

_BATCH = "optim.batch_tokens"
_JUDGE = "data.selection.judge"
_PARAMS, _COUNT = "model.params", "hardware.count"
_MOST_BATCH_CHANGE = 1.3  # that devices may make to a batch which the run states


@dataclass(frozen=True)
class Space:
    """The search space around one run."""

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
        """The run with these values. Raises ConfigError where they contradict each other."""
        mapping = dict(self.base)
        for path, value in self._all(values).items():
            put(mapping, path.split("."), value)
        return RunConfig.from_mapping(mapping, where="trial", folder=self.run.folder)

    def encode(self, values: Values) -> dict[str, Any] | None:
        """Optuna's parameters for these values, the run's own where a path is missing; None if outside the space."""
        every = {**self.current(), **values}
        found: dict[str, Any] = {}
        for dimension in self.dimensions:
            part = dimension.encode(every)
            if part is None:
                return None
            found |= part
        return found

    def current(self) -> dict[str, Any]:
        """The run's own values at the paths of the space."""
        plain = self.run.to_mapping()
        plain["model"]["params"] = self.run.model.params_total
        if (shape := plain["model"]["architecture"]) is not None:
            shape.setdefault("mixer", ATTENTION.name)  # which it leaves out
        values = {"data.tokens": self.run.data.tokens}
        return values | {dimension.path: get(plain, dimension.path.split(".")) for dimension in self.dimensions}

    @property
    def paths(self) -> list[str]:
        """The paths that vary."""
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
        """The ranges along which forecasts are differentiable."""
        return [d for d in self.dimensions if isinstance(d, RangeDimension) and d.smooth and d.continuous]

    def supplies(self, path: str) -> bool:
        """Whether a dimension sets the value at a path."""
        return any(_states(dimension, path) for dimension in self.dimensions)

    def _all(self, values: Values) -> dict[str, Any]:
        """The values with the settings that are derived from them."""
        found, shape = self._apart(values), self.run.model.architecture
        if MIXER in found and shape is not None:
            shape = _mixed(shape, found.pop(MIXER))
            found = {"model": {"architecture": shape.model_dump()}, **found}  # what else varies of it comes after
        if _PARAMS in found and shape is not None:
            params = found.pop(_PARAMS)
            if not _is_number(params):
                raise ConfigError(f"trial: model.params: got {shown(params)}; expected a count such as 7B")
            found["model"] = {"architecture": self._scaled(shape, float(params)).model_dump()}
        count = found.get(_COUNT, self.run.hardware.count)
        bounds = self._batch_bounds()
        if shape is not None and bounds is not None and isinstance(count, int):
            context = found.get("model.architecture.context_length", shape.context_length)
            batch = found.get(_BATCH, self.run.optim.batch_tokens)
            if isinstance(context, int) and _is_number(batch):
                found[_BATCH] = _shared_batch(batch, context, count, bounds)
        optim, lr = self.run.optim, found.get("optim.lr")
        if _is_number(lr) and "optim.lr_final" not in found and optim.lr and optim.lr_final:
            found["optim.lr_final"] = optim.lr_final * lr / optim.lr
        if KIND in found or KEEP in found:
            self._keep_all_of_none(found)
        mix = self.mix
        if mix is not None and found.get(mix.path, self.run.data.mix):
            stocks = {d: float(s) for d, s in zip(mix.domains, mix.stocks, strict=True) if math.isfinite(s)}
            found["data.unique_tokens_by_domain"] = stocks or None
        return found

    def _keep_all_of_none(self, found: dict[str, Any]) -> None:
        """Let text that isn't selected be kept whole, however strict the other selections of the space are."""
        own = self.run.data.selection
        kind = found.get(KIND, None if own is None else own.kind)
        if kind is None:  # of a run that states none, as it is
            found.pop(KIND, None)
            found.pop(KEEP, None)
        elif kind == NOT_SELECTED:
            found |= {KEEP: 1.0, _JUDGE: None}
        elif found.get(KEEP, 1.0) is None:
            found.pop(KEEP)

    def _apart(self, values: Values) -> dict[str, Any]:
        """The values with combined settings split into one value per path."""
        found = dict(values)
        for dimension in self.dimensions:
            if isinstance(dimension, SetDimension) and dimension.section:
                for key, value in (found.pop(dimension.path, None) or {}).items():
                    found.setdefault(f"{dimension.path}.{key}", value)
        return found

    def _scaled(self, shape: Architecture, params: float) -> Architecture:
        """The shape of the run's family with about so many parameters, within the range of sizes if there is one."""
        sizes = next((d for d in self.dimensions if d.path == _PARAMS), None)
        if not isinstance(sizes, RangeDimension):
            return family_shape(shape, params)
        return family_shape(shape, rung(shape, params), sizes.low, sizes.high)

    def _batch_bounds(self) -> tuple[float, float] | None:
        """Where a batch may be moved to so that devices share it; None where it is to stay as it is.

        A batch from a range stays in the range. One that the run states moves a little where the devices vary, or
        nearly every other number of them would be impossible.
        """
        batch = next((d for d in self.dimensions if d.path == _BATCH), None)
        if isinstance(batch, RangeDimension):
            return batch.low, batch.high
        stated = self.run.optim.batch_tokens
        if batch is not None or stated is None or self.run.optim.staged_batches or not self.supplies(_COUNT):
            return None
        return stated / _MOST_BATCH_CHANGE, stated * _MOST_BATCH_CHANGE


def _states(dimension: Dimension, path: str) -> bool:
    """Whether a dimension states what stands at a path, in one of its choices at least."""
    if isinstance(dimension, SetDimension) and dimension.section and path != dimension.path:
        key = key_in(path, dimension.path)
        return within(path, dimension.path) and any(key in choice for choice in dimension.choices)
    return within(path, dimension.path)


def _mixed(shape: Architecture, mixer: Any) -> Architecture:
    """The run's shape with a mixer; None is that of a run which states none. ConfigError for one that doesn't fit."""
    named = named_mixer(ATTENTION if mixer is None else mixer)
    if named == ATTENTION.name and not shape.mixer.has_heads:
        raise ConfigError(
            f"trial: {MIXER}: got {named}, but the run's shape, of mixer {shape.mixer.name}, states no heads; expected "
            "a run with attention: other mixers leave its heads out"
        )
    try:
        return shape.with_mixer(ATTENTION if mixer is None else mixer)
    except ValidationError as error:
        problem = first_problem(error, Architecture, "model.architecture")
        raise ConfigError(f"trial: {problem}") from None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shared_batch(tokens: float, context_length: int, count: int, bounds: tuple[float, float]) -> float:
    """The nearest batch of whole sequences within bounds that all devices can share evenly, else half of them, …"""
    sequences = max(tokens / context_length, 1.0)
    near: list[float] = [tokens]
    for unit in (count // parts for parts in range(1, count + 1) if count % parts == 0 and count // parts <= sequences):
        near = [context_length * unit * turns for turns in (math.floor(sequences / unit), math.ceil(sequences / unit))]
        inside = [one for one in near if bounds[0] <= one <= bounds[1]]
        if inside:
            return float(min(inside, key=lambda one: abs(math.log(one / tokens))))
    return float(near[0])
