"""Options that make a plan of a few words, for commands that would else read one from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ..simulator.config.starting.sketch import PlanSketch

_OPTIONS = (
    click.option("--params", metavar="N", help="Parameters, e.g. 7B: a shape of that size in Llama's family."),
    click.option("--model", metavar="NAME", help="A published model, e.g. llama-3-8b; see `simulate list models`."),
    click.option("--from", "from_file", metavar="FILE", help="A model's config.json of Hugging Face."),
    click.option("--tokens", metavar="N", help="Training tokens, e.g. 2T; by default 20 per parameter."),
    click.option("--on", metavar="COUNTxACCELERATOR", help="What it is trained on, e.g. 512xH100."),
    click.option(
        "--price",
        metavar="USD|NAME",
        help="Per accelerator and hour: a number, or a published price; see `simulate list prices`.",
    ),
)
_SHAPES = ("params", "model", "from_file")


def sketch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as keywords."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def named(words: dict[str, str | None]) -> list[str]:
    """The options that were given, as they are written."""
    return ["--" + name.removesuffix("_file") for name, value in words.items() if value is not None]


def sketch(words: dict[str, str | None]) -> PlanSketch:
    """The plan that the options make.

    Raises:
        UsageError: There is not exactly one of --params, --model and --from, or one of them can't be read.
        ConfigError: The file of --from is no shape that is known.
    """
    from ..core.model.huggingface import read_huggingface
    from ..core.reading.yaml_reader import load_document
    from ..simulator.config.starting.sketch import sketch_plan

    shapes = named({name: words[name] for name in _SHAPES})
    if len(shapes) != 1:
        got = " and ".join(shapes) or f"{', '.join(named(words))} without one"
        raise UsageError(f"--params, --model, --from: got {got}; expected exactly one, such as --params 7B")
    hugging_face = None
    if words["from_file"] is not None:
        document = load_document(words["from_file"])
        hugging_face = document.mapping
        read_huggingface(hugging_face, document.where)  # here what is wrong with it names the file
    plain = {name: value for name, value in words.items() if name != "from_file"}
    try:
        return sketch_plan(**plain, hugging_face=hugging_face)
    except ConfigError as error:
        raise UsageError(f"--{error}") from None


def say_assumed(plan: PlanSketch) -> None:
    """Say on standard error what the plan is of, and what nobody stated in it."""
    click.echo(f"plan: {plan.title}", err=True)
    for path in plan.assumed:
        value: Any = plan.mapping
        for part in path.split("."):
            value = value[part]
        stated = "" if isinstance(value, dict) else f" {value}"
        click.echo(f"plan: {path}{stated}: {plan.reasons[path]}", err=True)
