"""`provenance.json`: what a folder of text says of each of its files: where it is from, and the file's digest.

    {"format": 1, "files": {"web.jsonl": {"sha256": "9f86…", "provenance": {"source": "wiki dump", "origin": "human"}}}}

It lies beside the files that it lists, and speaks of no others. A file that isn't the one that was listed has no
provenance: it is refused by name, never taken for the one that was there before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from ...core.errors import CorpusError
from ...core.files import read_bounded_text, sha256_file, write_json
from ...core.reading.fields import Frozen, Label
from ...core.units import shown
from .provenance import Provenance, Sha256

__all__ = ["PROVENANCE_NAME", "Manifest", "ManifestFile", "Manifests", "read_manifest", "write_manifest"]

PROVENANCE_NAME = "provenance.json"
"""Name of the manifest in a folder of text."""

_MOST_BYTES = 64_000_000
_MOST_FILES = 100_000


def _file_name(name: str) -> str:
    if name in (".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"got {shown(name)}; expected the name of a file in this folder")
    return name


class ManifestFile(Frozen, strict=True):
    """One file of text."""

    sha256: Sha256 = Field(description="SHA-256 of the file as it is on disk.")
    provenance: Provenance = Field(description="Where its text is from.")


class Manifest(Frozen, strict=True):
    """All of `provenance.json`."""

    format: Literal[1] = 1
    files: dict[Annotated[Label, AfterValidator(_file_name)], ManifestFile] = Field(
        min_length=1, max_length=_MOST_FILES, description="The files of the folder, by name."
    )


def write_manifest(folder: Path, files: Mapping[str, Provenance]) -> Manifest:
    """Write the manifest of some files of a folder, by name, each with its digest as it now is, and return it.

    Raises CorpusError for a file that can't be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.txt").write_text("one two")
    ...     _ = write_manifest(Path(folder), {"a.txt": Provenance(source="dictation", origin="human")})
    ...     Manifests().of(Path(folder, "a.txt")).source
    'dictation'
    """
    listed = {name: ManifestFile(sha256=_digest(folder / name), provenance=one) for name, one in files.items()}
    manifest = Manifest(files=listed)
    write_json(folder / PROVENANCE_NAME, manifest.model_dump(mode="json", exclude_none=True))
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """Read a folder's manifest; None where it has none. Raises CorpusError that names what is wrong with it."""
    path = folder / PROVENANCE_NAME
    if not os.path.lexists(path):
        return None
    text = read_bounded_text(path, _MOST_BYTES, CorpusError)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = "".join(f"{part}." for part in first["loc"])[:200].rstrip(".")
        where = f"{key}: " if key else ""
        raise CorpusError(f"{path}: isn't a manifest of provenance: {where}{first['msg']}") from None


class Manifests:
    """The manifests of the folders of some files, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, Manifest | None] = {}

    def of(self, path: Path) -> Provenance | None:
        """Where a file is from, as the manifest beside it says; None where none lists it.

        The file is read, for its digest. Raises CorpusError, naming it, if it isn't the file that was listed.
        """
        folder = path.parent
        if folder not in self._read:
            self._read[folder] = read_manifest(folder)
        manifest = self._read[folder]
        if manifest is None or path.name not in manifest.files:
            return None
        listed = manifest.files[path.name]
        if _digest(path) != listed.sha256:
            raise CorpusError(
                f"{path}: isn't the file that {PROVENANCE_NAME} lists: its SHA-256 is another one; restore the file, "
                f"or list it anew"
            )
        return listed.provenance


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise CorpusError(f"{path}: can't be read: {error.strerror or error}") from None
