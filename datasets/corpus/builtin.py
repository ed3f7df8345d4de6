"""Three domains of text that an installation brings along, for a first run without any data of one's own.

- `python_source`: the sources of Python's standard library, without its tests;
- `documentation`: English prose about software: Python's help topics, and the docstrings of the standard library and of
  libraries that foretrain depends on;
- `headers`: C and C++ headers: PyTorch's where it is installed, and those of PyArrow, NumPy and Python.

Nothing is imported or run to get at the text: packages are located by name and their files are parsed. Read `LIMITS`
before using them for more than a trial.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ...core.errors import CorpusError, UsageError
from ...core.units import shown

__all__ = ["BUILTIN_NAMES", "LIMITS", "BuiltinName", "BuiltinText", "texts"]

BuiltinName = Literal["python_source", "documentation", "headers"]
"""The built-in domains."""

BUILTIN_NAMES: tuple[str, ...] = get_args(BuiltinName)
"""The built-in domains, as values."""

LIMITS = (
    "Built-in text is what happens to be installed: Python sources, docstrings and C++ headers. All of it is about "
    "code, so it can't support conclusions about data mixes or about any other text. It changes with the versions of "
    "Python and of the installed packages: figures from different machines don't compare unless the source digests "
    "are equal. It holds at most 8 MB per domain, in an order drawn by hash, without files above 256 kB."
)
"""What results on built-in text can't tell; to be shown wherever they are."""

_MAX_DOMAIN_BYTES = 8_000_000
_MAX_DOCUMENT_BYTES = 256_000  # larger files are tables: Unicode, HTML entities, generated operators
_MIN_PROSE_CHARACTERS = 200
_LEFT_OUT = {"test", "tests", "idle_test", "lib2to3", "site-packages", "dist-packages", "__pycache__", "_vendor"}
# Written when Python was built, with the paths of that machine.
_BUILD_RECORDS = ("_sysconfigdata", "config-")
_TOPICS = "pydoc_data/topics.py"
_DOCUMENTED = ("numpy", "scipy", "pandas", "pydantic", "click", "rich")
_WITH_HEADERS = ("torch", "pyarrow", "numpy")
# One generated file per operator and kind, thousands of them, all but alike.
_GENERATED_HEADERS = "/include/ATen/ops/"


class BuiltinText(NamedTuple):
    """A built-in document: a name without any path of this machine, such as `json/decoder.py`, and its text."""

    name: str
    text: str


class _File(NamedTuple):
    """A file to take text from: its name, and where it is here."""

    name: str
    path: Path


def texts(domain: BuiltinName, max_bytes: int = _MAX_DOMAIN_BYTES) -> tuple[BuiltinText, ...]:
    """Return the documents of a built-in domain, `max_bytes` of UTF-8 at most, without exact duplicates.

    The order is drawn by the hash of the names, so that the cap takes a fair part of everything; one installation
    always gives the same. `documentation` takes some seconds, for it parses sources; later calls are free. Raises
    `CorpusError` if this installation has no such text (a Python without its sources).
    """
    if domain not in BUILTIN_NAMES:
        raise UsageError(f"builtin: got {shown(domain)}; expected one of {', '.join(BUILTIN_NAMES)}")
    found = _read(domain, max_bytes)
    if not found:
        raise CorpusError(f"builtin {domain}: this installation has no such text; expected Python with its sources")
    return found


@lru_cache(maxsize=len(get_args(BuiltinName)))
def _read(domain: str, max_bytes: int) -> tuple[BuiltinText, ...]:
    """Return the documents of a domain; kept, because a run reads them for their digest and for each split."""
    candidates, read = _SOURCES[domain]
    return tuple(_capped(sorted(candidates(), key=_order), read, max_bytes))


def _capped(
    files: list[_File], read: Callable[[_File], Iterator[BuiltinText]], max_bytes: int
) -> Iterator[BuiltinText]:
    """Yield what `read` finds in the files, until the next document would exceed `max_bytes`."""
    seen, used = set[bytes](), 0
    for file in files:
        for found in read(file):
            data = found.text.encode("utf-8")
            digest = hashlib.sha256(data).digest()
            if not data.strip() or digest in seen or len(data) > _MAX_DOCUMENT_BYTES:
                continue
            if used + len(data) > max_bytes:
                return
            used += len(data)
            seen.add(digest)
            yield found


