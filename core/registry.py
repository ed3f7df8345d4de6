"""Registries: members of one kind by name, from a folder of ours and from installed packages.

One file in the folder adds a member of ours. A package of somebody else's names a module under an entry point of the
registry's group, such as `foretrain.laws`; importing that module registers what it defines:

    [project.entry-points."foretrain.laws"]
    my-laws = "my_package.laws"

`simulate --no-plugins`, or the environment variable FORETRAIN_NO_PLUGINS, leaves other packages out. Entry points of
foretrain itself are members of ours that a lower floor must not import, such as the generator of text that trains a
proxy: they load with the folder, also without plugins, and an error in one is an error.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache, partial
from threading import RLock
from typing import Any, Generic, TypeVar

from .errors import PluginWarning, RegistryError
from .units import shown

__all__ = ["NO_PLUGINS", "Registry", "folder"]

NO_PLUGINS = "FORETRAIN_NO_PLUGINS"
"""Environment variable: anything but an empty text or 0 leaves the members of other packages out."""

M = TypeVar("M")

_plugin: ContextVar[str] = ContextVar("plugin", default="")
"""The entry point that is being loaded, empty while members of ours are."""
_LOADING = RLock()
"""Held while members are loaded: another thread waits until all are there, members may ask for other members."""
_added: list[tuple[Registry[Any], str]] = []
"""Every member that was added, in order, so that a plugin that fails half-way leaves nothing behind."""


class Registry(Generic[M]):
    """Members of one kind by name.

    Args:
        kind: What a member is called in messages, such as `law`.
        load: Adds the members of ours; called once, when a member is first asked for. `folder(package)` imports every
            module of a package.
        groups: Entry points of other packages that may add further members.

    >>> fruit = Registry[str]("fruit", lambda: None, "foretrain.fruit")
    >>> fruit.add("apple", "round")
    'round'
    >>> fruit.all()
    {'apple': 'round'}
    """

    def __init__(self, kind: str, load: Callable[[], None], *groups: str) -> None:
        self.kind, self.groups = kind, groups
        self._load = load
        self._members: dict[str, M] = {}
        self._from: dict[str, str] = {}

    def add(self, name: str, member: M) -> M:
        """Add a member under its name and return it. Raises RegistryError for a name that is taken."""
        if _plugin.get():
            _load_once(self._load)  # ours come first, so that no other package takes a name of theirs
        if name in self._members:
            raise RegistryError(f"{self.kind} {shown(name)}: the name is taken by {self._from[name]}; expected another")
        self._members[name] = member
        self._from[name] = _plugin.get() or "foretrain itself"
        _added.append((self, name))
        return member

    def all(self) -> dict[str, M]:
        """All members by name, those of ours first."""
        with _LOADING:
            _load_once(self._load)
            for group in self.groups:
                _load_once(partial(_load_ours, group))
                _load_plugins(group)
        return dict(self._members)

    @property
    def members(self) -> Mapping[str, M]:
        """The members that are loaded so far, by name."""
        return self._members

    def names(self) -> list[str]:
        """The names of all members, sorted."""
        return sorted(self.all())

    def remove(self, name: str) -> None:
        """Take a member out again, if it is there."""
        self._members.pop(name, None)
        self._from.pop(name, None)


def folder(*packages: str) -> Callable[[], None]:
    """A loader for `Registry`: imports every module of some packages whose name has no leading underscore."""
    return partial(_import_modules, *packages)


def _import_modules(*packages: str) -> None:
    for package in packages:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{package}.{module.name}")


_loaded: set[Any] = set()


def _load_once(load: Callable[[], None]) -> None:
    key = (load.func, load.args) if isinstance(load, partial) else load
    if key in _loaded:
        return
    _loaded.add(key)  # before it runs: members may ask for other members while they are imported
    try:
        load()
    except BaseException:
        _loaded.discard(key)
        raise


def _load_ours(group: str) -> None:
    """Load a group's entry points of foretrain itself."""
    for point in _entry_points().select(group=group):
        if _is_ours(point):
            point.load()


def _is_ours(point: Any) -> bool:
    return point.dist is not None and point.dist.name == __name__.partition(".")[0]


def _load_plugins(group: str) -> None:
    """Load a group's other entry points, each by itself: what fails is named, left out, and takes nothing with it."""
    if group in _loaded or os.environ.get(NO_PLUGINS, "0") not in ("", "0"):
        return
    _loaded.add(group)
    for point in _entry_points().select(group=group):
        if _is_ours(point):
            continue
        maker = f"{point.name} of {point.dist.name}" if point.dist is not None else point.name
        before, token = len(_added), _plugin.set(maker)
        try:
            point.load()
        except Exception as error:
            for registry, name in _added[before:]:
                registry.remove(name)
            del _added[before:]
            reason = str(error) if isinstance(error, RegistryError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"plugin {maker} ({group}) is left out: {reason}", PluginWarning, stacklevel=3)
        finally:
            _plugin.reset(token)


@cache
def _entry_points() -> Any:
    """Every installed package's entry points; finding them takes some milliseconds, so it is done once."""
    from importlib.metadata import entry_points

    return entry_points()
