"""`--set a.b=c`: overrides of single keys of a raw configuration, and the key paths that a configuration knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from ..errors import ConfigError
from ..units import shown
from ..yaml_io import loads_value

__all__ = ["description", "known_keys", "merge_overrides", "suggestion"]

_MAX_LISTED = 12
# Mappings whose keys are the user's own.
_FREE_KEYS = (("data", "mix"),)


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


def known_keys(root: type[BaseModel], path: tuple[str, ...] = ()) -> list[str] | None:
    """Return the keys that a configuration accepts at `path`, or None where any is accepted or none at all.

    >>> from foretrain.simulator.config import TargetConfig
    >>> known_keys(TargetConfig)
    ['perplexity', 'loss_nats', 'deadline', 'budget_usd']
    """
    section = _section_at(root, path)
    return None if section is None else [field.alias or name for name, field in section.model_fields.items()]


def description(root: type[BaseModel], path: tuple[str, ...]) -> str | None:
    """Return what the key at `path` means, or None if there is no such key or no more to say."""
    section = _section_at(root, path[:-1])
    fields = section.model_fields.items() if section is not None else ()
    return next((field.description for name, field in fields if (field.alias or name) == path[-1]), None)


def suggestion(root: type[BaseModel], path: tuple[str, ...]) -> str:
    """Return what the author of an unknown key at `path` may have meant, or the keys that are accepted there."""
    *parents, key = path
    siblings = known_keys(root, tuple(parents)) or []
    prefix = "".join(f"{parent}." for parent in parents)
    close = difflib.get_close_matches(key, siblings, n=1, cutoff=0.7)
    # A right key in the wrong section is as common as a misspelt one.
    elsewhere = [known for known in _all_paths(root) if known.split(".")[-1] == key]
    if close or elsewhere:
        return f"did you mean {prefix + close[0] if close else ' or '.join(elsewhere[:2])}?"
    listed = ", ".join(siblings[:_MAX_LISTED]) + (", …" if len(siblings) > _MAX_LISTED else "")
    return f"expected one of {listed}"


def _parse(override: str, where: str, root: type[BaseModel]) -> tuple[tuple[str, ...], Any]:
    """Return path and value of one override."""
    key, equals, text = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"{where}: expected key=value, such as data.tokens=2T")
    _check_path(path, where, root)
    try:
        return path, loads_value(text, where)
    except ConfigError as error:
        # The value stands on one line; its number says nothing.
        raise ConfigError(str(error).replace(f"{where}:1: ", f"{where}: ", 1)) from error


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


def _section_at(root: type[BaseModel], path: tuple[str, ...]) -> type[BaseModel] | None:
    """Return the model that describes `path`, or None if no model does."""
    section: type[BaseModel] | None = root
    for part in path:
        section = dict(_subsections(section)).get(part) if section is not None else None
    return section


def _subsections(section: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield key and model of each field that is a section itself, optional or not."""
    for name, field in section.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield field.alias or name, kind


def _all_paths(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every key, sections before what is in them."""
    inner = dict(_subsections(section))
    for key in known_keys(section) or []:
        yield prefix + key
        if key in inner:
            yield from _all_paths(inner[key], f"{prefix}{key}.")
