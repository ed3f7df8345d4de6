"""A training step as a list of calls into buffers that never move: nothing is allocated or looked up on the way.

A call is a matrix product by torch, or a kernel of `kernels.cpp`. Each knows what it computes, in FLOPs, and how much
memory it must at least touch, in bytes, so that its time can be held against what the processor can do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Call", "Kernels", "pointer", "product"]


class Call(NamedTuple):
    """One call of a step: `run()` does it."""

    run: Callable[[], Any]
    name: str
    shape: tuple[int, ...]
    flops: float
    moved_bytes: float


class Kernels:
    """The kernels of a library, each made into a `Call` by name; they may write to `scratch` on the way."""

    def __init__(self, functions: ctypes.CDLL, scratch: Tensor) -> None:
        self._functions, self._scratch = functions, scratch

    def call(self, name: str, *arguments: Tensor | int | float | None, flops_each: float = 0.0) -> Call:
        """A call of the kernel `name`; a None is a null pointer.

        `flops_each` is what it computes for each number of its largest tensor. The call keeps the tensors alive.
        """
        function = getattr(self._functions, name)
        function.restype = None
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        run = _Bound(partial(function, *(_converted(argument) for argument in arguments)), tensors)
        touched = [tensor for tensor in tensors if tensor is not self._scratch]
        largest = max(touched, key=Tensor.numel)
        moved = float(sum(tensor.nbytes for tensor in touched))
        return Call(run, name, tuple(largest.shape), flops_each * largest.numel(), moved)


class _Bound:
    """A call of a kernel with the tensors behind its pointers, which must live as long as it does."""

    __slots__ = ("_run", "_tensors")

    def __init__(self, run: Callable[[], Any], tensors: list[Tensor]) -> None:
        self._run, self._tensors = run, tensors

    def __call__(self) -> None:
        self._run()


def product(left: Tensor, right: Tensor, out: Tensor, scale: float = 1.0) -> Call:
    """The call out ← scale · left @ right, of matrices (m, k) and (k, n)."""
    if scale == 1.0:
        run = partial(torch.mm, left, right, out=out)
    else:
        run = partial(torch.addmm, out, left, right, beta=0, alpha=scale, out=out)
    rows, inner = left.shape
    columns = right.shape[1]
    moved = float(left.nbytes + right.nbytes + out.nbytes)
    return Call(run, "product", (rows, inner, columns), 2.0 * rows * inner * columns, moved)


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where a tensor's numbers begin."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _converted(argument: Tensor | float | None) -> Any:
    """An argument as the kernels take it: pointers, 64-bit whole numbers, single-precision reals."""
    if argument is None or isinstance(argument, Tensor):
        return pointer(argument)
    return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int64(argument)