def _order(file: _File) -> bytes:
    return hashlib.sha256(file.name.encode("utf-8")).digest()


def _python_files() -> list[_File]:
    """Return the modules of the standard library, without the help topics, which are prose."""
    return [file for file in _standard_library() if file.name != _TOPICS]


def _documented_files() -> list[_File]:
    """Return the help topics, and the modules whose docstrings are read."""
    return _standard_library() + [file for name in _DOCUMENTED for file in _of_package(name, (".py",))]


def _header_files() -> list[_File]:
    """Return the headers of PyTorch, PyArrow, NumPy and Python, as far as they are here."""
    endings = (".h", ".hpp", ".cuh")
    packaged = [file for name in _WITH_HEADERS for file in _of_package(name, endings)]
    python = _below(Path(sysconfig.get_path("include")), "python", endings)
    return [file for file in packaged + python if _GENERATED_HEADERS not in file.name]


def _standard_library() -> list[_File]:
    return [
        file
        for file in _below(Path(sysconfig.get_path("stdlib")), "", (".py",))
        if not file.name.startswith(_BUILD_RECORDS)
    ]


def _of_package(name: str, endings: tuple[str, ...]) -> list[_File]:
    """Return the files of an installed top-level package, or none if it isn't installed; it isn't imported."""
    spec = importlib.util.find_spec(name)
    folders = spec.submodule_search_locations if spec is not None else None
    return [file for folder in folders or () for file in _below(Path(folder), name, endings)]


def _below(folder: Path, prefix: str, endings: tuple[str, ...]) -> list[_File]:
    """Return the files below `folder` with these endings, named `prefix/relative path`, tests left out."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.suffix in endings and not _LEFT_OUT.intersection(parts) and path.is_file():
            found.append(_File("/".join((prefix, *parts) if prefix else parts), path))
    return found


def _read_whole(file: _File) -> Iterator[BuiltinText]:
    """Yield the file itself, unless it isn't UTF-8 or can't be read."""
    text = _text(file)
    if text is not None:
        yield BuiltinText(file.name, text)


def _read_prose(file: _File) -> Iterator[BuiltinText]:
    """Yield the help topics one by one, or a module's docstrings together, in their order."""
    text = _text(file)
    tree = _parsed(text) if text is not None else None
    if tree is None:
        return
    if file.name == _TOPICS:
        yield from _topics(tree)
        return
    prose = "\n\n".join(_docstrings(tree))
    if len(prose) >= _MIN_PROSE_CHARACTERS:
        yield BuiltinText(file.name, prose)


def _topics(tree: ast.Module) -> Iterator[BuiltinText]:
    """Yield the entries of the dictionary that `pydoc_data/topics.py` consists of."""
    for statement in tree.body:
        table = statement.value if isinstance(statement, ast.Assign) else None
        for key, value in zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else ():
            if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield BuiltinText(f"{_TOPICS}/{key.value}", inspect.cleandoc(value.value))


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and functions, in the order of the source."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node)
        if docstring:
            yield docstring
    # Only statements that hold others: expressions are most of a tree and have no docstrings.
    for field in ("body", "orelse", "handlers", "finalbody"):
        for child in getattr(node, field, ()):
            yield from _docstrings(child)


def _text(file: _File) -> str | None:
    """Return a file's text, or None if it isn't UTF-8 text that can be read."""
    try:
        text = file.path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text else text


def _parsed(text: str) -> ast.Module | None:
    """Return the syntax tree of a source, or None if this Python can't parse it."""
    with warnings.catch_warnings():
        # Escapes that other people's sources get wrong are none of our user's business.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


_SOURCES: dict[str, tuple[Callable[[], list[_File]], Callable[[_File], Iterator[BuiltinText]]]] = {
    "python_source": (_python_files, _read_whole),
    "documentation": (_documented_files, _read_prose),
    "headers": (_header_files, _read_whole),
}
