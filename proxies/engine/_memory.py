"""Running out of memory, on a processor or on a GPU, told as one error, with what was taken given back."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from traceback import clear_frames
from typing import ParamSpec, TypeVar

import torch

__all__ = ["gives_memory_back", "is_out_of_memory"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Said where torch raises a plain RuntimeError: by its allocator on a processor (Linux, Windows), the driver, cuBLAS.
_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "cublas_status_alloc_failed")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or one that it was raised from, says that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and any(word in str(error).casefold() for word in _WORDS):
            return True
        error = error.__cause__
    return False


def gives_memory_back(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make `function` raise MemoryError wherever memory runs out in it, and hold none of it then."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            clear_frames(error.__traceback__)  # whose variables hold every tensor of the group
            words = str(error).strip().splitlines() or ["no message"]
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise MemoryError(words[0])

    return wrapped
