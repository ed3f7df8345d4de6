"""What pydantic found wrong with a configuration, in the words of its author: where, which value, what instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..output.plain import is_plain
from ..units import shown
from .fields import FieldError
from .suggest import nearest

__all__ = ["Origins", "description", "explain", "first_problem", "is_list", "known_keys", "suggestion"]

_MAX_LISTED = 12
_MAX_PROBLEMS = 20
# Where pydantic names the key of a mapping, or the member of a union, which no author wrote.
_UNWRITTEN = ("[key]", "[name]", "[number]", "[mapping]")

_SAME = {"min_lr": "lr_final", "lr_min": "lr_final", "learning_rate": "lr", "loss": "loss_nats"}
"""Names that trainers give to keys of ours, which no likeness would find."""

_EXPECTED = {
    "string_type": "text (in quotes if it looks like a number)",
    "string_too_short": "text that isn't empty",
    "string_too_long": "text of at most {max_length} characters",
    "too_short": "a length of at least {min_length}",
    "too_long": "a length of at most {max_length}",
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
    "tuple_type": "a list",
    "multiple_of": "a multiple of {multiple_of:g}",
    "dict_type": "a mapping ('key: value')",
    "model_type": "a section ('key: value')",
    "model_attributes_type": "a section ('key: value')",
    "invalid_key": "a key that is text",
}


@dataclass(frozen=True, slots=True)
class Origins:
    """Where the parts of a configuration come from: a file with the lines of its keys, and overrides by path."""

    where: str
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    overridden: Mapping[tuple[str, ...], str] = field(default_factory=dict)

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


def explain(error: ValidationError, root: type[BaseModel], origins: Origins, within: tuple[str, ...] = ()) -> str:
    """Return one line per problem: ``place: key: got value; expected …``, in the order of the file.

    `within` is the path in the file at which `root` was read, where that isn't the whole of it.

    >>> from foretrain.simulator.config.run_config import RunConfig
    >>> try:
    ...     RunConfig.model_validate({"model": {"params": -7}, "data": {"tokens": 1e9}})
    ... except ValidationError as error:
    ...     print(explain(error, RunConfig, Origins("run.yaml", {("model", "params"): 3})))
    run.yaml:3: model.params: got -7; expected a number that isn't negative, such as 7e9, 300k, 7B or 1.4T (k, M, B, T)
    """
    found = error.errors(include_url=False)
    lines = [_line(problem, root, origins, within) for problem in found[:_MAX_PROBLEMS]]
    if len(found) > _MAX_PROBLEMS:
        lines.append(f"… and {len(found) - _MAX_PROBLEMS} more problems")
    return "\n".join(lines)


def first_problem(error: ValidationError, root: type[BaseModel], within: str) -> FieldError:
    """Return the first problem of a section that a registry's member reads, for the section around it to report.

    `within` is the key of the member's section in the one around it.
    """
    problem = error.errors(include_url=False)[0]
    path, message = _path_and_message(problem, root)
    return FieldError(".".join((within, *path)), message)


def known_keys(root: type[BaseModel], path: tuple[str, ...] = ()) -> list[str] | None:
    """Return the keys that a configuration accepts at `path`, or None where any is accepted or none at all.

    >>> from foretrain.simulator.config.run_config import TargetConfig
    >>> known_keys(TargetConfig)
    ['perplexity', 'loss_nats', 'deadline', 'budget_usd']
    """
    section = _section_at(root, path)
    return None if section is None else [field.alias or name for name, field in section.model_fields.items()]


def description(root: type[BaseModel], path: tuple[str, ...]) -> str | None:
    """Return what the key at `path` means, or None if there is no such key or no more to say."""
    section = _section_at(root, path[:-1])
    fields = section.model_fields.items() if section is not None else ()
    return next((field.description for name, field in fields if (field.alias or name) == path[-1]), None)


def suggestion(root: type[BaseModel], path: tuple[str, ...]) -> str:
    """Return what the author of an unknown key at `path` may have meant, or the keys that are accepted there."""
    *parents, key = path
    siblings = known_keys(root, tuple(parents)) or []
    prefix = "".join(f"{parent}." for parent in parents)
    section = _section_at(root, tuple(parents))
    if (known := getattr(section, "unknown_key", None)) is not None and (hint := known(key)) is not None:
        return hint
    if not siblings:
        return "expected none here"
    close = [_SAME[key]] if _SAME.get(key) in siblings else nearest(key, siblings)
    # A right key in the wrong section is as common as a misspelt one.
    elsewhere = [known for known in _all_paths(root) if known.split(".")[-1] == key]
    if close or elsewhere:
        return f"did you mean {prefix + close[0] if close else ' or '.join(elsewhere[:2])}?"
    listed = ", ".join(siblings[:_MAX_LISTED]) + (", …" if len(siblings) > _MAX_LISTED else "")
    return f"expected one of {listed}"


def _line(problem: Any, root: type[BaseModel], origins: Origins, within: tuple[str, ...]) -> str:
    """Return one problem as one line."""
    path, message = _path_and_message(problem, root)
    path = (*within, *path)
    key = ".".join(part if is_plain(part) and len(part) <= 60 else shown(part) for part in path)
    return ": ".join(part for part in (origins.of(path), key, message) if part)


def _path_and_message(problem: Any, root: type[BaseModel]) -> tuple[tuple[str, ...], str]:
    """Return where a problem is, and what it is."""
    path = tuple(str(part) for part in problem["loc"] if part not in _UNWRITTEN)
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, FieldError):
        return (*path, *cause.key.split(".")), cause.message
    if isinstance(cause, ValueError):
        return path, str(cause)
    return path, _message(problem, path, root)


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


def _section_at(root: type[BaseModel], path: tuple[str, ...]) -> type[BaseModel] | None:
    """Return the model that describes `path`, or None if no model does."""
    section: type[BaseModel] | None = root
    named = False
    for part in path:
        if named:
            # A key that the author chose, such as the name of a domain.
            named = False
        elif section is not None:
            named = part in _named_sections(section)
            section = dict(_subsections(section)).get(part)
    return None if named else section


def _subsections(section: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield key and model of each field that is a section itself, optional or not, or a mapping of sections."""
    for name, entry in section.model_fields.items():
        for kind in _members(entry.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield entry.alias or name, kind


def _members(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and what it is made of: members of a union, values of a mapping."""
    yield annotation
    for inner in get_args(annotation):
        yield from _members(inner)


def _named_sections(section: type[BaseModel]) -> set[str]:
    """Return the keys of the fields that are mappings or lists of sections: the author's own keys, or numbers."""
    fields = section.model_fields.items()
    return {field.alias or name for name, field in fields if get_origin(field.annotation) in (dict, tuple)}


def is_list(root: type[BaseModel], path: tuple[str, ...]) -> bool:
    """Return whether what stands at `path` is a list of sections, such as the stages of a run."""
    section = _section_at(root, path[:-1])
    fields = section.model_fields.items() if section is not None else ()
    found = next((field for name, field in fields if (field.alias or name) == path[-1]), None)
    return (
        found is not None and get_origin(found.annotation) is tuple and path[-1] in dict(_subsections(section or root))
    )


def _all_paths(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every key, sections before what is in them."""
    inner, named = dict(_subsections(section)), _named_sections(section)
    for key in known_keys(section) or []:
        yield prefix + key
        if key in inner and not is_list(section, (key,)):
            yield from _all_paths(inner[key], f"{prefix}{key}.<name>." if key in named else f"{prefix}{key}.")
