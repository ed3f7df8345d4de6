"""What computes the steps of a group: an interface, as there is more than one way to compute the same.

Letters at the end of a tensor's name are its shape: K copies, P numbers in the weights of one copy, B sequences of a
batch, T tokens (in sequences of tokens one more, since each token is the target of those before it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from ..models import ProxyModel
from ..runs import ProxyRun
from ._adamw import Moments
from ._buffers import WeightLayout
from ._hardware import HardwareChoice

__all__ = ["Computation"]


class Computation(ABC):
    """Computes losses, and steps that change `state` in place, for the runs of a group.

    Args:
        runs: The runs, one for each copy.
        model: Their architecture.
        layout: Where its weights lie in the flat buffers.
        state: What training changes.
        hardware: Device and number format. Losses are computed with a copy of the weights in that format.
    """

    def __init__(
        self,
        runs: Sequence[ProxyRun],
        model: ProxyModel,
        layout: WeightLayout,
        state: Moments,
        hardware: HardwareChoice,
    ) -> None:
        self.runs, self.model, self.layout, self.state, self.hardware = runs, model, layout, state, hardware

    @property
    def facts(self) -> dict[str, bool]:
        """What is recorded with the results beside the hardware."""
        return {}

    @abstractmethod
    def load(self, weights_KP: Tensor) -> None:
        """Take weights for the next losses, in the hardware's number format."""

    @abstractmethod
    def losses(self, tokens_KBT: Tensor) -> Tensor:
        """Return the mean loss of each sequence in nats per token, (K, B) fp32, with the weights that are loaded."""

    def diagnostics(self, tokens_KBT: Tensor) -> dict[str, Tensor]:
        """Return what else a validation notes of each copy, by name, (K,) each, with the weights that are loaded."""
        return {}

    @abstractmethod
    def advance(self, tokens_KBT: Tensor, step: int) -> Tensor:
        """Take the step of this number from the weights that are loaded, and load what comes out.

        Returns:
            The mean loss of each copy before the step, (K,) fp32.
        """
