"""`Space`: from what a study lets vary to run configurations, and back.

Values at paths are put into the run as it is written, and the whole is read as any run configuration is. Four things
follow along: `model.params` of a run with an architecture scales the shape within its family, a batch from a range
becomes one that the devices can share evenly, `optim.lr_final` keeps its ratio to `optim.lr`, and the stocks of a mix's
domains go to `data.unique_tokens_by_domain`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from ...errors import ConfigError
from ...units import shown
from ..config import RunConfig
from .dimensions import Dimension, MixDimension, RangeDimension, Values
from .paths import get, put, within
from .shapes import family_shape

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Space"]


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
            put(mapping, path.split("."), value)
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
        return values | {dimension.path: get(plain, dimension.path.split(".")) for dimension in self.dimensions}

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

    def supplies(self, path: str) -> bool:
        """Whether a dimension states what stands at a path."""
        return any(within(path, dimension.path) for dimension in self.dimensions)

    def _all(self, values: Values) -> dict[str, Any]:
        """The values with what follows from them."""
        found, shape = dict(values), self.run.model.architecture
        if "model.params" in found and shape is not None:
            params = found.pop("model.params")
            if not _is_number(params):
                raise ConfigError(f"trial: model.params: got {shown(params)}; expected a count such as 7B")
            found["model"] = {"architecture": family_shape(shape, float(params)).model_dump()}
        batch = next((d for d in self.dimensions if d.path == "optim.batch_tokens"), None)
        if isinstance(batch, RangeDimension) and shape is not None and batch.path in found:
            count = found.get("hardware.count", (found.get("hardware") or {}).get("count", self.run.hardware.count))
            context = found.get("model.architecture.context_length", shape.context_length)
            if isinstance(count, int) and isinstance(context, int):
                found[batch.path] = _shared_batch(found[batch.path], context, count, batch)
        optim, lr = self.run.optim, found.get("optim.lr")
        if _is_number(lr) and "optim.lr_final" not in found and optim.lr and optim.lr_final:
            found["optim.lr_final"] = optim.lr_final * lr / optim.lr
        mix = self.mix
        if mix is not None:
            stocks = {d: float(s) for d, s in zip(mix.domains, mix.stocks, strict=True) if math.isfinite(s)}
            found["data.unique_tokens_by_domain"] = stocks or None
        return found


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shared_batch(tokens: float, context_length: int, count: int, batch: RangeDimension) -> float:
    """The nearest batch of whole sequences that all devices, or a whole part of them, can share evenly."""
    sequences = max(tokens / context_length, 1.0)
    unit = next(count // parts for parts in range(1, count + 1) if count % parts == 0 and count // parts <= sequences)
    near = [context_length * unit * turns for turns in (math.floor(sequences / unit), math.ceil(sequences / unit))]
    inside = [one for one in near if batch.low <= one <= batch.high] or near
    return float(min(inside, key=lambda one: abs(math.log(one / tokens))))
