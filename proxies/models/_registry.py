"""The registry of architectures: one file each in this folder, or a package's entry point `foretrain.architectures`."""

from __future__ import annotations

from collections.abc import Callable

from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ...core.registry import Registry, folder
from ...core.units import shown
from ._model import ProxyModel

_MODELS: Registry[type[ProxyModel]] = Registry("architecture", folder(__package__ or ""), "foretrain.architectures")


def register_model(name: str) -> Callable[[type[ProxyModel]], type[ProxyModel]]:
    """Class decorator: add an architecture under `name`."""

    def add(cls: type[ProxyModel]) -> type[ProxyModel]:
        cls.name = name
        return _MODELS.add(name, cls)

    return add


def models() -> dict[str, type[ProxyModel]]:
    """All architectures by name."""
    return _MODELS.all()


def build_model(name: str, shape: Architecture) -> ProxyModel:
    """Build an architecture from its name. ConfigError if the name is unknown or it can't have this shape."""
    known = models()
    if name not in known:
        raise ConfigError(f"model: got {shown(name)}; expected one of {', '.join(sorted(known))}")
    return known[name](shape)
