"""The registry of generators: one file each in `members/`, or a package's entry point `foretrain.generators`."""

from __future__ import annotations

from collections.abc import Callable

from ...core.registry import Registry, folder
from .generator import Generator

__all__ = ["generators", "register_generator"]

_GENERATORS: Registry[type[Generator]] = Registry(
    "generator", folder(f"{__package__}.members"), "foretrain.generators"
)  # fmt: skip


def register_generator(name: str) -> Callable[[type[Generator]], type[Generator]]:
    """Class decorator: add a generator under `name`, by which spaces, runs and plans know it."""

    def add(cls: type[Generator]) -> type[Generator]:
        cls.name = name
        return _GENERATORS.add(name, cls)

    return add


def generators() -> dict[str, type[Generator]]:
    """All generators by name."""
    return _GENERATORS.all()
