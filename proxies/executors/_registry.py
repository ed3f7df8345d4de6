"""The registry of executors: one file each in this folder, or a package's entry point `foretrain.executors`."""

from __future__ import annotations

from collections.abc import Callable

from ...core.errors import UsageError
from ...core.registry import Registry, folder
from ...core.units import shown
from ._executor import Executor

_EXECUTORS: Registry[type[Executor]] = Registry("executor", folder(__package__ or ""), "foretrain.executors")


def register_executor(name: str) -> Callable[[type[Executor]], type[Executor]]:
    """Class decorator: add an executor under `name`."""

    def add(cls: type[Executor]) -> type[Executor]:
        cls.name = name
        return _EXECUTORS.add(name, cls)

    return add


def executor_names() -> list[str]:
    """Names of all executors, sorted."""
    return _EXECUTORS.names()


def get_executor(name: str, workers: int | None = None, address: str | None = None) -> Executor:
    """Make the executor of this name: at most `workers` groups at once, on the cluster at `address`.

    Raises UsageError for an unknown name, and for options that the executor can't use.
    """
    known = _EXECUTORS.all()
    if name not in known:
        raise UsageError(f"unknown engine {shown(name)}; expected one of {', '.join(executor_names())}")
    if workers is not None and workers < 1:
        raise UsageError(f"workers: got {workers}; expected at least 1")
    return known[name](workers, address)
