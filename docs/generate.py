"""The pages of docs/reference, made from the code: commands, plans, spaces, corpora, run tables, names, the Python API.

python docs/generate.py            writes them
python docs/generate.py --check    says which of them no longer say what the code does; exits with 1 if any
"""

from __future__ import annotations

import inspect
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["FORETRAIN_NO_PLUGINS"] = "1"  # what is documented is ours

import click
import foretrain
from foretrain.cli import simulate
from foretrain.core.reading.config_reader import plain_schema
from foretrain.core.units import COUNT_PATTERN, DURATION_PATTERN, SHARE_PATTERN, format_count
from foretrain.datasets.corpus.corpus import Corpus
from foretrain.datasets.generators.registry import generators
from foretrain.datasets.runs.columns import markdown_table
from foretrain.datasets.selection.registry import steps
from foretrain.proxies.design.space import ProxySpace
from foretrain.proxies.generations.space import GenerationsSpace

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where runpy runs this file, its folder is in no path

from markdown_cells import cell, code, plain
from python_page import python

FOLDER = Path(__file__).resolve().parent / "reference"
PATTERNS = {
    COUNT_PATTERN: "count, such as 7B",
    DURATION_PATTERN: "duration, such as 30d",
    SHARE_PATTERN: "share, such as 0.9 or 90%",
}
MOST_ALIASES = 4
LARGE = 10_000


