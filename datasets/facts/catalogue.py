"""Named entries of the files of facts: what all of them state, and how one is found by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib import resources
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field
from typing_extensions import override

from ...core.errors import ConfigError
from ...core.reading.fields import Frozen, Label
from ...core.reading.suggest import did_you_mean, nearest
from ...core.units import shown

__all__ = ["Catalogue", "Entry", "folded", "read_facts"]

Evidence = Literal["read", "computed", "recalled", "guessed", "stated"]
_MOST_NEAREST = 3


class Entry(Frozen):
    """One named entry: other names of it, and where its figures are from."""

    name: Label = Field(description="Name.")
    what: Label = Field(description="What it is, in a line.")
    aliases: tuple[Label, ...] = Field(default=(), description="Other names.")
    prefixes: tuple[Label, ...] = Field(default=(), description="What names of its variants begin with.")
    sources: tuple[Label, ...] = Field(description="Where the figures are from.")
    evidence: Evidence = Field(description="Whether they were read, computed, recalled, guessed or stated.")
    notes: Label | None = Field(default=None, description="What else to know.")


EntryT = TypeVar("EntryT", bound=Entry)


class Catalogue(Mapping[str, EntryT], Generic[EntryT]):
    """Entries by their name, in the order of the file; `find` takes aliases and other spellings too."""

    def __init__(self, entries: Iterable[EntryT]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    @override
    def __getitem__(self, name: str) -> EntryT:
        return self._entries[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    @override
    def __len__(self) -> int:
        return len(self._entries)

    def require(self, name: str, expected: str) -> EntryT:
        """The entry that `find` finds.

        Args:
            name: Name or alias.
            expected: What would be accepted, for the message.

        Raises:
            ConfigError: There is none; the message names the nearest ones.
        """
        found = self.find(name)
        if found is None:
            near = did_you_mean(self.nearest(name))
            raise ConfigError(f"got {shown(name)}, which isn't in the catalogue; {near}expected {expected}")
        return found

    def find(self, name: str) -> EntryT | None:
        """The entry of this name or alias, whatever its case, blanks and signs, or whose variant is called so."""
        plain = folded(name)
        if plain in self._index:
            return self._index[plain]
        prefix = max((prefix for prefix in self._prefixes if plain.startswith(prefix)), key=len, default=None)
        return None if prefix is None else self._prefixes[prefix]

    def nearest(self, name: str) -> list[str]:
        """Names of the entries whose names or aliases are most like this one, the likest first; at most three."""
        near = nearest(folded(name), self._index, most=2 * _MOST_NEAREST)
        return list(dict.fromkeys(self._index[plain].name for plain in near))[:_MOST_NEAREST]

    @cached_property
    def _index(self) -> Mapping[str, EntryT]:
        return {folded(name): entry for entry in self.values() for name in (entry.name, *entry.aliases)}

    @cached_property
    def _prefixes(self) -> Mapping[str, EntryT]:
        return {folded(prefix): entry for entry in self.values() for prefix in entry.prefixes}


def folded(name: str) -> str:
    """A name as names are compared: without case, blanks and signs.

    >>> folded("FineWeb-Edu") == folded("fineweb_edu")
    True
    """
    return re.sub(r"[^a-z0-9]", "", name[:200].casefold())


def read_facts(file: str) -> dict[str, Any]:
    """What a file of this folder holds."""
    return json.loads(resources.files("foretrain.datasets.facts").joinpath(file).read_text(encoding="utf-8"))
