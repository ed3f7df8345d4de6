"""What the kernels in C++ need (`engine.native`): a compiler, and a shape that they compute. Told without torch."""

from __future__ import annotations

import os
import shutil

from ..core.model.architecture import Architecture

__all__ = ["find_compiler", "supports"]


def find_compiler() -> str | None:
    """The C++ compiler of this machine: $CXX, or the first that is found; None where there is none."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and (found := shutil.which(name)):
            return found
    return None


def supports(model: str, shape: Architecture) -> bool:
    """Whether the kernels have this architecture: the transformer with a gated feed-forward network."""
    return model == "transformer" and shape.ffn_gated
