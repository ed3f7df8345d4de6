"""Sliders and fields of the page, made from the JSON Schema of a plan: what matters on top, everything else below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ....core.units import format_count, parse_count
from ....datasets.facts.accelerators import catalogue
from ...config.run_config import RunConfig
from .stated import SIZE, Stated

__all__ = ["Control", "Group", "controls", "notes"]

_MAIN = (
    ("Model and data", (SIZE, "data.tokens", "optim.batch_tokens")),
    ("Machines", ("hardware.accelerator", "hardware.count", "hardware.price_usd_per_hour")),
    ("Targets", ("targets.perplexity", "targets.deadline", "targets.budget_usd")),
)
_LABELS = {
    SIZE: "Model size",
    "data.tokens": "Training tokens",
    "optim.batch_tokens": "Batch, tokens",
    "hardware.count": "Accelerators",
    "hardware.price_usd_per_hour": "Price per hour, USD",
    "targets.budget_usd": "Budget, USD",
}
"""Labels of fields whose key alone doesn't say enough."""
_SLIDES = {
    SIZE: 8.0,
    "data.tokens": 10.0,
    "optim.batch_tokens": 8.0,
    "hardware.count": 8.0,
    "hardware.price_usd_per_hour": 4.0,
}
"""Fields with a slider, and how many times less or more than the plan's it reaches."""
_MORE = ("model", "data", "optim", "hardware", "reliability", "prices", "energy")
"""Sections whose other simple fields stand below."""
_POSITIONS = 1000


@dataclass(frozen=True)
class Control:
    """One field of the plan."""

    key: str
    label: str
    help: str
    """The schema's description."""
    value: str
    """What is typed in it."""
    start: str
    """What the plan that the page starts from states; a field that says the same is no change."""
    choices: tuple[str, ...] = ()
    low: float | None = None
    """Ends of its slider, None for a field without one."""
    high: float | None = None
    position: int = 0
    """Where the slider stands, of 1000 steps on a logarithmic scale."""
    baseline: float | None = None
    """Where the baseline's value lies, percent of the slider."""


@dataclass(frozen=True)
class Group:
    """Fields under one heading."""

    title: str
    controls: tuple[Control, ...]


def controls(own: Stated, config: RunConfig, start: RunConfig, baseline: RunConfig) -> tuple[tuple[Group, ...], Group]:
    """The fields that matter, in groups, and all other simple fields of the schema.

    Args:
        own: The plan as the page states it.
        config: The same, checked.
        start: The plan without its changes.
        baseline: The baseline.
    """
    fields = _fields()
    main = tuple(
        Group(title, tuple(_control(key, fields[key], own, config, start, baseline) for key in keys))
        for title, keys in _MAIN
    )
    shown = {key for _, keys in _MAIN for key in keys}
    more = [
        _control(key, schema, own, config, start, baseline)
        for key, schema in fields.items()
        if key not in shown and key.split(".")[0] in _MORE
    ]
    return main, Group("Everything else", tuple(more))


def notes(config: RunConfig, base: Stated, baseline: RunConfig) -> dict[str, str]:
    """What stands under fields: the baseline's value, and what the plan's comes to."""
    found = {}
    stated = base.mapping()
    for key in _SLIDES:
        theirs = _stated_text(stated, baseline, key)
        found[key] = f"baseline {theirs}" if theirs else "not stated in the baseline"
    shape = config.model.architecture
    if shape is not None:
        found[SIZE] += f" · {shape.layers} layers × {shape.width}"
    if config.data.epochs > 1.005:
        found["data.tokens"] += f" · {config.data.epochs:.2g} epochs"
    return found


def _control(
    key: str, schema: Mapping[str, Any], own: Stated, config: RunConfig, start: RunConfig, baseline: RunConfig
) -> Control:
    first = _stated_text(own.plan, start, key)
    value = own.changes.get(key, first)
    low = high = place = None
    position = 0
    if key in _SLIDES:
        numbers = [number for one in (start, baseline, config) if (number := _number(one, key))]
        if numbers:
            reach = _SLIDES[key]
            low, high = _two_digits(min(numbers) / reach), _two_digits(max(numbers) * reach)
            low = max(low, 1.0) if key == "hardware.count" else low
            here, theirs = _number(config, key), _number(baseline, key)
            position = 0 if here is None else round(_POSITIONS * _share(here, low, high))
            place = None if theirs is None else 100.0 * _share(theirs, low, high)
    choices = tuple(catalogue()) if key == "hardware.accelerator" else _choices(schema)
    if choices and value not in ("", *choices):
        choices = (value, *choices)
    return Control(
        key,
        _LABELS.get(key, _label(key)),
        str(schema.get("description", "")),
        value,
        first,
        choices,
        low,
        high,
        position,
        place,
    )


def _label(key: str) -> str:
    """A key as words: `warmup steps` of optim.warmup_steps."""
    *_, last = key.split(".")
    text = last.replace("_", " ")
    return text[0].upper() + text[1:]


def _share(value: float, low: float, high: float) -> float:
    import math

    return min(max(math.log(value / low) / math.log(high / low), 0.0), 1.0) if high > low else 0.5


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _at(config: RunConfig, key: str) -> Any:
    """What a plan holds under a key, defaults included; None where a section isn't there."""
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part, None)
    return found


def _number(config: RunConfig, key: str) -> float | None:
    value = config.model.params_total if key == SIZE else _at(config, key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def _stated_text(stated: Mapping[str, Any], config: RunConfig, key: str) -> str:
    """A value as the plan states it, nothing where it states none."""
    if key == SIZE:
        return format_count(config.model.params_total)
    value: Any = stated
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None or isinstance(value, Mapping | list):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        whole = value >= 1e4 and parse_count(format_count(value)) == value
        return _without_zeros(format_count(value)) if whole else f"{value:g}"
    return str(value)


def _without_zeros(count: str) -> str:
    """`2T` of `2.00T`."""
    number, suffix = count[:-1], count[-1]
    return (number.rstrip("0").rstrip(".") if "." in number else number) + suffix


def _choices(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The values that a field takes, where they are few and named."""
    options = [schema, *schema.get("anyOf", ())]
    return tuple(str(value) for option in options for value in option.get("enum", ()) if value is not None)


@cache
def _fields() -> dict[str, Mapping[str, Any]]:
    """Every field of a plan that takes one number or one word, by its key."""
    schema = RunConfig.json_schema()
    found: dict[str, Mapping[str, Any]] = {}
    for section, described in schema["properties"].items():
        inner = _resolved(described, schema)
        for name, field in inner.get("properties", {}).items():
            plain = _plain(field, schema)
            if plain is not None:
                found[f"{section}.{name}"] = plain
    return found


def _resolved(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    return whole["$defs"][schema["$ref"].rsplit("/", 1)[-1]]


_PLAIN_TYPES = ("number", "integer", "string", "boolean")


def _plain(field: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A field's schema if a single number or word will do, with the values of what it refers to; else None."""
    options = [_resolved(option, whole) for option in field.get("anyOf", [field])]
    plain = [
        one for one in options if one.get("type") in _PLAIN_TYPES or "enum" in one or "const" in one or "anyOf" in one
    ]
    return {**field, "anyOf": plain} if plain else None
