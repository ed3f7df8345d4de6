"""What pydantic found wrong with a configuration, in the words of its author: where, which value, what instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from ..fields import FieldError
from ..units import shown
from .config_overrides import description, suggestion

__all__ = ["Origins", "explain"]

_MAX_PROBLEMS = 20

_EXPECTED = {
    "string_type": "text (in quotes if it looks like a number)",
    "string_too_short": "text that isn't empty",
    "string_too_long": "text of at most {max_length} characters",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "literal_error": "one of {expected}",
    "dict_type": "a mapping ('key: value')",
    "model_type": "a section ('key: value')",
    "model_attributes_type": "a section ('key: value')",
    "invalid_key": "a key that is text",
}


@dataclass(frozen=True, slots=True)
class Origins:
    """Where the parts of a configuration come from: a file with the lines of its keys, and overrides by path."""

    where: str
    lines: Mapping[tuple[str, ...], int]
    overridden: Mapping[tuple[str, ...], str]

    def of(self, path: tuple[str, ...]) -> str:
        """Return the place where `path`, or the nearest section around it, was set."""
        prefixes = [path[:length] for length in range(len(path), 0, -1)]
        # An override of a whole section also replaces what the file says within it, hence first.
        for prefix in prefixes:
            if prefix in self.overridden:
                return self.overridden[prefix]
        # A key can be missing from a section that only overrides have made.
        if path[:-1] and path[:-1] not in self.lines:
            for overridden, text in self.overridden.items():
                if overridden[: len(path) - 1] == path[:-1]:
                    return text
        for prefix in prefixes:
            if prefix in self.lines:
                return f"{self.where}:{self.lines[prefix]}"
        return self.where


def explain(error: ValidationError, root: type[BaseModel], origins: Origins) -> str:
    """Return one line per problem: ``place: key: got value; expected …``, in the order of the file.

    >>> from foretrain.simulator.config import RunConfig
    >>> try:
    ...     RunConfig.model_validate({"model": {"params": -7}, "data": {"tokens": 1}})
    ... except ValidationError as error:
    ...     print(explain(error, RunConfig, Origins("run.yaml", {("model", "params"): 3}, {})))
    run.yaml:3: model.params: got -7; expected a number that isn't negative, such as 7e9, 300k, 7B or 1.4T (k, M, B, T)
    """
    found = error.errors(include_url=False)
    lines = [_line(problem, root, origins) for problem in found[:_MAX_PROBLEMS]]
    if len(found) > _MAX_PROBLEMS:
        lines.append(f"… and {len(found) - _MAX_PROBLEMS} more problems")
    return "\n".join(lines)


def _line(problem: Any, root: type[BaseModel], origins: Origins) -> str:
    """Return one problem as one line."""
    path = tuple(str(part) for part in problem["loc"] if part != "[key]")
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, FieldError):
        path, message = (*path, *cause.key.split(".")), cause.message
    elif isinstance(cause, ValueError):
        message = str(cause)
    else:
        message = _message(problem, path, root)
    key = ".".join(part if part.isprintable() and len(part) <= 60 else shown(part) for part in path)
    return ": ".join(part for part in (origins.of(path), key, message) if part)


def _message(problem: Any, path: tuple[str, ...], root: type[BaseModel]) -> str:
    """Return what pydantic's own check found, in our words where we have them."""
    kind = problem["type"]
    if kind == "missing":
        what = description(root, path)
        return f"is missing ({what.rstrip('.')})" if what else "is missing"
    if kind == "extra_forbidden":
        return f"unknown key; {suggestion(root, path)}"
    expected = _EXPECTED.get(kind)
    if expected is None:
        return f"got {shown(problem['input'])}; {problem['msg']}"
    return f"got {shown(problem['input'])}; expected {expected.format(**problem.get('ctx', {}))}"
