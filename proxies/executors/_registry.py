"""The registry: one file per executor in this folder, found by name; nothing else changes when one is added."""

from __future__ import annotations

from collections.abc import Callable

from ...core.errors import UsageError
from ...core.registry import import_members
from ...core.units import shown
from ._executor import Executor

_EXECUTORS: dict[str, type[Executor]] = {}


def register_executor(name: str) -> Callable[[type[Executor]], type[Executor]]:
    """Class decorator: add an executor under `name`."""

    def add(cls: type[Executor]) -> type[Executor]:
        cls.name = name
        _EXECUTORS[name] = cls
        return cls

    return add


def executor_names() -> list[str]:
    """Names of all executors, sorted."""
    import_members(__package__ or "")
    return sorted(_EXECUTORS)


def get_executor(name: str, workers: int | None = None, address: str | None = None) -> Executor:
    """Make the executor of this name: at most `workers` groups at once, on the cluster at `address`.

    Raises UsageError for an unknown name, and for options that the executor can't use.
    """
    import_members(__package__ or "")
    if name not in _EXECUTORS:
        raise UsageError(f"unknown engine {shown(name)}; expected one of {', '.join(sorted(_EXECUTORS))}")
    if workers is not None and workers < 1:
        raise UsageError(f"workers: got {workers}; expected at least 1")
    return _EXECUTORS[name](workers, address)
