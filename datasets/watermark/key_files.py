"""Watermarks from files: a key has no place in a plan, a corpus file or a command line, which are shown and kept.

    key: "9f86d081884c7d659a2feaa0c55ad015"   # openssl rand -hex 16
    delta: 2
    context: 3

Other keys are those of `Watermark`; defaults are its own.
"""

from __future__ import annotations

import os

from ...core.reading.config_messages import Origins
from ...core.reading.config_reader import validated
from ...core.reading.yaml_reader import load_document
from .green import Watermark

__all__ = ["read_watermark"]


def read_watermark(path: str | os.PathLike[str]) -> Watermark:
    """Read a watermark from a YAML or JSON file. Raises ConfigError, naming file and line, and never the key.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mark.yaml").write_text('key: "9f86d081884c7d659a2feaa0c55ad015"\\ndelta: 1.5\\n')
    ...     read_watermark(Path(folder, "mark.yaml")).delta
    1.5
    """
    document = load_document(path)
    return validated(Watermark, document.mapping, Origins(document.where, document.lines))
