"""The documents of a derived corpus as packed JSON lines, in a file for each provenance."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ....core.errors import CorpusError
from ....core.files import sha256_file
from ...corpus.document import Document, Split
from ...corpus.text_readers import MAX_DOCUMENT_BYTES
from ...provenance.domains import DomainProvenance
from ...provenance.provenance import Provenance
from .destination import text_name
from .result import Written, WrittenFile

__all__ = ["Lines"]

_MOST_PROVENANCES = 100  # of a side of a domain; each is a file that is open
_BUFFER_BYTES = 1 << 20


class Lines:
    """The documents of a side of a domain as JSON lines, as they come, in a packed file for each provenance.

    With `stays` they are counted only. A context manager: what isn't left well is removed with its folder.
    """

    def __init__(self, folder: Path, slug: str, side: Split, provenance: DomainProvenance, stays: bool) -> None:
        self._slug, self._provenance, self._stays = slug, provenance, stays
        self._side: Split = side
        found = provenance.all(side)
        if len(found) > _MOST_PROVENANCES:
            raise CorpusError(
                f"{slug}: {side} text has {len(found):,} different provenances; expected at most {_MOST_PROVENANCES}"
            )
        numbers = [None] if len(found) == 1 else list(range(len(found)))
        self._files = {
            one: _File(folder / text_name(slug, side, number)) for one, number in zip(found, numbers, strict=True)
        }
        self.documents = 0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, document: Document, source: str) -> None:
        """Append a document. Raises CorpusError for one that makes too long a line."""
        self.documents += 1
        if self._stays:
            return
        line = json.dumps({"text": document.text, "source": source}, ensure_ascii=False).encode()
        if len(line) >= MAX_DOCUMENT_BYTES:
            limit = f"{MAX_DOCUMENT_BYTES >> 20} MiB"
            raise CorpusError(f"{source}: is larger than {limit} as a line of JSON; split the document")
        self._files[self._provenance.of(document)].add(line, len(document.text.encode()))

    def written(self) -> Written | None:
        """What was written, which is on the disk; None if nothing was."""
        files = tuple(file.finish(one) for one, file in self._files.items() if file.documents)
        number = None if len(self._files) == 1 else "*"
        return Written(text_name(self._slug, self._side, number), files) if files else None


class _File:
    """One packed file of lines; without lines there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: Any = None
        self._buffer = bytearray()
        self.documents = self.bytes = 0

    def add(self, line: bytes, size: int) -> None:
        """Append a document of `size` bytes of text."""
        if self._stream is None:
            import pyarrow as pa

            self._stream = pa.CompressedOutputStream(str(self._path), "zstd")
        self.documents += 1
        self.bytes += size
        self._buffer += line + b"\n"
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._stream.write(bytes(self._buffer))
        self._buffer.clear()

    def finish(self, provenance: Provenance) -> WrittenFile:
        """Put all of it on the disk."""
        self._flush()
        self.close()
        with open(self._path, "rb") as done:
            os.fsync(done.fileno())
        return WrittenFile(self._path.name, self.documents, self.bytes, sha256_file(self._path), provenance)

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
