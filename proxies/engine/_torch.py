"""Steps computed by torch: all copies in one set of tensor operations, any architecture and device, compiled or not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from ._adamw import Moments, StepSizes, update
from ._computation import Computation
from ._cuda_graph import StepGraph

__all__ = ["TorchComputation"]


class TorchComputation(Computation):
    """Stacked copies: gradients by automatic differentiation of the model's losses, then one update of everything."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        device = self.hardware.device
        self._weights_KP = self.state.master.to(self.hardware.dtype, copy=True).requires_grad_()
        self._sizes = StepSizes(self.runs, device)
        self._scales_P = self.layout.learning_rate_scales().to(device)
        self._decays_P = self.layout.decays().to(device)
        self._numbers = torch.arange(self.runs[0].steps, device=device)  # of the steps
        self._losses_K = torch.zeros(len(self.runs), device=device)  # of the last step
        self._update = update
        changed = [getattr(self.state, name) for name in Moments.__slots__]
        self.graph = StepGraph([*changed, self._weights_KP]) if device == "cuda" else None
        if self.hardware.compiled:
            self._compile()

    def _compile(self) -> None:
        import torch._dynamo.config as dynamo
        import torch._inductor.config as inductor

        inductor.compile_threads = 1  # a pool of compilers would outlive a worker that is killed
        dynamo.recompile_limit = dynamo.accumulated_recompile_limit = 1_000  # one for each shape that is trained
        self.model.compile()
        self._update = torch.compile(update, dynamic=False)

    @property
    @override
    def facts(self) -> dict[str, bool]:
        return {} if self.graph is None else {"cuda_graph": self.graph.recorded}

    @override
    def load(self, weights_KP: Tensor) -> None:
        with torch.no_grad():
            self._weights_KP.copy_(weights_KP)

    @override
    def losses(self, tokens_KBT: Tensor) -> Tensor:
        return self.model.losses(self.layout.split(self._weights_KP), tokens_KBT)

    @override
    def diagnostics(self, tokens_KBT: Tensor) -> dict[str, Tensor]:
        return self.model.diagnostics(self.layout.split(self._weights_KP), tokens_KBT)

    @override
    def advance(self, tokens_KBT: Tensor, step: int) -> Tensor:
        sizes, number = self._sizes.at(step), self._numbers[step]
        if self.graph is None:
            self._take_step(tokens_KBT, sizes, number)
        else:
            self.graph.take(self._take_step, tokens_KBT, sizes, number)
        return self._losses_K

    def _take_step(self, tokens_KBT: Tensor, sizes: Tensor, number: Tensor) -> None:
        """Change the tensors by one step; nothing but them and the arguments decides how."""
        # A new leaf in each step: its gradient belongs to the stream it was made on, which is that of a recording.
        weights_KP = self._weights_KP.detach().requires_grad_()
        # Copies share no weights, so the gradient of the summed losses is each copy's own.
        losses_KB, added_K = self.model.training_losses(self.layout.split(weights_KP), tokens_KBT)
        losses_K = losses_KB.mean(1)
        trained_K = losses_K if added_K is None else losses_K + added_K
        (gradient_KP,) = torch.autograd.grad(trained_K.sum(), weights_KP)
        with torch.no_grad():
            self._losses_K.copy_(losses_K)
            self._update(self.state, gradient_KP.float(), sizes, self._scales_P, self._decays_P, number)
        self.load(self.state.master)
