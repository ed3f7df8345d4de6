"""`simulate init`: a plan, or a project, to start from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import click

from ...core.errors import InputError, UsageError
from ...core.files import write_text
from .._sketch import named, sketch, sketch_options

_PLAN = "run.yaml"
_FILES = ("corpora.yaml", "space.yaml", _PLAN, "study.yaml")
"""What a project has, in the order in which one meets it."""

_NEXT_COMMANDS = (
    "simulate proxies train space.yaml",
    "simulate proxies table proxies --out runs.csv",
    "simulate fit runs.csv --out predictor",
    "simulate predict --config run.yaml --predictor predictor",
    "simulate proxies curves proxies --out curves",
    "simulate curve fit curves --out law",
    "simulate curve predict law --config run.yaml --predictor predictor",
)
"""From the project's text to its forecast and the curve of its loss; `proxies curves` says how to go on to `track`."""


@click.command()
@click.argument("folder", metavar="DIR", required=False)
@sketch_options
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a run configuration instead.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(folder: str | None, schema: bool, force: bool, **words: str | None) -> None:
    """Write a plan or a small project into DIR to start from, or print the JSON Schema of a run configuration.

    With --params, --model or --from DIR gets one file, run.yaml: a plan that is ready to predict, with the reason for
    everything in it. Without them it gets a project that goes from text to a forecast in one sitting: corpora.yaml
    (text that every installation has), space.yaml (which proxies to train), run.yaml (the plan to predict), study.yaml.

    \b
    Example:  simulate init plan --params 7B --tokens 2T --on 512xH100
              simulate init plan --model llama-3-8b
              simulate init plan --from config.json
              simulate init demo
              simulate init --schema > run.schema.json
    """
    given = named(words)
    if schema == (folder is not None) or (schema and given):
        raise UsageError("simulate init: give either a folder (simulate init DIR) or --schema")
    if folder is None:
        from ...simulator.config.run_config import RunConfig

        click.echo(json.dumps(RunConfig.json_schema(), indent=2))
    elif given:
        _write_plan(folder, words, overwrite=force)
    else:
        _write_project(folder, overwrite=force)


def _write_plan(folder: str, words: dict[str, str | None], overwrite: bool) -> None:
    """Write the plan that the options make into `folder`, and say what comes next."""
    plan = sketch(words)
    plan.config()  # nothing is written that couldn't be predicted
    (target,) = _targets(folder, [_PLAN], overwrite)
    write_text(target, plan.to_yaml())
    click.echo(f"wrote {target}: {plan.title}; next:")
    click.echo(f"simulate predict --config {shlex.quote(str(target))}")


def _write_project(folder: str, overwrite: bool) -> None:
    """Write the project's files into `folder`, and say what comes next."""
    targets = _targets(folder, _FILES, overwrite)
    source = resources.files("foretrain.examples.project")
    for target in targets:
        write_text(target, source.joinpath(target.name).read_text(encoding="utf-8"))
    click.echo(f"wrote {', '.join(map(str, targets))}; next, about two minutes of training:")
    if folder not in (".", "./"):
        click.echo(f"cd {shlex.quote(folder)}")
    for command in _NEXT_COMMANDS:
        click.echo(command)


def _targets(folder: str, names: Sequence[str], overwrite: bool) -> list[Path]:
    """The paths of files to be written in `folder`, which is made if absent.

    InputError if one of them is there and `overwrite` isn't set.
    """
    targets = [Path(folder) / name for name in names]
    there = [str(path) for path in targets if path.exists()]
    if there and not overwrite:
        raise InputError(f"{', '.join(there)}: already there; take another folder, or --force to overwrite")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be made: {error.strerror}") from None
    return targets
