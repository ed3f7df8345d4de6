"""`simulate init`: a project to start from."""

from __future__ import annotations

import json
import shlex

import click

from ..core.errors import UsageError


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
    from ..simulator.starter import write_starter

    if schema == (folder is not None):
        raise UsageError("simulate init: give either a folder (simulate init DIR) or --schema")
    if folder is None:
        from ..simulator.config.run_config import RunConfig

        click.echo(json.dumps(RunConfig.json_schema(), indent=2))
        return
    written = write_starter(folder, overwrite=force)
    click.echo(f"wrote {', '.join(str(path) for path in written)}; next, about six minutes of training:")
    click.echo("\n".join(_next_steps(folder)))


def _next_steps(folder: str) -> list[str]:
    """The commands from the project's text to its forecast."""
    inside = [] if folder in (".", "./") else [f"cd {shlex.quote(folder)}"]
    return [
        *inside,
        "simulate proxies train space.yaml",
        "simulate proxies table proxies --out runs.csv",
        "simulate fit runs.csv --out predictor",
        "simulate predict --config run.yaml --predictor predictor",
    ]
