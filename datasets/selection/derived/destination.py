"""Where a derived corpus may be written: a folder that is new, empty, or holds an earlier one, and isn't its source."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from ....core.disk.array_folders import check_folder
from ....core.disk.folders import replaced
from ....core.errors import CorpusError, InputError, PredictorError
from ....core.files import AT_WORK, MANIFEST_NAME, read_json
from ...corpus.corpus import Corpus
from ...corpus.document import Split
from ...corpus.documents import files_of
from ...provenance.manifest import PROVENANCE_NAME
from .result import FORMAT

__all__ = ["CORPORA_NAME", "SELECTION_NAME", "check_destination", "replacing", "text_name"]

CORPORA_NAME, SELECTION_NAME = "corpora.yaml", "selection.json"
_TOKENS_NAME = "corpora.tokens"  # which projects of proxies put beside corpora.yaml, and check before they use it
_TEXT = re.compile(r"[\w-]+\.(train|valid)(\.\d{2})?\.jsonl\.zst")
_MOST_BYTES = 1 << 28
_SIGNS = "*?["


def text_name(slug: str, side: Split, number: int | str | None = None) -> str:
    """The name of the file that holds a side of a domain, or the `number`-th provenance of it; with `*` of them all."""
    part = "" if number is None else f".{number:02d}" if isinstance(number, int) else f".{number}"
    return f"{slug}.{side}{part}.jsonl.zst"


def check_destination(corpus: Corpus, out: str | os.PathLike[str]) -> Path:
    """The folder as a path. Raises CorpusError if it holds anything but a derived corpus, or is part of the source."""
    try:
        folder = check_folder(out, lambda name: _ours(name) or name == _TOKENS_NAME, "derived corpus")
    except PredictorError as error:
        raise CorpusError(str(error)) from None
    if folder.is_dir() and any(not AT_WORK.fullmatch(path.name) for path in folder.iterdir()):
        _check_ours(folder)
    for name, domain in corpus.domains.items():
        for key in ("path", "validation_path"):
            pattern = getattr(domain, key)
            if pattern is not None and _reads(corpus.folder / pattern, pattern, folder):
                raise _within(corpus, name, key, folder)
        sides: tuple[Split, ...] = get_args(Split)
        if domain.synthetic is None:
            files = (file.path for side in sides for file in files_of(corpus, name, side))
            if any(_is_below(path, folder) for path in files):
                raise _within(corpus, name, "path", folder)
    return folder


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder whose files take the place of those of `folder` when the block ends well. Raises CorpusError."""
    try:
        with replaced(folder, _ours) as new:
            yield new
    except PredictorError as error:
        raise CorpusError(str(error)) from None


def _ours(name: str) -> bool:
    return name in (CORPORA_NAME, SELECTION_NAME, PROVENANCE_NAME, MANIFEST_NAME) or _TEXT.fullmatch(name) is not None


def _check_ours(folder: Path) -> None:
    """Raise CorpusError unless an earlier derived corpus is there: a user's own corpora.yaml is no such thing."""
    with contextlib.suppress(InputError):
        found = read_json(folder / SELECTION_NAME, _MOST_BYTES, CorpusError)
        if isinstance(found, dict) and found.get("format") == FORMAT and "domains" in found:
            return
    raise CorpusError(
        f"{folder}: holds files, but no {SELECTION_NAME} of a derived corpus; expected an empty or new folder"
    )


def _reads(target: Path, pattern: str, folder: Path) -> bool:
    """Would a path of the source lead to files of the folder?"""
    if target.is_dir():
        return _is_below(folder, target)
    if target.exists() or not any(sign in pattern for sign in _SIGNS):
        return False
    wanted = _glob_pattern(os.path.abspath(target))
    names = (CORPORA_NAME, text_name("web", "train"), text_name("web", "train", 0))
    return any(wanted.fullmatch(f"{place}/{name}") for place in _places(folder) for name in names)


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _places(folder: Path) -> tuple[str, str]:
    return os.path.abspath(folder), os.path.realpath(folder)


def _glob_pattern(target: str) -> re.Pattern[str]:
    """What a glob with `**` matches, as a regular expression."""
    made = ""
    for part in re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", target):
        if part in ("**/", "**", "*", "?"):
            made += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[part]
        elif part.startswith("["):
            made += part.replace("[!", "[^")
        else:
            made += re.escape(part)
    return re.compile(made)


def _within(corpus: Corpus, name: str, key: str, folder: Path) -> CorpusError:
    place = corpus.place("domains", name, key)
    return CorpusError(
        f"{folder}: domains.{name}.{key} ({place}) reads files in it; expected a folder outside the source"
    )
