"""From what an author wrote to a checked model; all that is wrong is one error that names file, line and key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, PrivateAttr, ValidationError
from typing_extensions import override

from ..errors import ConfigError, ForetrainError
from ..units import shown
from .config_messages import Origins, explain
from .fields import FieldError, Frozen
from .yaml_reader import load_document

__all__ = ["ConfigFile", "as_mapping", "plain_schema", "validated"]

_Model = TypeVar("_Model", bound=BaseModel)


def validated(
    model: type[_Model],
    value: Any,
    origins: Origins,
    within: tuple[str, ...] = (),
    error: type[ForetrainError] = ConfigError,
) -> _Model:
    """Return `value` as a `model`. Raises `error` with a line for each problem, in the order of the file.

    `within` is the path in the file at which `value` stands, where that isn't the whole of it.
    """
    try:
        return model.model_validate(value)
    except ValidationError as problems:
        raise error(explain(problems, model, origins, within)) from None


def as_mapping(value: Any, where: str, needed: str) -> Mapping[str, Any]:
    """Return `value`. Raises `ConfigError` that asks for the `needed` keys if it isn't a mapping."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: got {shown(value)}; expected a mapping with {needed}")
    return value


def plain_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of `model`, its descriptions without examples in Python, which say nothing about YAML."""
    schema = model.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        part["description"] = part["description"].partition("\n\n>>>")[0]
    return schema


class ConfigFile(Frozen):
    """A configuration that is a file of its own: messages name its lines, and paths in it start from its folder."""

    noun: ClassVar[str]
    """What stands for the file in messages where there is none."""
    needed: ClassVar[str]
    """The keys that it can't do without, in words."""
    _folder: Path = PrivateAttr(default=Path())
    _origins: Origins = PrivateAttr()

    @override
    def model_post_init(self, context: Any, /) -> None:
        self._origins = Origins(self.noun)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a YAML or JSON file; paths in it are relative to its folder. Raises `ConfigError`."""
        document = load_document(path)
        return cls._read(document.mapping, Origins(document.where, document.lines), Path(path).parent)

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, Any], where: str | None = None, folder: str | os.PathLike[str] = "."
    ) -> Self:
        """Check a mapping as YAML would give it; paths in it are relative to `folder`. Raises `ConfigError`.

        `where` stands for the file in messages.
        """
        origins = Origins(where or cls.noun)
        return cls._read(as_mapping(mapping, origins.where, cls.needed), origins, Path(folder))

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from."""
        return self._folder

    @property
    def where(self) -> str:
        """The file that it was read from, or what stands for it in messages."""
        return self._origins.where

    def place(self, *keys: str) -> str:
        """Return file and line where a key was set, such as `corpora.yaml:7` for ``"domains", "books", "path"``."""
        return self._origins.of(keys)

    def problem(self, error: FieldError) -> ConfigError:
        """Return an error found later, when the data are known, with the file and line of its key in front."""
        return ConfigError(f"{self.place(*error.key.split('.'))}: {error.key}: {error.message}")

    @classmethod
    def _read(cls, mapping: Mapping[str, Any], origins: Origins, folder: Path) -> Self:
        config = validated(cls, dict(mapping), origins)
        config._folder, config._origins = folder, origins
        return config
