"""Torch on one thread, as workers of a campaign run it; it lives in `core`, where generators of text find it too."""

from ..core.processors import one_torch_thread

__all__ = ["one_torch_thread"]
