"""The registry: one file per architecture in this folder, found by name; nothing else changes when one is added."""

from __future__ import annotations

from collections.abc import Callable

from ...core.errors import ConfigError
from ...core.model.architecture import Architecture
from ...core.registry import import_members
from ...core.units import shown
from ._model import ProxyModel

_MODELS: dict[str, type[ProxyModel]] = {}


def register_model(name: str) -> Callable[[type[ProxyModel]], type[ProxyModel]]:
    """Class decorator: add an architecture under `name`."""

    def add(cls: type[ProxyModel]) -> type[ProxyModel]:
        cls.name = name
        _MODELS[name] = cls
        return cls

    return add


def models() -> dict[str, type[ProxyModel]]:
    """All architectures by name."""
    import_members(__package__ or "")
    return dict(_MODELS)


def build_model(name: str, shape: Architecture) -> ProxyModel:
    """Build an architecture from its name. ConfigError if the name is unknown or it can't have this shape."""
    known = models()
    if name not in known:
        raise ConfigError(f"model: got {shown(name)}; expected one of {', '.join(sorted(known))}")
    return known[name](shape)
