"""A member of a registry with its settings, as a configuration states it: `name`, or `{name: {setting: value}}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from ..errors import ConfigError
from ..units import shown
from .config_messages import first_problem
from .fields import FieldError, Frozen
from .suggest import did_you_mean, nearest

__all__ = ["member_schema", "read_member"]

M = TypeVar("M", bound=Frozen)

member_schema = {"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}
"""The JSON Schema of what `read_member` reads; which members there are depends on what is installed."""


def read_member(kind: type[M], known: Callable[[], Mapping[str, type[M]]], noun: str) -> Callable[[Any], M]:
    """Return a validator that reads one member of a registry.

    Args:
        kind: The class that members are of; one of them is returned as it is.
        known: The registry's members by name.
        noun: What a member is called in messages, such as `step`.
    """

    def read(value: Any) -> M:
        if isinstance(value, kind):
            return value
        if isinstance(value, str):
            value = {value: None}
        members = known()
        if not isinstance(value, Mapping) or len(value) != 1:
            listed = ", ".join(sorted(members))
            raise ConfigError(
                f"got {shown(value)}; expected the name of one {noun}, or one name and its settings; known are {listed}"
            )
        ((name, settings),) = value.items()
        if name not in members:
            meant = did_you_mean(nearest(name, members)) if isinstance(name, str) else ""
            listed = ", ".join(sorted(members))
            raise ConfigError(f"got {shown(name)}; no such {noun} is installed; {meant}expected one of {listed}")
        try:
            return members[name].model_validate({} if settings is None else settings)
        except ValidationError as error:
            problem = first_problem(error, members[name], str(name))
            raise FieldError(problem.key, problem.message + _whose(problem, members, noun)) from None

    return read


def _whose(problem: FieldError, members: Mapping[str, type[M]], noun: str) -> str:
    """Which members have the key that one of them doesn't know; nothing for any other problem."""
    name, _, key = problem.key.partition(".")
    having = [other for other, cls in members.items() if other != name and key in cls.model_fields]
    known = key in members[name].model_fields
    return (
        f" ({noun} {' and '.join(sorted(having))} {'has' if len(having) == 1 else 'have'} it)"
        if having and not known
        else ""
    )
