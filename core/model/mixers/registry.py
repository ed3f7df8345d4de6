"""The registry of token mixers: one file each in `members/`, or a package's entry point `foretrain.mixers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ...registry import Registry, folder
from .mixer import Mixer

__all__ = ["mixers", "register_mixer"]

M = TypeVar("M", bound=Mixer)

_MIXERS: Registry[type[Mixer]] = Registry("mixer", folder(f"{__package__}.members"), "foretrain.mixers")


def register_mixer(name: str) -> Callable[[type[M]], type[M]]:
    """Class decorator: add a token mixer under `name`, by which plans, spaces and run tables know it."""

    def add(cls: type[M]) -> type[M]:
        cls.name = name
        _MIXERS.add(name, cls)
        return cls

    return add


def mixers() -> dict[str, type[Mixer]]:
    """All token mixers by name."""
    return _MIXERS.all()
