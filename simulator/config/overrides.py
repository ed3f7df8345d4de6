"""`--set a.b=c`: overrides of single keys of a raw configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ...core.errors import ConfigError
from ...core.reading.config_messages import is_list, known_keys, suggestion
from ...core.reading.yaml_reader import loads_value
from ...core.units import shown

__all__ = ["merge_overrides"]

# Mappings whose keys are the user's own; a star stands for the number of a list's entry.
_FREE_KEYS = (
    ("data", "mix"),
    ("data", "corpus"),
    ("data", "unique_tokens_by_domain"),
    ("data", "stages", "*", "mix"),
    ("data", "stages", "*", "corpus"),
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
        _put(merged, path, value, where, root)
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
        length = len(free)
        if _is_free(path[:length]) and len(path) > length:
            return (*path[:length], ".".join(path[length:]))
    return path


def _is_free(path: tuple[str, ...]) -> bool:
    """Whether what stands at `path` is a mapping whose keys are the user's own."""
    return tuple("*" if part.isdecimal() else part for part in path) in _FREE_KEYS


def _check_path(path: tuple[str, ...], where: str, root: type[BaseModel]) -> None:
    """Raise `ConfigError` unless the configuration knows `path`."""
    for depth, key in enumerate(path):
        if _is_free(path[:depth]) and depth == len(path) - 1:
            return
        if depth and is_list(root, path[:depth]):
            if not key.isdecimal():
                raise ConfigError(
                    f"{where}: {'.'.join(path[:depth])} is a list; expected the number of an entry, counted from 0, "
                    f"such as {'.'.join(path[:depth])}.0, or all of it as [{{…}}, {{…}}]"
                )
            continue
        known = known_keys(root, path[:depth])
        if known is None:
            # Below a plain field there is nothing to set.
            parent = path[: depth + 1] if _is_free(path[:depth]) else path[:depth]
            raise ConfigError(f"{where}: {'.'.join(parent)} has no keys of its own; expected a value for it")
        if key not in known:
            raise ConfigError(f"{where}: unknown key {shown('.'.join(path))}; {suggestion(root, path[: depth + 1])}")


def _put(mapping: dict[str, Any], path: tuple[str, ...], value: Any, where: str, root: type[BaseModel]) -> None:
    """Set `value` at `path`, copying each mapping on the way and making those that are absent."""
    held: Any = mapping
    for depth, part in enumerate(path[:-1], start=1):
        entry = _entry(held, path[: depth - 1], part, where)
        inner = held[entry] if isinstance(held, list) else held.get(part)
        if isinstance(inner, list | tuple) or (inner is None and is_list(root, path[:depth])):
            held[entry] = list(inner or ())
        elif inner is None or isinstance(inner, Mapping):
            held[entry] = dict(inner or {})
        else:
            raise ConfigError(f"{where}: {'.'.join(path[:depth])} is {shown(inner)} in the file; expected a section")
        held = held[entry]
    held[_entry(held, path[:-1], path[-1], where)] = value


def _entry(held: Any, path: tuple[str, ...], part: str, where: str) -> Any:
    """What `part` is called in `held`, which stands at `path`: the place in a list, or a key."""
    if not isinstance(held, list):
        return part
    if not part.isdecimal() or int(part) >= len(held):
        raise ConfigError(
            f"{where}: {'.'.join(path)} has {len(held)} entries, counted from 0; expected one of them, or all of it as "
            "[{…}, {…}]"
        )
    return int(part)
