"""Paths of a run configuration, such as `data.tokens`: reading and writing values, and the types that they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

__all__ = ["get", "key_in", "leaf_types", "put", "within"]


def put(mapping: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value, copying each mapping on the way and making those that are missing."""
    for part in path[:-1]:
        mapping[part] = dict(mapping.get(part) or {})
        mapping = mapping[part]
    mapping[path[-1]] = value


def get(mapping: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The value at a path; None if there is none."""
    value: Any = mapping
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def within(path: str, section: str) -> bool:
    """Whether a path is a section's own or leads into it.

    >>> within("hardware.count", "hardware"), within("hardware", "hardware.count")
    (True, False)
    """
    return path == section or path.startswith(f"{section}.")


def key_in(path: str, section: str) -> str:
    """The section's own key that a path within it leads through.

    >>> key_in("hardware.accelerator.name", "hardware")
    'accelerator'
    """
    return path.removeprefix(f"{section}.").partition(".")[0]


def leaf_types(root: type[BaseModel], path: Sequence[str]) -> set[type]:
    """The plain types (int, float, str, bool) that the field at `path` takes; the path must exist."""
    kind: Any = root
    for part in path:
        section = next(one for one in _types(kind) if isinstance(one, type) and issubclass(one, BaseModel))
        kind = next(f.annotation for name, f in section.model_fields.items() if (f.alias or name) == part)
    return {one for one in _types(kind) if one in (int, float, str, bool)}


def _types(annotation: Any) -> list[Any]:
    """An annotation's types, unions and metadata taken apart."""
    inner = get_args(annotation)
    return [annotation] if not inner else [one for part in inner for one in _types(part)]
