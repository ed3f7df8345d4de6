"""The page's state is its address: which plan it starts from, what was changed, and the same of the baseline.

`?from=llama-7b&data.tokens=1T&base.from=llama-7b` is the example on 1T tokens against itself as it is. `plan` holds a
plan of one's own as JSON instead of `from`. So a link shares all there is, and a form without a script makes one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from ....core.errors import ConfigError, InputError
from ....core.model.shape_family import family_shape
from ....core.units import parse_count, shown
from ...config.run_config import RunConfig, apply_overrides
from ..api.facts import examples
from ..api.requests import read_plan
from ..reading import read_json

__all__ = ["BASE", "SIZE", "Asked", "Stated"]

BASE = "base."
"""What a key of the address begins with that is about the baseline."""
SIZE = "model.params"
"""The size, which is no plain override where the plan states a shape: it then scales the shape within its family."""

_STAGED = ("data", "optim")
_SCALED = (
    ("data", "tokens", ("tokens", "start", "warmup_tokens")),
    ("optim", "batch_tokens", ("batch_tokens", "batch_tokens_final")),
)
"""Numbers of the whole run, and those of its stages that go with them."""
_FIRST = "llama-7b"
_MOST_KEYS = 120
_MOST_QUERY = 100_000  # characters
_MOST_VALUE = 400  # characters of one change


@dataclass(frozen=True)
class Stated:
    """One plan as the page states it."""

    origin: str
    """Name of the example that it starts from; nothing for a plan of one's own."""
    plan: Mapping[str, Any]
    """That plan, as a YAML file states it."""
    changes: Mapping[str, str] = field(default_factory=dict)
    """What was changed, by key: text as one types it; nothing takes what the plan states away."""

    def mapping(self) -> dict[str, Any]:
        """The plan with its changes, as a YAML file would state it.

        Raises:
            ConfigError: A change can't be read.
            InputError: No shape of the family has the size.
        """
        found = json.loads(json.dumps(dict(self.plan), default=str))
        plain = {key: text for key, text in self.changes.items() if key != SIZE}
        for key in [key for key, text in plain.items() if not text.strip()]:
            _taken_away(found, key.split("."))
        found = apply_overrides(found, [f"{key}={_quoted(text)}" for key, text in plain.items() if text.strip()])
        _restage(found, self.plan)
        size = self.changes.get(SIZE, "").strip()
        return _sized(found, size) if size else found

    def config(self) -> RunConfig:
        """The checked plan. Raises ConfigError and InputError for what is wrong with it."""
        return read_plan(self.mapping())

    def start(self) -> RunConfig:
        """The checked plan without its changes."""
        return read_plan(self.plan)

    def pairs(self, prefix: str = "") -> list[tuple[str, str]]:
        """Keys and values of the address."""
        first = ("from", self.origin) if self.origin else ("plan", json.dumps(dict(self.plan), default=str))
        return [(prefix + key, text) for key, text in (first, *self.changes.items())]


@dataclass(frozen=True)
class Asked:
    """What the page shows: a plan and the baseline that it is held against."""

    own: Stated
    base: Stated

    @classmethod
    def of(cls, query: str) -> Self:
        """Read an address; without anything, an example against itself.

        Raises:
            InputError: A key twice, an unknown example, a plan that is no JSON, or too much of anything.
        """
        if len(query) > _MOST_QUERY:
            raise InputError(f"address: got {len(query):,} characters; expected at most {_MOST_QUERY:,}")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_KEYS, errors="strict")
        except ValueError:
            raise InputError(f"address: expected at most {_MOST_KEYS} keys, in UTF-8") from None
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise InputError(f"address: {shown(twice)} is given twice; expected each key once")
        own = {key: text for key, text in pairs if not key.startswith(BASE)}
        base = {key.removeprefix(BASE): text for key, text in pairs if key.startswith(BASE)}
        stated = _stated(own)
        if not base:
            return cls(stated, Stated(stated.origin, stated.plan))
        return cls(stated, _stated(base))

    def query(self) -> str:
        """The address again."""
        return urlencode([*self.own.pairs(), *self.base.pairs(BASE)])


def _stated(keys: Mapping[str, str]) -> Stated:
    changes = {key: text for key, text in keys.items() if key not in ("from", "plan")}
    for key, text in changes.items():
        if len(text) > _MOST_VALUE:
            raise InputError(f"{shown(key)}: got {len(text)} characters; expected at most {_MOST_VALUE}")
    if "plan" in keys:
        plan = read_json(keys["plan"].encode("utf-8", "surrogatepass"))
        if not isinstance(plan, Mapping):
            raise InputError(f"plan: got {shown(plan)}; expected a mapping, as a YAML file states a plan")
        return Stated("", dict(plan), changes)
    name = keys.get("from", _FIRST)
    known = {one["name"]: one["plan"] for one in examples()}
    if name not in known:
        raise InputError(f"from: got {shown(name)}; expected one of {', '.join(known)}")
    return Stated(name, known[name], changes)


def _taken_away(found: dict[str, Any], path: Sequence[str]) -> None:
    """Leave out what a key states, if it states anything."""
    for part in path[:-1]:
        section = found.get(part)
        if not isinstance(section, dict):
            return
        found = section
    found.pop(path[-1], None)


def _quoted(text: str) -> str:
    """A change as YAML: plain where it is a plain word or number, a string where YAML would read more into it."""
    text = text.strip()
    return (
        text if text and text[0] not in "{[&*!|>%@`\"'#" and ": " not in text and " #" not in text else json.dumps(text)
    )


def _restage(found: dict[str, Any], plan: Mapping[str, Any]) -> None:
    """Stages keep their proportions where the run's tokens or its batch were changed; else they wouldn't add up."""
    for section, key, of_stages in _SCALED:
        before, after = (_count_at(one, section, key) for one in (plan, found))
        if before is None or after is None or before == after:
            continue
        for name in _STAGED:
            stages = (found.get(name) or {}).get("stages")
            for stage in stages if isinstance(stages, list) else []:
                for of_stage in of_stages:
                    own = _count(stage.get(of_stage)) if isinstance(stage, dict) else None
                    if own is not None and own > 1.0:  # up to 1 it is a share of the run, which stays
                        stage[of_stage] = own * (after / before)


def _count_at(plan: Mapping[str, Any], section: str, key: str) -> float | None:
    inner = plan.get(section)
    return _count(inner.get(key)) if isinstance(inner, Mapping) else None


def _count(value: Any) -> float | None:
    """A number of tokens; None for what is none, such as a share or what checking will refuse."""
    try:
        return None if value is None else parse_count(value)
    except ConfigError:
        return None


def _sized(found: dict[str, Any], size: str) -> dict[str, Any]:
    """The plan with a model of about so many parameters: a shape of the same family where it states a shape."""
    try:
        params = parse_count(size)
    except ConfigError as error:
        raise ConfigError(f"plan: {SIZE}: {error}") from None
    model = dict(found.get("model") or {})
    if model.get("architecture") is None:
        return found | {"model": model | {"params": params}}
    base = read_plan(found).model.architecture
    if base is None:
        return found | {"model": model | {"params": params}}
    shape = family_shape(base, params)
    model.pop("params", None)
    model.pop("params_active", None)
    return found | {
        "model": model | {"architecture": shape.model_dump(mode="json", exclude_none=True, exclude_defaults=True)}
    }
