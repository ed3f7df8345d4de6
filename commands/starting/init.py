"""`simulate init`: a project to start from."""

from __future__ import annotations

import json
import shlex
from importlib import resources
from pathlib import Path

import click

from ...core.errors import InputError, UsageError
from ...core.files import write_text

_FILES = ("corpora.yaml", "space.yaml", "run.yaml", "study.yaml")
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
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a run configuration instead.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(folder: str | None, schema: bool, force: bool) -> None:
    """Write a small project into DIR to start from, or print the JSON Schema of a run configuration.

    The project goes from text to a forecast in one sitting: corpora.yaml (text that every installation has), space.yaml
    (which proxies to train), run.yaml (the plan to predict) and study.yaml.

    \b
    Example:  simulate init demo
              simulate init --schema > run.schema.json
    """
    if schema == (folder is not None):
        raise UsageError("simulate init: give either a folder (simulate init DIR) or --schema")
    if folder is None:
        from ...simulator.config.run_config import RunConfig

        click.echo(json.dumps(RunConfig.json_schema(), indent=2))
        return
    written = _write_starter(folder, overwrite=force)
    names = ", ".join(str(path) for path in written)
    click.echo(f"wrote {names}; next, about six minutes of training:")
    if folder not in (".", "./"):
        click.echo(f"cd {shlex.quote(folder)}")
    for command in _NEXT_COMMANDS:
        click.echo(command)


def _write_starter(folder: str, overwrite: bool) -> list[Path]:
    """Write the project's files into `folder`, made if absent; return their paths.

    InputError, and nothing written, if one of them is there and `overwrite` isn't set.
    """
    targets = [Path(folder) / name for name in _FILES]
    there = [str(path) for path in targets if path.exists()]
    if there and not overwrite:
        raise InputError(f"{', '.join(there)}: already there; take another folder, or --force to overwrite")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be made: {error.strerror}") from None
    source = resources.files("foretrain.examples.project")
    for target in targets:
        text = source.joinpath(target.name).read_text(encoding="utf-8")
        write_text(target, text)
    return targets
