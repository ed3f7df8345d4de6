"""Torch on one thread, as workers of a campaign run it: the last bits of a result depend on how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_torch_thread"]


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Limit torch to one thread for a while; afterwards it has as many as before."""
    import torch  # takes seconds

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
