"""The registry of steps: one file each in `steps/`, or a package's entry point `foretrain.selection`."""

from __future__ import annotations

from collections.abc import Callable

from ...core.registry import Registry, folder
from .step import Step

__all__ = ["register_step", "steps"]

_STEPS: Registry[type[Step]] = Registry(
    "step of a selection", folder(f"{__package__}.steps"), "foretrain.selection"
)  # fmt: skip


def register_step(name: str) -> Callable[[type[Step]], type[Step]]:
    """Class decorator: add a step under `name`, the key that stands for it in `corpora.yaml`."""

    def add(cls: type[Step]) -> type[Step]:
        cls.name = name
        return _STEPS.add(name, cls)

    return add


def steps() -> dict[str, type[Step]]:
    """All steps by name."""
    return _STEPS.all()
