"""The page of the Python API: every public name with its signature and docstring."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import foretrain
from markdown_cells import cell, plain

SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields):$")
HIDDEN = ("__version__", "errors")  # public, and no classes or functions


def python() -> str:
    """Every public name with its signature and docstring, and the errors."""
    things = {name: getattr(foretrain, name) for name in foretrain.__all__ if name not in HIDDEN}
    kinds: dict[str, dict[str, Any]] = {"Functions": {}, "Classes": {}, "Errors and warnings": {}}
    for name, thing in things.items():
        is_problem = isinstance(thing, type) and issubclass(thing, Exception)
        where = "Errors and warnings" if is_problem else "Classes" if isinstance(thing, type) else "Functions"
        kinds[where][name] = thing
    lines = [
        "# Python API",
        "",
        "The public names of `foretrain`. Their examples run in the tests.",
        "[From Python](../how-to/use-python.md) is a script that uses most of them.",
    ]
    for title, members in kinds.items():
        lines += ["", f"## {title}"]
        for name, thing in sorted(members.items(), key=lambda item: item[0].lower()):
            lines += ["", f"### {name}", "", *_described(name, thing)]
            if title == "Classes":
                lines += _methods(thing)
    return "\n".join(lines)


def _described(name: str, thing: Any) -> Iterator[str]:
    if not (isinstance(thing, type) and issubclass(thing, Exception | foretrain.RunConfig.__mro__[1])):
        yield from ("```text", _signature(name, thing), "```", "")
    yield from _docstring(inspect.getdoc(thing) or "")


def _signature(name: str, thing: Any) -> str:
    """Name and parameters, one a line where they are long; annotations are shortened to their last part."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return name
    parameters = [str(one) for one in signature.parameters.values() if one.name not in ("self", "cls")]
    parameters = [re.sub(r"\b[a-z_]+\.(?:[a-z_]+\.)*([A-Z]\w*)", r"\1", one).replace("'", "") for one in parameters]
    result = signature.return_annotation
    arrow = "" if result is inspect.Signature.empty or isinstance(thing, type) else f" -> {_name(result)}"
    line = f"{name}({', '.join(parameters)}){arrow}"
    return line if len(line) <= 88 else f"{name}(\n    " + ",\n    ".join(parameters) + f",\n){arrow}"


def _name(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return text.replace("'", "")


def _methods(kind: type) -> Iterator[str]:
    """Public methods and properties that a class defines itself, each with its first paragraph."""
    rows = []
    for name, member in vars(kind).items():
        if name[0] == "_":
            continue
        inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(inner, property):
            shown, text = name, inspect.getdoc(inner)
        elif inspect.isfunction(inner):
            arguments = [one for one in inspect.signature(inner).parameters if one not in ("self", "cls")]
            shown, text = f"{name}({', '.join(arguments)})", inspect.getdoc(inner)
        else:
            continue
        first = " ".join((text or "").split("\n\n")[0].split())
        if first:
            rows.append(f"| `{shown}` | {cell(first)} |")
    if rows:
        yield from ("", "| member | meaning |", "|---|---|", *rows)


def _docstring(text: str) -> Iterator[str]:
    """A docstring as Markdown: sections as lists, examples as blocks of Python."""
    lines, place = text.splitlines(), 0
    while place < len(lines):
        line = lines[place]
        if line.startswith(">>> "):
            end = next((i for i in range(place, len(lines)) if not lines[i].strip()), len(lines))
            yield from ("```pycon", *lines[place:end], "```", "")
            place = end
        elif SECTION.match(line):
            end = next((i for i in range(place + 1, len(lines)) if lines[i].strip() and lines[i][0] != " "), len(lines))
            yield from _section(line.rstrip(":"), lines[place + 1 : end])
            place = end
        elif line.startswith("    "):
            end = next((i for i in range(place, len(lines)) if lines[i].strip() and lines[i][0] != " "), len(lines))
            yield from ("```text", *textwrap.dedent("\n".join(lines[place:end])).rstrip().splitlines(), "```", "")
            place = end
        else:
            yield plain(line)
            place += 1


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    """`Args:` and its like: a list of what is named there, or a paragraph."""
    entries: list[str] = []
    for line in textwrap.dedent("\n".join(lines)).strip().splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += " " + line.strip()
        elif line.strip():
            entries.append(line.strip())
    yield from ("", f"*{title}*", "")
    named = [re.match(r"(\*{0,2}\w+(?: \([^)]*\))?): (.*)", entry) for entry in entries]
    if all(named):
        yield from (f"- `{found[1]}`: {plain(found[2])}" for found in named if found)
    else:
        yield plain(" ".join(entries))
    yield ""
