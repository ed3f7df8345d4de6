"""Tables of what a plan may name; each takes what `config.starting.known` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .....core.units import format_count
from ..cells import add_row, plain_table

__all__ = ["known_view"]

_WORDS = ("at", "also", "tokenizer", "accelerator", "purchase", "as of", "source")
_PRECISIONS = ("bf16", "fp16", "fp32")  # the first that an accelerator has


def known_view(kind: str, facts: Mapping[str, Any]) -> RenderableType:
    """The table of a kind.

    Args:
        kind: A key of `config.starting.known.KNOWN`.
        facts: What `known(kind)` gives.
    """
    return _VIEWS[kind](facts)


def _accelerators(facts: Mapping[str, Any]) -> RenderableType:
    table = _table("accelerator", "TFLOP/s", "at", "GiB", "GB/s", "a node", "W", "also")
    for one in facts["accelerators"]:
        peaks = one["peak_tflops"]
        precision = next((name for name in _PRECISIONS if name in peaks), next(iter(peaks)))
        figures = (one[key] for key in ("hbm_gib", "hbm_gb_per_s", "per_node", "tdp_w"))
        also = ", ".join(one["aliases"][:3])
        add_row(table, one["name"], f"{peaks[precision]:g}", precision, *map(_number, figures), also)
    said = "TFLOP/s: dense peak. A plan names one as hardware.accelerator, whatever its case, blanks and dashes."
    return Group(table, Text(f"{said} All figures with their sources: --json.", style="dim"))


def _corpora(facts: Mapping[str, Any]) -> RenderableType:
    blocks: list[RenderableType] = [Text("Kinds of text:", style="bold"), _pairs(facts["kinds"].items())]
    for title, key in (("Corpora:", "corpora"), ("Texts that a loss is measured on:", "evaluation_sets")):
        rows = []
        for one in facts[key]:
            kinds = sorted(one["kinds"].items(), key=lambda pair: -pair[1])
            mix = ", ".join(f"{name} {share:.0%}" for name, share in kinds[:3]) or "the run's own mix"
            rows.append((one["name"], f"{one['what']} ({mix})"))
        blocks += [Text(""), Text(title, style="bold"), _pairs(rows)]
    said = (
        "A plan names its text as data.corpus, by a name or as {web: 0.8, code: 0.2}, and as data.evaluated_on; "
        "simulate list predictors shows which of them have public runs."
    )
    return Group(*blocks, Text(said, style="dim"))


def _models(facts: Mapping[str, Any]) -> RenderableType:
    table = _table("model", "params", "active", "layers", "width", "context", "trained on", "tokenizer")
    for one in facts["models"]:
        shape, active = one["architecture"], one["params_active"]
        add_row(
            table,
            one["name"],
            format_count(one["params"]),
            "" if active == one["params_shape"] else format_count(active),
            *(str(shape[key]) for key in ("layers", "width", "context_length")),
            "–" if one["tokens"] is None else format_count(one["tokens"]),
            one["tokenizer"] or "–",
        )
    said = "A plan of one: simulate init DIR --model NAME. Shapes in full with their sources: --json."
    return Group(table, Text(said, style="dim"))


def _prices(facts: Mapping[str, Any]) -> RenderableType:
    table = _table("price", "USD an hour", "accelerator", "purchase", "as of", "source")
    for one in facts["prices"]:
        how = one["purchase"].replace("_", " ")
        usd = f"{one['usd_per_device_hour']:g}"
        add_row(table, one["name"], usd, one["accelerator"], how, one["date"], one["sources"][0].partition(":")[0])
    said = (
        "Per accelerator, its host included. Prices change monthly: a plan pays one only where it names it, as "
        "prices.preset, or --price of simulate init and predict."
    )
    return Group(table, Text(said, style="dim"))


def _fields(facts: Mapping[str, Any]) -> RenderableType:
    blocks: list[RenderableType] = []
    for one in facts["fields"]:
        kind = f"{one['type']}, {one['unit']}" if one["unit"] else one["type"]
        usual = "required" if one["required"] else f"default: {one['default']}" if one["default"] else ""
        blocks.append(Text.assemble((one["path"], "bold"), f"  {'; '.join(filter(None, (kind, usual)))}"))
        blocks.append(Padding(Text(one["description"]), (0, 0, 0, 4)))
    said = "A plan states them in YAML or JSON; --set PATH=VALUE states one. JSON Schema: simulate init --schema."
    return Group(*blocks, Text(said, style="dim"))


def _table(*headings: str) -> Table:
    """A plain table whose words stand to the left, numbers to the right."""
    table = plain_table(*headings)
    for column, heading in zip(table.columns, headings, strict=True):
        if heading in _WORDS:
            column.justify = "left"
    return table


def _pairs(rows: Any) -> Table:
    """Names and what they mean."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    for name, meaning in rows:
        add_row(table, name, meaning)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


_VIEWS: Mapping[str, Callable[[Mapping[str, Any]], RenderableType]] = {
    "accelerators": _accelerators,
    "corpora": _corpora,
    "models": _models,
    "prices": _prices,
    "fields": _fields,
}
