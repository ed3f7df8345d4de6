"""Models by name: the shape that was published of each, how many parameters it has, what it was trained on.

They are in `facts/models.json`, whose head says what the figures mean and where they are from.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from pydantic import Field

from ...core.model.architecture import Architecture
from ...core.reading.fields import Label, PositiveCount
from .catalogue import Catalogue, Entry, read_facts

__all__ = ["PublishedModel", "model", "models", "sources"]


class PublishedModel(Entry):
    """A model whose shape was published.

    >>> models()["llama-2-7b"].shape.params_total
    6738415616
    """

    shape: Architecture = Field(description="Its shape.")
    params: PositiveCount = Field(description="All parameters, as published.")
    tokens: PositiveCount | None = Field(default=None, description="Tokens that it was trained on, as published.")
    tokenizer: Label | None = Field(default=None, description="Its tokenizer, by name.")


@cache
def models() -> Catalogue[PublishedModel]:
    """Every known model by its name, in the order of the file."""
    entries = read_facts("models.json")["models"].items()
    return Catalogue(PublishedModel.model_validate({"name": name, **entry}) for name, entry in entries)


def model(name: str) -> PublishedModel:
    """Look up a model.

    Args:
        name: Name or alias, whatever its case, blanks and signs.

    Raises:
        ConfigError: There is no such model; the message names the nearest ones.

    >>> model("Llama 3 8B").name
    'llama-3-8b'
    """
    return models().require(name, "a name that `simulate list models` shows, such as llama-3-8b or mixtral-8x7b")


def sources() -> Mapping[str, str]:
    """What the short names of sources stand for."""
    return MappingProxyType(read_facts("models.json")["sources"])
