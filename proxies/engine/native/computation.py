"""Steps computed by the kernels: one copy after the other, in parts that stay in the processor's caches."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from ....core.errors import ConfigError, CorpusError
from .._adamw import ALIVE, StepSizes
from .._computation import Computation
from .calls import pointer
from .library import load_library
from .transformer import Buffers, TransformerPasses

__all__ = ["NativeComputation"]

# Rows of a part: with fewer, products are too small for the processor's matrix units; with more, activations leave its
# caches (docs/decisions/002).
_MOST_ROWS = 2048
_NO_TARGET = -1  # of a row that counts for nothing


class NativeComputation(Computation):
    """Copies train one after the other, each batch in even parts."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        library = load_library(self.hardware.precision)
        if library is None:
            raise ConfigError("engine: the kernels can't be compiled here any more; expected a C++ compiler, as before")
        self._functions = library.functions
        first = self.runs[0]
        most = max(1, _MOST_ROWS // first.shape.context_length)
        self._parts = math.ceil(first.batch_sequences / most)
        self._sequences = math.ceil(first.batch_sequences / self._parts)
        self._wide_KP = self.state.master.clone()
        self._weights_KP = self._wide_KP.to(self.hardware.dtype)  # in fp32 the same tensor
        self._gradient_P = torch.zeros_like(self._weights_KP[0])
        # Of all parts, in fp32: in bf16 a sum of hundreds no longer takes up what is added.
        self._total_P = torch.zeros(self.layout.size) if self._parts > 1 else None
        self._buffers = Buffers(first.shape, self._sequences, self.hardware.dtype)
        gradients = self._named(self._gradient_P)
        self.passes = [
            TransformerPasses(
                self._functions,
                self._buffers,
                self._named(self._weights_KP[copy]),
                self._named(self._wide_KP[copy]),
                gradients,
                first.batch_sequences,
            )
            for copy in range(len(self.runs))
        ]
        sizes = StepSizes(self.runs, "cpu")
        self._sizes = [sizes.of_copy(copy) for copy in range(len(self.runs))]
        self._segments = _Segments(self.layout.learning_rate_scales(), self.layout.decays())
        self._functions.squares.restype = ctypes.c_double
        self._functions.adamw.restype = None

    def _named(self, flat_P: Tensor) -> dict[str, Tensor]:
        """Views into the buffer of one copy, by the names of weights."""
        return {name: weight[0] for name, weight in self.layout.split(flat_P.unsqueeze(0)).items()}

    @override
    def load(self, weights_KP: Tensor) -> None:
        self._wide_KP.copy_(weights_KP)
        if self._weights_KP is not self._wide_KP:
            self._weights_KP.copy_(weights_KP)

    @override
    def losses(self, tokens_KBT: Tensor) -> Tensor:
        with torch.no_grad():
            found = [self._run(copy, tokens_BT, training=False) for copy, tokens_BT in enumerate(tokens_KBT)]
        return torch.stack(found)

    @override
    def advance(self, tokens_KBT: Tensor, step: int) -> Tensor:
        losses = []
        with torch.no_grad():
            for copy, tokens_BT in enumerate(tokens_KBT):
                losses.append(self._run(copy, tokens_BT, training=True).mean())
                if self.state.died[copy].item() == ALIVE:
                    self._update(copy, step)
        return torch.stack(losses)

    def _run(self, copy: int, tokens_BT: Tensor, training: bool) -> Tensor:
        """Losses of each sequence, (B,); when training, the batch's gradient is then in `_gradient_P`."""
        buffers, passes = self._buffers, self.passes[copy]
        vocab_size = buffers.shape.vocab_size
        least, most = torch.aminmax(tokens_BT)
        if least < 0 or most >= vocab_size:  # kernels would read and write beyond the weights
            raise CorpusError(f"the tokens hold number {int(most)}; expected 0 to {vocab_size - 1}: they are damaged")
        calls = passes.training if training else passes.forward
        shape = (self._sequences, buffers.length)
        losses = []
        for part, rows_BT in enumerate(tokens_BT.split(self._sequences)):
            count = len(rows_BT)
            buffers.tokens.view(shape)[:count].copy_(rows_BT[:, :-1])
            buffers.targets.view(shape)[:count].copy_(rows_BT[:, 1:])
            buffers.targets.view(shape)[count:].fill_(_NO_TARGET)  # the last part may be smaller
            for call in calls:
                call.run()
            losses.append(buffers.losses.view(shape)[:count].mean(1))
            if training and self._total_P is not None:
                if part == 0:
                    self._total_P.zero_()
                self._total_P.add_(self._gradient_P)
        if training and self._total_P is not None:
            self._gradient_P.copy_(self._total_P)
        return torch.cat(losses)

    def _update(self, copy: int, step: int) -> None:
        """AdamW on one copy; it dies instead where its gradient isn't finite."""
        state, gradient = self.state, self._gradient_P
        norm = math.sqrt(self._functions.squares(pointer(gradient), ctypes.c_int64(gradient.numel())))
        if not math.isfinite(norm):
            state.died[copy] = step
            return
        sizes = self._sizes[copy][step]
        shrink = min(1.0, self.runs[copy].recipe.clip_norm / norm) if norm else 1.0
        moments = (state.master, state.first, state.second, state.average, self._weights_KP)
        self._functions.adamw(
            pointer(gradient), *(pointer(tensor[copy]) for tensor in moments), pointer(sizes), ctypes.c_float(shrink),
            *self._segments.arguments,
        )  # fmt: skip
        if self._weights_KP is not self._wide_KP:
            self._wide_KP[copy].copy_(state.master[copy])


class _Segments:
    """Stretches of the flat buffer whose numbers share their learning rate's scale and whether they decay."""

    def __init__(self, scales_P: Tensor, decays_P: Tensor) -> None:
        changes = (scales_P[1:] != scales_P[:-1]) | (decays_P[1:] != decays_P[:-1])
        stops = torch.cat((changes.nonzero().flatten() + 1, torch.tensor([len(scales_P)])))
        self._kept = (stops, scales_P[stops - 1].contiguous(), decays_P[stops - 1].contiguous())
        self.arguments = (*(pointer(tensor) for tensor in self._kept), ctypes.c_int64(len(stops)))
