"""A training step on a GPU as one CUDA graph: recorded once, then launched as a whole.

A step is some hundreds of kernels. Those of a model of a few million parameters run faster than a processor launches
them one by one.
"""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["StepGraph"]

_log = logging.getLogger(__name__)

_WARM_UP_STEPS = 3  # before recording: what is compiled or allocated at first use must be there
_MOST_WAITING = 8


class StepGraph:
    """A step of training, recorded when it is first taken.

    The step changes tensors in place, always the same ones, and reads these and its arguments alone. Arguments keep
    their shapes; they are copied to where the recording reads them. Where a step can't be recorded, its kernels are
    launched one by one.
    """

    def __init__(self, changed: Sequence[Tensor]) -> None:
        """`changed`: every tensor that the step changes; the steps taken before recording are undone there."""
        self._changed = changed
        self._arguments: tuple[Tensor, ...] = ()
        self._replay: Callable[[], None] | None = None
        self._waiting: deque[torch.cuda.Event] = deque()  # each is there once its step is computed

    @property
    def recorded(self) -> bool:
        """Whether steps are replayed."""
        return self._replay is not None

    def take(self, step: Callable[..., None], *arguments: Tensor) -> None:
        """Take one step with these arguments; they may be changed as soon as this returns."""
        if not self._arguments:
            device = self._changed[0].device
            self._arguments = tuple(argument.to(device, copy=True) for argument in arguments)
            self._record(step)
        for place, argument in zip(self._arguments, arguments, strict=True):
            # From pinned memory the copy waits for no earlier step: the next batch is made while the GPU computes.
            pinned = argument.pin_memory() if place.is_cuda and not argument.is_cuda else argument
            place.copy_(pinned, non_blocking=True)
        if self._replay is None:
            step(*self._arguments)
        else:
            self._replay()
        if self._changed[0].is_cuda:
            self._stay_near()

    def _stay_near(self) -> None:
        """Wait for the GPU if it is many steps behind: the batch of every step that waits is held in memory."""
        taken = torch.cuda.Event()
        taken.record()
        self._waiting.append(taken)
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft().synchronize()

    def _record(self, step: Callable[..., None]) -> None:
        """Record the step, leaving what it changes as it was."""
        before = [tensor.detach().clone() for tensor in self._changed]
        try:
            self._replay = _capture(lambda: step(*self._arguments))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _log.warning("a training step can't be recorded as a CUDA graph, and is launched in parts: %s", error)
        with torch.no_grad():
            for tensor, value in zip(self._changed, before, strict=True):
                tensor.copy_(value)


def _capture(step: Callable[[], None]) -> Callable[[], None]:
    """Return what replays the step. It is taken a few times on the way, on a stream of its own, as recording asks."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    gc.collect()  # what is collected while recording could call the GPU, which isn't allowed then
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
