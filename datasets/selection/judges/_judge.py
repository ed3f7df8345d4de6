"""What a judge is, and the registry of judges."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ....core.reading.fields import Frozen
from ....core.registry import Registry, folder

__all__ = ["Judge", "Judged", "judges", "register_judge"]


@dataclass(frozen=True)
class Judged:
    """What a judge says: scores `(n,)` in the order of the texts, finite, higher is better, and facts for reports.

    Facts that plans count with: `parameters` of the judge, `tokens` that it read, and `flops`.
    """

    scores: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)


class Judge(Frozen):
    """A judge: its fields are its settings, a member of the registry is a subclass.

    >>> class Brevity(Judge):
    ...     '''Short texts are better.'''
    ...
    ...     def judge(self, texts, folder, place):
    ...         return Judged(np.array([-len(text) for text in texts], float))
    >>> Brevity().judge(["one", "three"], Path(), "here").scores.tolist()
    [-3.0, -5.0]
    """

    name: ClassVar[str] = ""

    @abstractmethod
    def judge(self, texts: Iterable[str], folder: Path, place: str) -> Judged:
        """Score texts, each by itself and without holding more than a batch of them.

        Args:
            texts: They come as a stream, once.
            folder: What relative paths in the settings start from.
            place: File, line and key, to begin a message with.

        Raises:
            CorpusError: It can't be done; the message begins with `place`.
            MissingExtraError: It needs a library that isn't installed.
        """

    def inputs(self, folder: Path) -> list[Path]:
        """The files that the scores depend on beside the texts. Default: none."""
        return []


_JUDGES: Registry[type[Judge]] = Registry("judge", folder(__package__ or ""), "foretrain.judges")


def register_judge(name: str) -> Callable[[type[Judge]], type[Judge]]:
    """Class decorator: add a judge under `name`, which `plugin` of the step `judge` knows it by."""

    def add(cls: type[Judge]) -> type[Judge]:
        cls.name = name
        return _JUDGES.add(name, cls)

    return add


def judges() -> dict[str, type[Judge]]:
    """All judges by name."""
    return _JUDGES.all()
