"""The kinds of dimension that a search space has: a range, a set of values, the shares of a mix.

Each names its Optuna parameters, suggests values for a trial, and turns values back into parameters. Values are a
mapping of paths of a run configuration, such as `data.tokens`, to the values at them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...config.text.selection import NOT_SELECTED
from .simplex import LEAST_U, from_shares, to_shares

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = [
    "KEEP",
    "KIND",
    "MIXER",
    "SYNTHETIC",
    "Dimension",
    "MixDimension",
    "RangeDimension",
    "SetDimension",
    "Values",
]

_SELECTION = "data.selection"
KIND, KEEP = f"{_SELECTION}.kind", f"{_SELECTION}.keep"
"""Paths of how documents are selected, and of the share that is kept."""
MIXER = "model.architecture.mixer"
"""Path of the token mixer."""
SYNTHETIC = "data.synthetic"
"""Path of what models wrote of the text."""

Values = Mapping[str, Any]
"""Values by path of a run configuration."""

_SLACK = 1e-9
_FACTORS = (1.03, 1.1, 1.3, 2.0)  # moves along a logarithmic range
_STRIDES = (1, 2, 4)  # moves along a range of steps
_SHARES = (0.01, 0.05, 0.2)  # moves along any other range


class Dimension(Protocol):
    """The interface of a dimension of the search space."""

    @property
    def path(self) -> str:
        """The path of its values in a run configuration."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of its Optuna parameters."""
        ...

    @property
    def continuous(self) -> bool:
        """Whether every parameter is a number that may take any value of a range."""
        ...

    def suggest(self, trial: Trial, values: Values) -> Any:
        """The value of a trial, given those of earlier dimensions."""
        ...

    def encode(self, values: Values) -> dict[str, Any] | None:
        """Parameters that give these values; None if they are outside the space."""
        ...

    def moves(self, values: Values) -> Iterator[Any]:
        """Neighbouring values for a local search; none where gradients are used instead."""
        ...


@dataclass(frozen=True)
class RangeDimension:
    """Numbers from `low` to `high`, evenly spread or in the logarithm, any of them or in steps."""

    path: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False
    smooth: bool = True
    """Whether forecasts change smoothly along it, so that gradients can be used."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """As in `Dimension`."""
        return (self.path,)

    @property
    def continuous(self) -> bool:
        """As in `Dimension`."""
        return not self.whole and self.step is None

    def suggest(self, trial: Trial, values: Values) -> float | int:
        """As in `Dimension`."""
        if self.whole and (not self.log or self.step in (None, 1)):
            step = 1 if self.log else int(self.step or 1)
            return trial.suggest_int(self.path, int(self.low), int(self.high), step=step, log=self.log)
        if self.step is not None and not self.log:
            return trial.suggest_float(self.path, self.low, self.high, step=self.step)
        return self.snapped(trial.suggest_float(self.path, self.low, self.high, log=self.log))

    def snapped(self, value: float) -> float | int:
        """The nearest value of the range."""
        if self.step is not None:
            most = math.floor((self.high - self.low) / self.step + _SLACK)
            value = self.low + self.step * min(max(round((value - self.low) / self.step), 0), most)
        value = min(max(value, self.low), self.high)
        return round(value) if self.whole else float(value)

    def encode(self, values: Values) -> dict[str, Any] | None:
        """As in `Dimension`."""
        value = values.get(self.path)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        slack = _SLACK * max(abs(self.low), abs(self.high))
        if not self.low - slack <= value <= self.high + slack:
            return None
        near = self.snapped(value)
        return {self.path: near} if abs(near - value) <= max(slack, 0.5 * (self.step or 0.0)) else None

    def moves(self, values: Values) -> Iterator[float | int]:
        """As in `Dimension`."""
        if self.smooth and self.continuous:
            return
        if values[self.path] is None:  # left to its default, which has no place in the range
            middle = math.sqrt(self.low * self.high) if self.log else 0.5 * (self.low + self.high)
            yield from dict.fromkeys(map(self.snapped, (self.low, middle, self.high)))
            return
        here = float(values[self.path])
        for near in dict.fromkeys(self.snapped(value) for value in self._around(here)):
            if near != here:
                yield near

    def _around(self, here: float) -> Iterator[float]:
        for sign in (-1, 1):
            if self.step is not None or self.whole:
                yield from (here + sign * stride * (self.step or 1) for stride in _STRIDES)
            if self.log:
                yield from (here * factor**sign for factor in _FACTORS)
            elif self.step is None and not self.whole:
                yield from (here + sign * share * (self.high - self.low) for share in _SHARES)


@dataclass(frozen=True)
class SetDimension:
    """One of several values; Optuna sees plain ones as they are written, others as their JSON."""

    path: str
    choices: tuple[Any, ...]
    labels: tuple[Any, ...]
    read: tuple[Any, ...]
    """The choices as a run configuration reads them: 4000000.0 for "4M"."""
    section: bool = False
    """Whether the choices are keys of a section that go together; its other keys stay as they are."""
    continuous = False

    @classmethod
    def of(
        cls,
        path: str,
        written: tuple[Any, ...],
        choices: tuple[Any, ...],
        read: tuple[Any, ...],
        *,
        section: bool = False,
    ) -> SetDimension:
        """The dimension with labels for its choices, from how they are written. TypeError for what isn't JSON."""
        plain = all(value is None or isinstance(value, bool | int | float | str) for value in written)
        labels = written if plain else tuple(json.dumps(value, sort_keys=True) for value in written)
        return cls(path, choices, labels, read, section)

    @property
    def parameters(self) -> tuple[str, ...]:
        """As in `Dimension`."""
        return (self.path,)

    def suggest(self, trial: Trial, values: Values) -> Any:
        """As in `Dimension`."""
        return self.choices[self.labels.index(trial.suggest_categorical(self.path, self.labels))]

    def encode(self, values: Values) -> dict[str, Any] | None:
        """As in `Dimension`."""
        value = values.get(self.path)
        either = zip(self.choices, self.read, strict=True)
        place = next((n for n, pair in enumerate(either) if any(self._is(value, one) for one in pair)), None)
        return None if place is None else {self.path: self.labels[place]}

    def _is(self, value: Any, choice: Any) -> bool:
        """Whether the value at the path is this choice, other keys of the section aside."""
        if self.section and isinstance(value, Mapping):
            return all(value.get(key) == one for key, one in choice.items())
        return bool(value == choice)

    def moves(self, values: Values) -> Iterator[Any]:
        """As in `Dimension`."""
        yield from (choice for choice in self.choices if choice != values[self.path])