def pages() -> dict[str, str]:
    """Every generated page: its file name and its text."""
    made = {
        "commands.md": commands(),
        "plan.md": plan(),
        "space.md": space(),
        "corpora.md": corpora(),
        "generations.md": generations(),
        "run-table.md": run_table(),
        "names.md": names(),
        "python.md": python(),
    }
    note = "<!-- Made by python docs/generate.py; change the code, not this page. -->\n\n"
    return {name: note + re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n" for name, text in made.items()}


# commands


def commands() -> str:
    """Every command with its options, as `--help` has them."""
    lines = [
        "# Commands",
        "",
        "The options of `simulate` itself stand before the command. Every command takes `-h`.",
        "",
        *_options(click.Context(simulate, info_name="simulate")),
    ]
    for context in _walk(click.Context(simulate, info_name="simulate")):
        depth = 2 if context.parent is not None and context.parent.parent is None else 3
        command = context.command
        lines += ["", f"{'#' * depth} {context.command_path.removeprefix('simulate ')}", ""]
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        lines += [f"`{usage}`", "", *_help(command.help or ""), *_options(context)]
    return "\n".join(lines)


def _walk(context: click.Context) -> Iterator[click.Context]:
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                below = click.Context(command, info_name=name, parent=context)
                yield below
                yield from _walk(below)


def _help(text: str) -> Iterator[str]:
    """The help of a command: paragraphs, and its examples as a block."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        if lines[0].strip() == "\b":
            shown = [line.strip().removeprefix("Example:").strip() for line in lines[1:]]
            yield from ("```sh", *shown, "```", "")
        else:
            yield from (plain(" ".join(line.strip() for line in lines)), "")


def _options(context: click.Context) -> Iterator[str]:
    found = [option for option in context.command.get_params(context) if isinstance(option, click.Option)]
    found = [option for option in found if not option.hidden and "--help" not in option.opts]
    if found:
        yield from ("| option | meaning |", "|---|---|")
    for option in found:
        record = option.get_help_record(context)
        assert record is not None
        written, meaning = record
        yield f"| {code(written)} | {cell(meaning)} |"


# plans and spaces


def plan() -> str:
    """Every key of a plan, by section, with its unit, default and bounds."""
    schema = foretrain.RunConfig.json_schema()
    lines = [
        "# The plan",
        "",
        "Every key of a run configuration (YAML or JSON). `model` and `data` are required.",
        "`simulate init --schema` prints the same as a JSON Schema, which editors read;",
        "`--set section.key=VALUE` overrides a key.",
        "",
        *_properties(schema, schema["$defs"]),
    ]
    return "\n".join([*lines, *_sections(schema, schema["$defs"])])


def space() -> str:
    """Every key of a space of proxies."""
    schema = ProxySpace.json_schema()
    lines = [
        "# The space of proxies",
        "",
        "Every key of a `space.yaml`, which `simulate proxies design` and `train` read. `corpora`, `tokens` and one of",
        "`sizes` and `widths` are required.",
        "",
        *_properties(schema, schema["$defs"]),
    ]
    return "\n".join([*lines, *_sections(schema, schema["$defs"])])


def corpora() -> str:
    """Every key of a description of text, and every step of a selection with its settings."""
    schema = plain_schema(Corpus)
    lines = [
        "# The corpora file",
        "",
        "Every key of a `corpora.yaml`, which `simulate data` and spaces of proxies read. `domains` is required.",
        "Paths are relative to its folder.",
        "",
        *_properties(schema, schema["$defs"]),
        *_sections(schema, schema["$defs"]),
        "",
        "## Steps of a selection",
        "",
        "In `domains.NAME.select`, in the order in which they run: a step's name alone, or with its settings, such as",
        "`[dedup, {judge: {scores: judged.csv, keep: 0.3}}]`.",
        "[Choose the data](../how-to/choose-the-data.md) says when each is worth it. Packages add more.",
    ]
    return "\n".join([*lines, *_members(steps())])


def generations() -> str:
    """The section of chains of generations, and every generator with its settings."""
    schema = plain_schema(GenerationsSpace)
    section = {"properties": {"generations": schema["properties"]["generations"]}}
    lines = [
        "# The space of generations",
        "",
        "What `simulate proxies generations` reads: a [space of proxies](space.md) of one size, one token count and",
        "one `lr`, with a section `generations`. [Use synthetic text](../how-to/use-synthetic-text.md) says what for.",
        *_sections(section, schema["$defs"]),
        "",
        "## Generators",
        "",
        "In `generations.generator`: `self`, which is each chain's own proxy, or one of these, fitted to each chain's",
        "corpus: its name alone, or with its settings, such as `{ngram: {order: 7}}`. They write bytes, so that the",
        "corpus needs the tokenizer `bytes`. Packages add more.",
    ]
    return "\n".join([*lines, *_members(generators())])


def _members(members: Mapping[str, Any]) -> Iterator[str]:
    """Members of a registry with what they say of themselves and their settings."""
    shared: dict[str, Any] = {}
    for name, member in sorted(members.items()):
        found = member.model_json_schema()
        shared |= found.get("$defs", {})
        paragraphs = inspect.cleandoc(member.__doc__ or "").split("\n\n")
        described = [line for text in paragraphs if not text.startswith(">>>") for line in (*_paragraph(text), "")]
        yield from ("", f"### {name}", "", *described, *_properties(found, found.get("$defs", {})))
    for title, found in shared.items():
        if "properties" in found:
            described = cell(found.get("description", "").split("\n\n")[0])
            yield from ("", f"### {title}", "", described, "", *_properties(found, shared))


def _paragraph(text: str) -> list[str]:
    """A paragraph on one line, a list on one for each of its items."""
    if not text.startswith("- "):
        return [cell(text)]
    return [f"- {cell(item)}" for item in text.removeprefix("- ").split("\n- ")]


def _sections(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[str]:
    """The tables of the sections that a schema refers to, each once, in the order in which one meets them."""
    waiting, done = [*_references(schema["properties"])], set()
    while waiting:
        path, name = waiting.pop(0)
        if name in done:
            continue
        done.add(name)
        found = defs[name]
        described = cell(found.get("description", "").split("\n\n")[0])
        yield from ("", f"## {path}", "", described, "", *_properties(found, defs))
        waiting[:0] = [(f"{path}.{key}", other) for key, other in _references(found.get("properties", {}))]


def _references(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, field in properties.items():
        for name in re.findall(r"#/\$defs/(\w+)", repr(field)):
            yield key, name


def _properties(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| key | value | meaning |", "|---|---|---|")
    required = schema.get("required", ())
    for key, field in schema["properties"].items():
        if field.get("deprecated"):
            continue
        default = "; required" if key in required else _default(field.get("default"))
        meaning = field.get("description") or _first_sentence(field, defs)
        yield f"| `{key}` | {cell(_kind(field))}{default} | {cell(meaning)} |"


def _first_sentence(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    names = re.findall(r"#/\$defs/(\w+)", repr(field))
    text = " ".join(defs[names[0]].get("description", "").split()) if names else ""
    return text.partition(". ")[0].rstrip(".") + "." if text else ""


def _default(value: Any) -> str:
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    plain = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return f"; default `{plain}`"


def _kind(field: Mapping[str, Any]) -> str:
    """What a key may hold, in a few words."""
    if "$ref" in field:
        return "section"
    if "enum" in field:
        return ", ".join(str(value) for value in field["enum"])
    if "const" in field:
        return str(field["const"])
    for choices in (field.get("anyOf"), field.get("oneOf")):
        if choices:
            patterns = [PATTERNS[one["pattern"]] for one in choices if one.get("pattern") in PATTERNS]
            wholes = [_kind(one) for one in choices if one.get("type") == "integer"]
            others = [_kind(one) for one in choices if one.get("type") != "null"]
            return (
                (wholes or patterns)[0]
                if wholes or patterns
                else " or ".join(dict.fromkeys(kind for kind in others if kind))
            )
    kind = field.get("type")
    if kind == "object":
        values = field.get("additionalProperties")
        return f"mapping to {_kind(values)}" if isinstance(values, dict) else "mapping"
    if kind == "array":
        return f"list of {_kind(field['items'])}" if isinstance(field.get("items"), dict) else "list"
    if kind in ("number", "integer"):
        return ("whole number" if kind == "integer" else "number") + _bounds(field)
    if kind == "string" and field.get("pattern") in PATTERNS:
        return PATTERNS[field["pattern"]]
    return {"string": "text", "boolean": "true or false"}.get(str(kind), "")


def _bounds(field: Mapping[str, Any]) -> str:
    above = field.get("exclusiveMinimum", field.get("gt"))
    least, most = field.get("minimum", field.get("ge")), field.get("maximum", field.get("le"))
    low = f"above {above:g}" if above is not None else "" if least is None else f"from {least:g}"
    high = "" if most is None else f"to {most:g}" if most < LARGE else f"to {format_count(most)}"
    words = " ".join(part for part in (low, high) if part)
    return f", {words}" if words else ""


# run tables, names


def run_table() -> str:
    """The columns of a run table."""
    return "\n".join(
        [
            "# Columns of a run table",
            "",
            "A row needs `params`, `tokens` and a loss. Names are compared in lower case, with blanks, `/` and `-`",
            "read as `_`; `--columns params=N,tokens=D` names the rest. Whatever else a table holds is kept and not",
            "read. [Your own runs](../how-to/use-your-own-runs.md) says what is filled in and what is refused.",
            "",
            markdown_table(),
        ]
    )


def names() -> str:
    """What a plan may name: predictors, accelerators, texts, evaluation sets, tokenizers, selections."""
    from foretrain.datasets.facts.accelerators import catalogue
    from foretrain.datasets.facts.catalogue import read_facts
    from foretrain.datasets.facts.corpora import corpora, evaluation_sets
    from foretrain.datasets.facts.models import models
    from foretrain.datasets.facts.prices import prices
    from foretrain.datasets.facts.tokenizers import tokenizers

    kinds = read_facts("corpora.json")["kinds"]
    chips = {
        name: (_peak(one), _number(one.hbm_gib), _number(one.hbm_gb_per_s), str(one.per_node), _others(one.aliases))
        for name, one in catalogue().items()
    }
    shapes = {
        name: (format_count(one.params), "" if one.tokens is None else format_count(one.tokens), one.what)
        for name, one in models().items()
    }
    asked = {
        name: (f"{one.usd_per_hour:g}", one.accelerator, one.purchase.replace("_", " "), f"{one.date}")
        for name, one in prices().items()
    }
    texts = {name: (one.what, _mix(one.kinds), _others(one.aliases)) for name, one in corpora().items()}
    judged = {name: (one.what, _others(one.aliases)) for name, one in evaluation_sets().items()}
    split = {
        name: (f"{one.vocab_size:,}", _number(one.bytes_per_token.get("web")), _others(one.aliases))
        for name, one in tokenizers().items()
    }
    chosen = {
        name: (f"{math.exp(one['log_gain']):.2g}", f"{one['keep']:g}", _others(one["names"]))
        for name, one in read_facts("selection.json")["steps"].items()
    }
    readers = {name: (format_count(one["params"]),) for name, one in read_facts("selection.json")["judges"].items()}
    return "\n".join(
        [
            "# Names that a plan may use",
            "",
            "Case, blanks and signs don't count. What isn't known is taken as new, or refused with the nearest names.",
            "",
            "## Accelerators",
            "",
            "In `hardware.accelerator`. Peaks are dense, memory is what the device reports or its maker states.",
            "",
            *_table(("name", "peak, TFLOP/s", "GiB", "GB/s", "in a node", "also"), chips),
            "",
            "## Models",
            "",
            "For `--model`: shapes as published.",
            "",
            *_table(("name", "parameters", "trained on, tokens", "what"), shapes),
            "",
            "## Prices",
            "",
            "For `--price` and `prices.preset`: US dollars of an accelerator and an hour, as published that day.",
            "None is taken unless it is named.",
            "",
            *_table(("name", "USD", "accelerator", "purchase", "as of"), asked),
            "",
            "## Kinds of text",
            "",
            "In `data.corpus`, alone or as shares such as `{web: 0.8, code: 0.2}`.",
            "",
            *_table(("name", "what"), {name: (what,) for name, what in kinds.items()}),
            "",
            "## Corpora",
            "",
            "In `data.corpus` and `data.evaluated_on`. Shares of kinds of text are estimates.",
            "",
            *_table(("name", "what", "kinds of text", "also"), texts),
            "",
            "## Evaluation sets",
            "",
            "In `data.evaluated_on`.",
            "",
            *_table(("name", "what", "also"), judged),
            "",
            "## Tokenizers",
            "",
            "In `data.tokenizer`. Bytes of a token are those of web pages.",
            "",
            *_table(("name", "vocabulary", "bytes per token", "also"), split),
            "",
            "## Steps of selections",
            "",
            "In `data.selection.kind`, joined by `+`: what is published of them, where a predictor has no runs of it.",
            "One that was fitted on `selection` knows the names of its own runs.",
            "",
            *_table(("step", "tokens count, times", "where this share is kept", "also"), chosen),
            "",
            "Judges that cost something, where `data.selection.judge.params` doesn't say how much:",
            "",
            *_table(("judge", "parameters"), readers),
        ]
    )


def _table(header: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield from (f"| {' | '.join(header)} |", "|" + "---|" * len(header))
    yield from (f"| `{name}` | {' | '.join(map(cell, row))} |" for name, row in rows.items())


def _others(aliases: Sequence[str]) -> str:
    return ", ".join(f"`{alias}`" for alias in aliases[:MOST_ALIASES]) + (", …" if len(aliases) > MOST_ALIASES else "")


def _peak(chip: Any) -> str:
    """The peak in the widest used format that the chip has."""
    kind = next(kind for kind in ("bf16", "fp16", "fp32", *chip.peak_tflops) if kind in chip.peak_tflops)
    return f"{chip.peak_tflops[kind]:g} {kind}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _mix(kinds: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {share:.0%}" for kind, share in sorted(kinds.items(), key=lambda item: -item[1]))


def main() -> None:
    """Write the pages, or with `--check` compare them."""
    made = pages()
    if "--check" in sys.argv:
        stale = [n for n, text in made.items() if not (FOLDER / n).is_file() or (FOLDER / n).read_text("utf-8") != text]
        sys.exit("\n".join(f"docs/reference/{name}: run python docs/generate.py" for name in stale))
    FOLDER.mkdir(exist_ok=True)
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
