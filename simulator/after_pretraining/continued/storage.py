"""Laws of continued pretraining as one JSON file: plain numbers, checked when they are read; nothing is executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ....core.errors import InputError
from ....core.files import read_json, version_of
from ....core.reading.config_messages import Origins
from ....core.reading.config_reader import validated
from ....core.reading.fields import FieldError, Frozen, Label, PositiveReal, Real
from ....core.units import shown
from ....datasets.facts.catalogue import read_facts
from ..draws import rounded, write_law_file
from .law import NAMES, ContinuedLaw

__all__ = ["ContinuedLaws", "laws_of_proxies", "load_laws", "save_laws"]

_MOST_BYTES = 20_000_000
_MOST_DRAWS = 20_000
_MOST_SIZES = 1_000
_Row = Annotated[tuple[Real, ...], Field(min_length=len(NAMES), max_length=len(NAMES))]
_Ends = tuple[PositiveReal, PositiveReal]


@dataclass(frozen=True)
class ContinuedLaws:
    """The laws of a specialised model: of its domain's loss and of the general loss, and what both were before."""

    domain_name: str
    domain: ContinuedLaw
    general: ContinuedLaw
    before: np.ndarray
    """`(sizes, 3)`: parameters, loss of the domain, general loss."""
    tokens_before: float
    """Tokens of pretraining before; NaN where the runs don't say."""
    source: str

    def domain_over_general(self, params: float) -> float:
        """The loss of the domain over the general one before continuing, at a size: along the logs of the nearest."""
        ratio = self.before[:, 1] / self.before[:, 2]
        return float(np.interp(np.log(params), np.log(self.before[:, 0]), ratio))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, from which equal laws are read back."""
        known = float(self.tokens_before)
        return {
            "format": 1,
            "kind": "continued_pretraining",
            "domain_name": self.domain_name,
            "domain": self.domain.to_dict(),
            "general": self.general.to_dict(),
            "before": rounded(self.before),
            "tokens_before": None if np.isnan(known) else known,
            "source": self.source,
        }


class _Measured(Frozen):
    params: _Ends
    tokens: _Ends
    share: tuple[Real, Real]


class _Law(Frozen):
    of: Literal["domain", "general"]
    params: PositiveReal
    tokens: PositiveReal
    values: Annotated[tuple[_Row, ...], Field(min_length=1, max_length=_MOST_DRAWS)]
    noise: tuple[Annotated[Real, Field(ge=0)], ...]
    measured: _Measured

    @model_validator(mode="after")
    def _same_lengths(self) -> _Law:
        if len(self.values) != len(self.noise):
            raise FieldError("noise", f"got {len(self.noise)} draws; expected {len(self.values)}, as values has")
        return self

    def law(self) -> ContinuedLaw:
        """The law that it holds."""
        measured = self.measured.model_dump()
        return ContinuedLaw(self.of, self.params, self.tokens, np.array(self.values), np.array(self.noise), measured)


class _File(Frozen):
    """A file of laws."""

    format: Literal[1]
    kind: Literal["continued_pretraining"]
    domain_name: Label
    domain: _Law
    general: _Law
    before: Annotated[
        tuple[tuple[PositiveReal, PositiveReal, PositiveReal], ...], Field(min_length=1, max_length=_MOST_SIZES)
    ]
    tokens_before: PositiveReal | None
    source: Annotated[str, Field(max_length=2_000)]


def save_laws(laws: ContinuedLaws, path: str | os.PathLike[str]) -> None:
    """Write laws, whole or not at all."""
    write_law_file(path, laws.to_dict())


def load_laws(path: str | os.PathLike[str]) -> ContinuedLaws:
    """Read what `save_laws` wrote. Raises InputError."""
    return _loaded(os.fspath(path), version_of(path))


@lru_cache(maxsize=4)  # a study reads the same file in every trial
def _loaded(path: str, version: tuple[int, ...]) -> ContinuedLaws:
    return _read(read_json(path, _MOST_BYTES, InputError), path)


@cache
def laws_of_proxies() -> ContinuedLaws:
    """The laws that were fitted to our own proxies."""
    return _read(read_facts("continued.json"), "continued.json")


def _read(value: Any, where: str) -> ContinuedLaws:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: got {shown(value)}; expected a mapping with format, kind, domain and general")
    found = validated(_File, value, Origins(where), error=InputError)
    before = np.array(found.before)
    known = np.nan if found.tokens_before is None else found.tokens_before
    return ContinuedLaws(
        found.domain_name,
        found.domain.law(),
        found.general.law(),
        before[np.argsort(before[:, 0])],
        known,
        found.source,
    )