@dataclass(frozen=True)
class MixDimension:
    """Shares of domains that sum to 1, within bounds and, where stocks are stated, within a number of epochs."""

    path: str
    domains: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    stocks: np.ndarray
    """Distinct tokens by domain, infinite where not stated."""
    max_epochs: np.ndarray
    """How often each stock may be seen, infinite for any number of times."""
    keep: float = 1.0
    """Share of the stocks that the run's own selection keeps."""
    synthetic: Mapping[str, Any] | None = None
    """What the run itself states of its synthetic text."""
    continuous = True

    @property
    def parameters(self) -> tuple[str, ...]:
        """As in `Dimension`: for each domain a u in (0, 1], whose −log is its weight."""
        return tuple(f"mix.{domain}.u" for domain in self.domains)

    def bounds(self, values: Values) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest shares at the tokens of `values`; epochs are ignored where they would leave no mix."""
        real = 1.0 - self._synthetic(values)
        drawn = values["data.tokens"] * real
        most = (
            self.max_epochs * self.stocks * self._kept(values) / drawn
            if real > 0
            else np.full_like(self.stocks, np.inf)
        )
        capped = np.minimum(self.high, np.maximum(most, self.low))
        return (self.low, capped) if capped.sum() >= 1.0 else (self.low, self.high)

    def _kept(self, values: Values) -> float:
        """Share of the stocks that the selection of `values` keeps."""
        if _SELECTION in values:  # as a whole
            stated = values[_SELECTION] or {}
            return float(stated.get("keep", 1.0))
        if values.get(KIND) == NOT_SELECTED:
            return 1.0
        keep = values.get(KEEP)
        return self.keep if keep is None else float(keep)

    def _synthetic(self, values: Values) -> float:
        """Share of the tokens of `values` that models wrote, of which nothing is drawn from the stocks."""
        stated = dict(self.synthetic or {})
        if SYNTHETIC in values:  # as a whole
            stated = dict(values[SYNTHETIC] or {})
        own = {key: values[f"{SYNTHETIC}.{key}"] for key in ("share", "detected") if f"{SYNTHETIC}.{key}" in values}
        stated |= {key: value for key, value in own.items() if value is not None}
        share, found = float(stated.get("share", 0.0)), float(stated.get("detected", 0.0))
        return share * (1.0 - found) / (1.0 - share * found)

    def suggest(self, trial: Trial, values: Values) -> dict[str, float]:
        """As in `Dimension`."""
        u = np.array([trial.suggest_float(name, LEAST_U, 1.0) for name in self.parameters])
        return self.shares(to_shares(u, *self.bounds(values)))

    def shares(self, found: np.ndarray) -> dict[str, float]:
        """Shares `(k,)` by domain."""
        return dict(zip(self.domains, (float(share) for share in found), strict=True))

    def array(self, values: Values) -> np.ndarray:
        """The mix of `values` as `(k,)`."""
        mix = values.get(self.path) or {}
        return np.array([float(mix.get(domain, 0.0)) for domain in self.domains])

    def encode(self, values: Values) -> dict[str, Any] | None:
        """As in `Dimension`; shares a little out of bounds are taken to the nearest mix within."""
        mix = values.get(self.path)
        if not isinstance(mix, Mapping) or any(
            share > 0 and domain not in self.domains for domain, share in mix.items()
        ):
            return None
        low, high = self.bounds(values)
        wanted = self.array(values)
        if np.any(wanted < low - 0.01) or np.any(wanted > high + 0.01):
            return None
        u = from_shares(np.clip(wanted, low, high), low)
        return dict(zip(self.parameters, (float(value) for value in u), strict=True))

    def moves(self, values: Values) -> Iterator[Any]:
        """As in `Dimension`."""
        return iter(())
