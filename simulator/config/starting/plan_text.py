"""A plan as a file for people: the values, why they are there, and what else could be."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from ....core.reading.yaml_reader import dumps_yaml

__all__ = ["plan_text"]

_WIDTH = 110
_INDENT = "  "
_FILE = "run.yaml"

# Lines that a section could have beside what it states, by the key that makes them pointless.
_COULD = {
    "data": {
        "corpus": "corpus: fineweb          # naming the text narrows the forecast: simulate list corpora",
        "tokenizer": "tokenizer: llama2        # so does naming the tokenizer",
    },
    "optim": {
        "lr": "lr: 3e-4                 # learning rate and schedule, for laws that read them and for the loss curve",
        "schedule": "schedule: cosine",
    },
    "hardware": {
        "accelerator": "accelerator: H100-SXM-80 # for times, memory and cost: simulate list accelerators",
        "count": "count: 64",
        "price_usd_per_hour": "price_usd_per_hour: 2.5  # your own, per accelerator; or a published one: simulate list "
        "prices",
    },
    "targets": {
        "perplexity": "perplexity: 8",
        "deadline": "deadline: 30d",
        "budget_usd": "budget_usd: 500k",
    },
}


def plan_text(mapping: Mapping[str, Any], title: str, reasons: Mapping[str, str]) -> str:
    """A plan as YAML with comments, which reads back as the same plan.

    Args:
        mapping: The plan.
        title: What it is a plan of.
        reasons: Why something stands in it, by its path.
    """
    lines = [
        *_comment(f"{title}.", ""),
        f"#   simulate predict --config {_FILE}",
        "# Lines that are commented out are examples; simulate list fields shows everything that a plan may state.",
    ]
    for key, value in mapping.items():
        lines += ["", *_comment(reasons.get(key), "")]
        lines += _entry(key, value, reasons, key, 0)
        lines += [f"{_INDENT}# {line}" for line in _could(key, mapping)]
    for key in _COULD:
        if key not in mapping:
            lines += ["", f"# {key}:", *(f"#   {line}" for line in _could(key, mapping))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _entry(key: str, value: Any, reasons: Mapping[str, str], path: str, depth: int) -> Iterator[str]:
    """The lines of one key, those of a section's keys with their reasons above them."""
    indent = depth * _INDENT
    if not isinstance(value, Mapping):
        yield from textwrap.indent(dumps_yaml({key: value}).rstrip("\n"), indent).splitlines()
        return
    yield f"{indent}{key}:"
    for inner, held in value.items():
        yield from _comment(reasons.get(f"{path}.{inner}"), indent + _INDENT)
        yield from _entry(inner, held, reasons, f"{path}.{inner}", depth + 1)


def _comment(text: str | None, indent: str) -> list[str]:
    """Text as comment lines; none for None."""
    head = f"{indent}# "
    return [] if text is None else textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=head)


def _could(section: str, mapping: Mapping[str, Any]) -> Iterator[str]:
    """Lines that a section could have and hasn't."""
    priced = section == "hardware" and "prices" in mapping
    for key, line in _COULD.get(section, {}).items():
        if key not in mapping.get(section, {}) and not (priced and key == "price_usd_per_hour"):
            yield line
