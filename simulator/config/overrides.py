"""`--set a.b=c`: overrides of single keys of a raw configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ...core.errors import ConfigError
from ...core.reading.config_messages import known_keys, suggestion
from ...core.reading.yaml_reader import loads_value
from ...core.units import shown

__all__ = ["merge_overrides"]

# Mappings whose keys are the user's own.
_FREE_KEYS = (
    ("data", "mix"),
    ("data", "corpus"),
    ("data", "unique_tokens_by_domain"),
    ("optim", "lr_steps"),
    ("optim", "lr_points"),
    ("columns",),
)


def merge_overrides(
    mapping: Mapping[str, Any], overrides: Sequence[str], root: type[BaseModel]
) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """Return a copy of `mapping` with the overrides applied in order, and the text of each by its path.

    Raises `ConfigError` for an override that isn't ``key=value``, whose key `root` doesn't know, or whose value isn't
    YAML. The mapping given is left as it is.
    """
    merged, applied = dict(mapping), dict[tuple[str, ...], str]()
    for override in overrides:
        where = f"--set {override if len(override) <= 80 else override[:79] + '…'}"
        path, value = _parse(override, where, root)
        _put(merged, path, value, where)
        # What an earlier override set within this path is gone.
        applied = {earlier: text for earlier, text in applied.items() if earlier[: len(path)] != path}
        applied[path] = where
    return merged, applied


def _parse(override: str, where: str, root: type[BaseModel]) -> tuple[tuple[str, ...], Any]:
    """Return path and value of one override."""
    key, equals, text = override.partition("=")
    path = _with_own_key(tuple(part.strip() for part in key.split(".")))
    if not equals or not all(path):
        raise ConfigError(f"{where}: expected key=value, such as data.tokens=2T")
    _check_path(path, where, root)
    try:
        return path, loads_value(text, where)
    except ConfigError as error:
        # The value stands on one line; its number says nothing.
        raise ConfigError(str(error).replace(f"{where}:1: ", f"{where}: ", 1)) from error


def _with_own_key(path: tuple[str, ...]) -> tuple[str, ...]:
    """The path with what follows a mapping of the user's own keys as one key: `data.mix.wiki.en` ends in `wiki.en`."""
    for free in _FREE_KEYS:
        if path[: len(free)] == free and len(path) > len(free):
            return (*free, ".".join(path[len(free) :]))
    return path


def _check_path(path: tuple[str, ...], where: str, root: type[BaseModel]) -> None:
    """Raise `ConfigError` unless the configuration knows `path`."""
    for depth, key in enumerate(path):
        if path[:depth] in _FREE_KEYS and depth == len(path) - 1:
            return
        known = known_keys(root, path[:depth])
        if known is None:
            # Below a plain field there is nothing to set.
            parent = path[: depth + 1] if path[:depth] in _FREE_KEYS else path[:depth]
            raise ConfigError(f"{where}: {'.'.join(parent)} has no keys of its own; expected a value for it")
        if key not in known:
            raise ConfigError(f"{where}: unknown key {shown('.'.join(path))}; {suggestion(root, path[: depth + 1])}")


def _put(mapping: dict[str, Any], path: tuple[str, ...], value: Any, where: str) -> None:
    """Set `value` at `path`, copying each mapping on the way and making those that are absent."""
    for depth, part in enumerate(path[:-1], start=1):
        inner = mapping.get(part)
        if inner is not None and not isinstance(inner, Mapping):
            raise ConfigError(f"{where}: {'.'.join(path[:depth])} is {shown(inner)} in the file; expected a section")
        mapping[part] = dict(inner or {})
        mapping = mapping[part]
    mapping[path[-1]] = value
