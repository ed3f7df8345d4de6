"""YAML as configurations need it: the YAML 1.2 core types, and nothing that surprises or explodes.

Compared with plain PyYAML: `6e11` and `1e-4` are numbers; `no`, `on`, `10:30`, `0x1f`, `1_000` and dates are text;
keys are always text; duplicate keys, aliases, tags, several documents and numbers beyond the range of a float are
errors; size, depth and number of nodes are bounded. JSON is read too, as the subset of YAML that it is.

Every problem is a `ConfigError` whose message starts with ``file:line``.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ..errors import ConfigError
from ..files import read_bounded_text
from ..units import shown

__all__ = ["YamlDocument", "dumps_yaml", "load_document", "load_yaml", "loads_document", "loads_value", "loads_yaml"]

# A run configuration has some hundred values; these bounds are far from any honest file and keep hostile ones cheap.
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 50
_MAX_NODES = 10_000
_MAX_NUMBER_CHARACTERS = 400

_INT_TAG, _FLOAT_TAG = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_BOOL_TAG, _NULL_TAG = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"
_TEXT_TAG = "tag:yaml.org,2002:str"
# YAML 1.2.2, section 10.3.2 (core schema), without its hexadecimal and octal integers.
_RESOLVERS = (
    (_NULL_TAG, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL_TAG, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT_TAG, r"[-+]?[0-9]+", list("-+0123456789")),
    (_FLOAT_TAG, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    (_FLOAT_TAG, r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
)


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A mapping read from YAML, and where its parts stand.

    `lines` gives the line (from 1) of each key by its path, for example ``("data", "tokens")``; entries of a list
    have their index as text. `where` is the file, or what stands for it, in messages.
    """

    mapping: dict[str, Any]
    lines: dict[tuple[str, ...], int]
    where: str


def load_document(path: str | os.PathLike[str]) -> YamlDocument:
    """Read a YAML or JSON file of at most 1 MB whose root is a mapping, with line numbers. Raises `ConfigError`.

    `-` is the standard input, which can be read once.
    """
    if os.fspath(path) == "-":
        return loads_document(_standard_input(), "standard input")
    return loads_document(read_bounded_text(path, _MAX_BYTES, ConfigError), os.fspath(path))


def load_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML or JSON file of at most 1 MB whose root is a mapping. Raises `ConfigError`."""
    return load_document(path).mapping


def loads_yaml(text: str, where: str = "YAML text") -> dict[str, Any]:
    """Read YAML text whose root is a mapping; `where` stands for the file in messages. Raises `ConfigError`.

    >>> loads_yaml("tokens: 6e11\\nnight: no")
    {'tokens': 600000000000.0, 'night': 'no'}
    """
    return loads_document(text, where).mapping


def loads_document(text: str, where: str = "YAML text") -> YamlDocument:
    """Read YAML text whose root is a mapping, with line numbers. Raises `ConfigError`."""
    root = _compose(text, where)
    if root is None:
        raise ConfigError(f"{where}: is empty; expected settings such as 'data: {{tokens: 2T}}'")
    if not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1
        raise ConfigError(f"{where}:{line}: expected settings ('key: value') at the top, not a list or a single value")
    builder = _Builder(where)
    return YamlDocument(builder.mapping(root, ()), builder.lines, where)


def loads_value(text: str, where: str = "value") -> Any:
    """Read one YAML value of any kind, as `--set key=value` gives it. Raises `ConfigError`.

    >>> loads_value("[1, no, 2e3]")
    [1, 'no', 2000.0]
    """
    root = _compose(text, where)
    return None if root is None else _Builder(where).value(root, ())


def dumps_yaml(mapping: Mapping[str, Any]) -> str:
    """Plain values as YAML that `loads_yaml` reads as the same ones, in their order.

    >>> print(dumps_yaml({"name": "1e3", "tokens": 6e11, "night": "no"}), end="")
    name: '1e3'
    tokens: 600000000000.0
    night: 'no'
    """
    return yaml.dump(dict(mapping), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _standard_input() -> str:
    """What is piped in, of at most 1 MB. Raises `ConfigError`."""
    try:
        data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ConfigError(f"standard input: is larger than {_MAX_BYTES} bytes; expected at most that")
        return data.decode("utf-8-sig")
    except (OSError, ValueError, AttributeError) as cause:
        if isinstance(cause, ConfigError):
            raise
        raise ConfigError("standard input: isn't UTF-8 text, or can't be read; expected YAML or JSON") from cause


class _Loader(yaml.SafeLoader):
    """The pure-Python SafeLoader, stopped at the first sign of an unreasonable or ambiguous document."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way to say it; filled below, once, at import

    def __init__(self, text: str, where: str) -> None:
        self.where, self.depth, self.nodes = where, 0, 0
        super().__init__(text)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        self.nodes += 1
        self.depth += 1
        self._refuse(isinstance(event, yaml.AliasEvent), event, "aliases (*name) aren't accepted; repeat the value")
        tag = getattr(event, "tag", None)
        self._refuse(tag is not None, event, f"tags aren't accepted, got {shown(tag)}; quote what should be text")
        self._refuse(self.depth > _MAX_DEPTH, event, f"nested deeper than {_MAX_DEPTH} levels")
        self._refuse(self.nodes > _MAX_NODES, event, f"more than {_MAX_NODES} values; expected a run configuration")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, refused: bool, event: yaml.Event, why: str) -> None:
        """Raise `ConfigError` at the event's line if `refused`."""
        if refused:
            raise ConfigError(f"{self.where}:{event.start_mark.line + 1}: {why}")


