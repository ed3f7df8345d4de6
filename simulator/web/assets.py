"""Files of the page, and the libraries that draw its charts: read once, kept in memory, compressed."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from threading import Lock

from starlette.datastructures import Headers
from starlette.responses import Response

__all__ = ["Asset", "Assets"]

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "text/json"}
_SERVED = (".css", ".js", ".svg", ".png", ".ico", ".woff2", ".webmanifest", ".json")
_FOREVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"  # kept, but whether it is still the same is asked each time
_BUNDLE_S = 120.0
# in a process of its own: the library takes a hundred MB that nothing else of the server needs
_BUNDLE = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"


@dataclass(frozen=True)
class Asset:
    """One file as it is answered."""

    media_type: str
    zipped: bytes
    etag: str
    cache: str

    @classmethod
    def of(cls, name: str, data: bytes, cache: str) -> Asset:
        """The asset of a file's name and contents."""
        suffix = name[name.rfind(".") :]
        media_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return cls(media_type, gzip.compress(data, 9, mtime=0), f'"{hashlib.sha256(data).hexdigest()[:32]}"', cache)

    def answer(self, headers: Headers) -> Response:
        """The answer to a request with these headers."""
        said = {"ETag": self.etag, "Cache-Control": self.cache, "Vary": "Accept-Encoding"}
        if self.etag in headers.get("if-none-match", ""):
            return Response(status_code=304, headers=said)
        if "gzip" in headers.get("accept-encoding", ""):
            return Response(self.zipped, media_type=self.media_type, headers={**said, "Content-Encoding": "gzip"})
        return Response(gzip.decompress(self.zipped), media_type=self.media_type, headers=said)


class Assets:
    """The files of `simulator/web/page/` by their names, and the charts' libraries under a name with their digest.

    A name is looked up among those that were read: no request reaches the disk.
    """

    def __init__(self) -> None:
        self._files = {
            name: Asset.of(name, file.read_bytes(), _ASK_FIRST)
            for name, file in _below(resources.files("foretrain.simulator.web").joinpath("page"), "")
            if name.endswith(_SERVED)
        }
        self._lock = Lock()
        self._bundle: Asset | None = None

    @cached_property
    def bundle(self) -> str:
        """Name of the file with vega, vega-lite and vega-embed, which changes when they do."""
        version = metadata.version("vl-convert-python")
        return f"vega-{hashlib.sha256(version.encode()).hexdigest()[:16]}.js"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the page's files."""
        return tuple(self._files)

    def find(self, name: str) -> Asset | None:
        """The file of a name, None where there is none. The charts' libraries take a second or two the first time."""
        return self.make_bundle() if name == self.bundle else self._files.get(name)

    def make_bundle(self) -> Asset:
        """The charts' libraries, made once."""
        with self._lock:
            if self._bundle is None:
                done = subprocess.run(
                    [sys.executable, "-c", _BUNDLE], stdin=subprocess.DEVNULL, capture_output=True, timeout=_BUNDLE_S
                )
                done.check_returncode()
                self._bundle = Asset.of(self.bundle, done.stdout, _FOREVER)
            return self._bundle


def _below(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    """Every file below a folder, by its path from there."""
    if not folder.is_dir():
        return []
    found: list[tuple[str, Traversable]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{prefix}{entry.name}"
        found += _below(entry, f"{name}/") if entry.is_dir() else [(name, entry)]
    return found
