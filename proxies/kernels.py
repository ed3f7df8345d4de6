"""What the kernels in C++ need (`engine.native`): a compiler, and a shape that they compute. Told without torch."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil

from ..core.model.architecture import Architecture

__all__ = ["find_compiler", "supports"]


def find_compiler() -> tuple[str, ...] | None:
    """The C++ compiler of this machine, in words: $CXX, or the first that is found; None where there is none."""
    for command in (os.environ.get("CXX", ""), "g++", "clang++", "c++"):
        with contextlib.suppress(ValueError):  # a quotation mark that nothing closes
            words = shlex.split(command)
            if words and (found := shutil.which(words[0])):
                return (found, *words[1:])
    return None


def supports(model: str, shape: Architecture) -> bool:
    """Whether there are kernels for this architecture and system: the rotary transformer with a gated, dense network.

    Not on Windows, whose stack isn't aligned as g++ expects where vectors are kept on it.
    """
    plain = shape.rotates and shape.ffn_gated and not shape.learned_positions and shape.num_experts is None
    return os.name == "posix" and model == "transformer" and plain
