"""Everything that a plan may state: path, type, unit, default and meaning, from its JSON Schema and the columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ....core.reading.fields import DAY_PATTERN
from ....core.units import COUNT_PATTERN, DURATION_PATTERN, SHARE_PATTERN
from ....datasets.runs.columns import columns
from ..column_values import stated_columns
from ..run_config import RunConfig

__all__ = ["PlanField", "plan_fields"]

_DEFAULT = re.compile(r"\s*\(default: ((?:[^()]|\([^()]*\))+)\)")
_PATTERNS = {SHARE_PATTERN: "share", DURATION_PATTERN: "duration", DAY_PATTERN: "date"}
# What names end in, for fields that are no column of run tables; those first that end in others.
_UNITS = (
    ("usd_per_hour", "USD per accelerator-hour"),
    ("usd_per_gib_month", "USD per GiB and month"),
    ("usd_per_kwh", "USD per kWh"),
    ("g_co2e_per_kwh", "g CO2e per kWh"),
    ("per_device_hour", "per accelerator-hour"),
    ("w_per_accelerator", "W"),
    ("bytes_per_token", "bytes"),
    ("_usd", "USD"),
    ("_nats", "nats per token"),
    ("_gib", "GiB"),
    ("gbps", "Gbit/s"),
    ("tokens", "tokens"),
    ("tokens_by_domain", "tokens"),
    ("warmup_steps", "steps"),
    ("vocab_size", "tokens"),
    ("context_length", "tokens"),
    ("params", "parameters"),
)


@dataclass(frozen=True)
class PlanField:
    """One thing that a plan may state."""

    path: str
    """Where it stands, such as `data.tokens`."""
    type: str
    """What its values are: count, share, duration, one of …"""
    unit: str
    """Its unit; empty where it has none, or its values state it."""
    default: str
    """What counts where it isn't stated; empty for nothing."""
    required: bool
    """Whether a plan can't do without."""
    description: str
    """What it means."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def plan_fields() -> tuple[PlanField, ...]:
    """Everything that a plan may state, in the order of its sections.

    >>> next(field for field in plan_fields() if field.path == "data.tokens").unit
    'tokens'
    """
    schema = RunConfig.json_schema()
    units = {one.place: one.unit for one in columns().values() if one.place is not None}
    fields = [one for one in _of(schema, schema["$defs"], "", units) if one.path != "columns"]
    for name, column in stated_columns().items():
        kind = "text" if column.is_text else "number"
        default = "" if column.default is None else str(column.default)
        fields.append(PlanField(f"columns.{name}", kind, column.unit, default, False, column.meaning))
    return tuple(fields)


def _of(
    schema: Mapping[str, Any], parts: Mapping[str, Any], prefix: str, units: Mapping[str, str]
) -> Iterator[PlanField]:
    """The fields of a section, those of sections in it among them."""
    required = schema.get("required", ())
    for key, entry in schema["properties"].items():
        path = prefix + key
        inner = _section(entry)
        if inner is not None:
            yield from _of(parts[inner], parts, f"{path}.", units)
        elif not entry.get("deprecated"):
            text = entry.get("description", "")
            stated, usual = entry.get("default"), _DEFAULT.search(text)
            default = usual[1] if usual else "" if stated in (None, {}, []) else _plain(stated)
            unit = units.get(path) or next((unit for end, unit in _UNITS if path.endswith(end)), "")
            kind = ", or ".join(dict.fromkeys(_kinds(entry)))
            yield PlanField(path, kind, unit, default, key in required, _DEFAULT.sub("", text))


def _section(entry: Mapping[str, Any]) -> str | None:
    """The section that an entry is, or may be where it isn't null; None for any other."""
    choices = [one for one in entry.get("anyOf", [entry]) if one.get("type") != "null"]
    if len(choices) != 1 or "$ref" not in choices[0]:
        return None
    return choices[0]["$ref"].rpartition("/")[2]


def _kinds(entry: Mapping[str, Any]) -> Iterator[str]:
    """What values may be, in a word each."""
    choices = entry.get("anyOf") or entry.get("oneOf")
    if choices and entry.get("type") != "string":
        patterns = [one.get("pattern") for one in choices]
        if COUNT_PATTERN in patterns:  # beside a number with bounds
            yield "whole number" if any(one.get("type") == "integer" for one in choices) else "count"
        elif SHARE_PATTERN in patterns:
            yield "share"
        else:
            for one in choices:
                yield from _kinds(one)
    elif "$ref" in entry or (entry.get("type") == "object" and "additionalProperties" not in entry):
        yield "mapping"
    elif entry.get("type") == "object":
        inner = entry["additionalProperties"]
        yield f"mapping to {next(_kinds(inner), 'values')}" if isinstance(inner, Mapping) else "mapping"
    elif "enum" in entry or "const" in entry:
        yield f"one of {', '.join(map(str, entry.get('enum', [entry.get('const')])))}"
    elif entry.get("type") == "array":
        yield f"list of {next(_kinds(entry['items']), 'values')}"
    elif entry.get("type") == "string":
        for one in choices or [entry]:
            yield _PATTERNS.get(one.get("pattern", ""), "text")
    elif entry.get("type") != "null":
        yield {"number": "number", "integer": "whole number", "boolean": "true or false"}.get(entry["type"], "text")


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
