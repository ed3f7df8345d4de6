"""Generators that are networks trained on windows of text: the settings that they share, and how they write."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import override

from ....core.errors import UsageError
from ....core.extras import require
from ....core.processors import one_torch_thread
from ....core.progress import Progress
from ....core.reading.fields import PositiveReal, Whole, whole_schema
from ..generator import FittedGenerator, Generator
from .windows import Windows, batches, written

if TYPE_CHECKING:
    import torch

__all__ = ["FittedNetwork", "LearningRate", "NetworkGenerator", "Steps", "Window"]

Window = Annotated[
    Whole,
    Field(
        ge=2, le=1024, description="Bytes of a window: what it learns from at once, and the longest document it writes."
    ),
    whole_schema(2, 1024),
]
Steps = Annotated[Whole, Field(ge=1, le=1_000_000), whole_schema(1, 1_000_000)]
LearningRate = Annotated[PositiveReal, Field(le=1)]

_WRITTEN_AT_ONCE = 512  # documents: what bounds the memory of sampling


class FittedNetwork(FittedGenerator):
    """A trained network that writes windows, from their first byte on, in the bytes of the text that it read."""

    def __init__(self, alphabet: np.ndarray, window: int, digest: str, facts: Mapping[str, Any]) -> None:
        self.alphabet, self.window, self.digest, self.facts = alphabet, window, digest, facts
        self.longest_bytes = window

    @override
    def sample(self, documents: int, length_bytes: int, rng: np.random.Generator) -> list[bytes]:
        if documents < 1 or not 1 <= length_bytes <= self.window:
            raise UsageError(
                f"sample: got {documents} documents of {length_bytes} bytes; expected one document at least, of 1 to "
                f"{self.window} bytes, the window that it was trained on"
            )
        import torch

        with one_torch_thread(), torch.inference_mode():
            generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
            rows = [self._symbols(count, length_bytes, generator) for count in batches(documents, _WRITTEN_AT_ONCE)]
        return written(self.alphabet, np.concatenate(rows))

    @abstractmethod
    def _symbols(self, documents: int, length: int, generator: torch.Generator) -> np.ndarray:
        """Write documents as places in the alphabet `(documents, length)`."""


class NetworkGenerator(Generator):
    """The settings of a network that learns windows of text; drawn from everywhere in the documents, not only from
    where they begin, and each byte of a document as often as any other but for those near its ends."""

    window: Window = 64
    batch: Annotated[Whole, Field(ge=1, le=1024), whole_schema(1, 1024)] = Field(
        default=32, description="Windows that a step learns from."
    )
    steps: Steps = Field(default=1000, description="Steps of training.")
    lr: LearningRate = Field(default=1e-3, description="Learning rate of Adam, at its highest.")

    @override
    def fit(self, documents: Sequence[bytes], progress: Progress | None = None) -> FittedNetwork:
        """Learn from windows of documents; see the class for the settings.

        The same seed, settings and documents give the same bits on one machine: torch runs on one thread, and every
        random number comes from the seed.

        Raises:
            UsageError: No document is as long as a window.
            FitError: The loss is no longer finite; the message says at which step.
            MissingExtraError: torch isn't installed.
        """
        require(f"the generator {self.name}", "torch")
        windows = Windows.of(documents, self.window)
        started = time.monotonic()
        with one_torch_thread():
            fitted = self._trained(windows, np.random.default_rng(self.seed), progress or _untold)
        fitted.facts = {
            **fitted.facts,
            "steps": self.steps,
            "seconds": round(time.monotonic() - started, 1),
            "bytes_unread": sum(map(len, documents)) - len(windows.symbols),  # of documents shorter than a window
        }
        return fitted

    @abstractmethod
    def _trained(self, windows: Windows, rng: np.random.Generator, progress: Progress) -> FittedNetwork:
        """Train on windows; every random number comes from `rng`."""


def _untold(_text: str, _share: float) -> None:
    """Nobody waits."""