class _Dumper(yaml.SafeDumper):
    """Quotes texts that this reader, or one of YAML 1.1, would take for something else; repeats what is met twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # PyYAML folds these like line ends, but for double quotes, in which it escapes them
        return self.represent_scalar(_TEXT_TAG, data, style='"' if set(data) & set("\x85\u2028\u2029") else None)


_Dumper.add_representer(str, _Dumper.represent_str)

for _tag, _pattern, _first in _RESOLVERS:
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


class _Builder:
    """Turns nodes into plain values, and notes the line of every key."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.lines: dict[tuple[str, ...], int] = {}

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        """Return the plain value of `node`, which stands at `path`."""
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.entry(item, (*path, str(index))) for index, item in enumerate(node.value)]
        return self.scalar(node)

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        """Return the mapping of `node`; keys are the text as written."""
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.problem(key_node, "a key is a list or a mapping; expected text")
            key = self.text(key_node)
            if key in result:
                first = self.lines[(*path, key)]
                raise self.problem(key_node, f"{shown(key)} is given twice, first in line {first}; remove one")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.value(value_node, (*path, key))
        return result

    def entry(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        """Return the value of a list entry, and note its line."""
        self.lines[path] = node.start_mark.line + 1
        return self.value(node, path)

    def scalar(self, node: yaml.Node) -> Any:
        """Return None, a boolean, a finite number or text."""
        if node.tag == _NULL_TAG:
            return None
        if node.tag == _BOOL_TAG:
            return node.value.lower() == "true"
        if node.tag in (_INT_TAG, _FLOAT_TAG):
            return self.number(node)
        return self.text(node)

    def number(self, node: yaml.Node) -> int | float:
        """Return a number that a float can hold."""
        text = node.value
        # Reading a decimal integer takes time quadratic in its length, hence the check before.
        number = math.nan if len(text) > _MAX_NUMBER_CHARACTERS or text[-1] in "fFnN" else float(text)
        if not math.isfinite(number):
            raise self.problem(node, f"got {shown(text)}; expected a finite number below 1e308")
        return int(text) if node.tag == _INT_TAG else number

    def text(self, node: yaml.Node) -> str:
        """Return the text of a scalar; JSON's pairs of surrogate escapes become the one character that they mean."""
        try:
            return node.value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self.problem(node, "an escape isn't a character (half of a surrogate pair)") from None

    def problem(self, node: yaml.Node, what: str) -> ConfigError:
        """Return the error that says what is wrong at `node`."""
        return ConfigError(f"{self.where}:{node.start_mark.line + 1}: {what}")


def _compose(text: str, where: str) -> yaml.Node | None:
    """Return the root node of the one document in `text`, or None if it holds nothing."""
    if len(text) > _MAX_BYTES:
        raise ConfigError(f"{where}: is larger than {_MAX_BYTES} characters; expected at most that")
    try:
        return _Loader(text, where).get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{where}:{line}: a control character isn't accepted; is this a text file?") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}" if mark else where
        raise ConfigError(f"{place}: {_in_plain_words(error)}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, AttributeError, IndexError) as error:
        if isinstance(error, ConfigError):
            raise
        # PyYAML lets some errors of its own slip, for example for an escape beyond Unicode.
        raise ConfigError(f"{where}: isn't valid YAML: {error}") from error


def _in_plain_words(error: yaml.MarkedYAMLError) -> str:
    """Return what a PyYAML error means to the author of the file."""
    problem = error.problem or "isn't valid YAML"
    if "'\\t'" in problem:
        return "a tab can't be used here; indent with spaces"
    if "expected a single document" in (error.context or ""):
        return "a second document starts here ('---'); expected one"
    return f"isn't valid YAML: {problem}" + (f" ({error.context})" if error.context else "")
