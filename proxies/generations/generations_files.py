"""The files of chains in their folder.

DIR/generations.json    the space and the digest of its tokens; written once
DIR/tokens/             the real text (links to the prepared corpus), and every text that was written, each with its
                        provenance
DIR/generation-0/       a campaign on real text, one run per seed
DIR/generation-1/, …    a campaign each: all chains of the generation
DIR/.lock               held by the one process that trains the chains
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ...core.disk.locking import LOCK_NAME, locked
from ...core.errors import CampaignError
from ...core.reading.fields import Frozen, Label

__all__ = ["FILE_NAME", "GenerationsFile", "GenerationsPaths"]

FILE_NAME, _TOKENS_NAME = "generations.json", "tokens"


class GenerationsFile(Frozen):
    """All of `generations.json`. Paths are relative to the folder."""

    format: Literal[1] = 1
    foretrain: Label = Field(description="Version that made it.")
    space: dict[str, Any] = Field(description="The space as read, complete with defaults.")
    space_file: str = Field(description="The file it was read from.")
    tokens_digest: str = Field(max_length=200)
    keys: tuple[str, ...] = Field(
        default=(), exclude_if=lambda keys: not keys, description="Fingerprints of the keys that mark and filter text."
    )


class GenerationsPaths:
    """Names of the files in the folder of chains, and its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / FILE_NAME
        self.tokens = folder / _TOKENS_NAME

    def generation(self, number: int) -> Path:
        """The campaign of a generation."""
        return self.folder / f"generation-{number}"

    def locked(self) -> AbstractContextManager[None]:
        """Hold the chains for this process. Raises CampaignError at once if another one has them."""
        busy = "another process is training these chains; wait for it to end, or stop it"
        return locked(self.folder, busy, CampaignError)

    def foreign(self) -> list[str]:
        """Names of files that chains which are yet to be made wouldn't have. Raises CampaignError if it can't look."""
        try:
            there = {one.name for one in self.folder.iterdir()} if self.folder.is_dir() else set()
        except OSError as error:
            raise CampaignError(f"{self.folder}: can't be read: {error.strerror}") from None
        return sorted(there - {_TOKENS_NAME, LOCK_NAME})
