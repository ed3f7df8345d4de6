"""Importance subsets in the engine: which windows compete, which are kept, and how they are scored."""

from .group_subsets import GroupSubsets

__all__ = ["GroupSubsets"]
