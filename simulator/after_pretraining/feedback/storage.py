"""Laws of feedback as one JSON file: plain numbers, checked when they are read; nothing in it is executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, StrictBool, model_validator

from ....core.errors import InputError
from ....core.files import read_json, version_of
from ....core.reading.config_messages import Origins
from ....core.reading.config_reader import validated
from ....core.reading.fields import FieldError, Frozen, PositiveReal, Real
from ....core.units import shown
from ....datasets.facts.catalogue import read_facts
from ...config.after_pretraining.feedback import Method
from ..draws import write_law_file
from .law import DRIVERS, FeedbackLaw

__all__ = ["law_of_proxies", "load_laws", "save_laws"]

_MOST_BYTES = 20_000_000
_MOST_DRAWS = 20_000
_Row = Annotated[tuple[Real, ...], Field(min_length=1, max_length=1 + len(DRIVERS))]
_Text = Annotated[str, Field(max_length=2_000)]


class _Law(Frozen):
    """One law in a file."""

    method: Method
    references: dict[Literal["comparisons", "reward_params"], PositiveReal]
    alpha: Annotated[tuple[_Row, ...], Field(min_length=1, max_length=_MOST_DRAWS)]
    beta: tuple[_Row, ...]
    spread: tuple[tuple[Real, Real], ...]
    noise: tuple[Real, ...]
    measured: dict[Literal["kl_nats", "comparisons", "reward_params"], tuple[PositiveReal, PositiveReal]]
    standardised: StrictBool = False
    source: _Text

    @model_validator(mode="after")
    def _same_lengths(self) -> _Law:
        lengths = {len(self.alpha), len(self.beta), len(self.spread), len(self.noise)}
        widths = {len(row) for row in (*self.alpha, *self.beta)}
        if len(lengths) > 1 or widths != {1 + len(self.references)}:
            raise FieldError("alpha", "draws of different lengths; expected a file that `simulate feedback fit` wrote")
        return self

    def law(self) -> FeedbackLaw:
        """The law that it holds."""
        return FeedbackLaw(
            self.method,
            {str(name): value for name, value in self.references.items()},
            np.array(self.alpha),
            np.array(self.beta),
            np.array(self.spread),
            np.array(self.noise),
            {str(name): ends for name, ends in self.measured.items()},
            self.standardised,
            self.source,
        )


class _File(Frozen):
    """A file of laws."""

    format: Literal[1]
    kind: Literal["feedback"]
    laws: Annotated[tuple[_Law, ...], Field(min_length=1, max_length=10)]


def save_laws(laws: Mapping[str, FeedbackLaw], path: str | os.PathLike[str]) -> None:
    """Write laws by their method, whole or not at all."""
    write_law_file(path, {"format": 1, "kind": "feedback", "laws": [law.to_dict() for law in laws.values()]})


def load_laws(path: str | os.PathLike[str]) -> dict[str, FeedbackLaw]:
    """Read what `save_laws` wrote. Raises InputError."""
    return dict(_loaded(os.fspath(path), version_of(path)))


@lru_cache(maxsize=4)  # a study reads the same file in every trial
def _loaded(path: str, version: tuple[int, ...]) -> dict[str, FeedbackLaw]:
    return _read(read_json(path, _MOST_BYTES, InputError), path)


def law_of_proxies(method: str) -> FeedbackLaw | None:
    """The law of a method that was fitted to our own proxies; None where they weren't trained so."""
    return _read(read_facts("feedback.json"), "feedback.json").get("ppo" if method == "dpo" else method)


def _read(value: Any, where: str) -> dict[str, FeedbackLaw]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: got {shown(value)}; expected a mapping with format, kind and laws")
    found = validated(_File, value, Origins(where), error=InputError)
    methods = [one.method for one in found.laws]
    if len(set(methods)) < len(methods):
        raise InputError(f"{where}: laws: has {', '.join(methods)}; expected one law a method")
    return {one.method: one.law() for one in found.laws}
