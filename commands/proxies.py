"""`simulate proxies`: small models trained for real, from a space of runs to a run table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ._shared import json_option, progress_bar, show

if TYPE_CHECKING:
    from ..proxies.project import Project

_YAML = (".yaml", ".yml", ".json")
out_option = click.option("--out", metavar="DIR", help="The project's folder (default: proxies, beside the space).")
workers_option = click.option("--workers", type=click.IntRange(1, 100_000), help="Train this many groups at once.")


@click.group()
def proxies() -> None:
    """Train small models for real: decide which, train them to the end, take their run table.

    \b
    Example:  simulate proxies train space.yaml        (simulate init writes one)
              simulate proxies table proxies --out runs.csv
              simulate fit runs.csv --out predictor
    """


@proxies.command()
@click.argument("space", metavar="SPACE")
@out_option
@workers_option
@json_option
def design(space: str, out: str | None, workers: int | None, as_json: bool) -> None:
    """Turn a space (YAML) into a list of runs, and say what they will cost before any is trained.

    Prepares the corpus if that isn't done. What doesn't fit the space's time budget is dropped, and named.

    \b
    Example:  simulate proxies design space.yaml --out proxies
    """
    project = _create(space, out, workers)
    plan = project.design(project.learning_rate())
    facts = {
        **plan.to_dict(),
        "folder": str(project.folder),
        "run_list": [run.model_dump(mode="json") for run in plan.runs],
    }
    show(as_json, facts, lambda: _tables().design_view(plan, project.folder))


@proxies.command()
@click.argument("where", metavar="DIR|SPACE")
@out_option
@click.option("--engine", default="local", show_default=True, metavar="NAME", help="local (this machine) or ray.")
@click.option("--address", metavar="ADDRESS", help="ray: the cluster to use (default: this machine's).")
@workers_option
@json_option
def train(where: str, out: str | None, engine: str, address: str | None, workers: int | None, as_json: bool) -> None:
    """Train what isn't done yet. Interrupted at any moment, the same command goes on from there.

    DIR is a folder made by `simulate proxies design`; a SPACE is designed first.

    \b
    Example:  simulate proxies train space.yaml
              simulate proxies train proxies --engine ray --address auto
    """
    from ..proxies.executors import get_executor

    executor = get_executor(engine, workers, address)
    project = _create(where, out, workers) if Path(where).suffix in _YAML else _open(where, out)
    with progress_bar("training") as step:
        status = project.train(executor, step)
    show(as_json, status.to_dict(), lambda: _tables().trained_view(project.folder, status))


@proxies.command()
@click.argument("folder", metavar="DIR")
@json_option
def status(folder: str, as_json: bool) -> None:
    """How far a project is: runs by state, tokens per second, time left. May be asked while it trains.

    \b
    Example:  simulate proxies status proxies --json
    """
    statuses = _open(folder).statuses()
    show(as_json, _status_facts(statuses), lambda: _tables().status_view(statuses))


@proxies.command()
@click.argument("folder", metavar="DIR")
@click.option("--out", metavar="FILE", required=True, help="Write the run table here: .csv or .parquet.")
@json_option
def table(folder: str, out: str, as_json: bool) -> None:
    """Write the run table of what is done: one row per evaluation, losses by domain, mixes, settings.

    \b
    Example:  simulate proxies table proxies --out runs.csv && simulate fit runs.csv
    """
    runs = _open(folder).table()
    runs.write(out)
    facts = {"out": out, "rows": len(runs.frame), "targets": list(runs.targets), "digest": runs.digest()}
    show(as_json, facts, lambda: f"wrote {out}: {facts['rows']} rows, {', '.join(facts['targets'])}")


def _create(space: str, out: str | None, workers: int | None) -> Project:
    from ..proxies.project import Project

    folder = Path(space).parent / "proxies" if out is None else Path(out)
    with progress_bar("preparing") as step:
        return Project.create(folder, space, workers, step)


def _open(folder: str, out: str | None = None) -> Project:
    from ..proxies.project import Project

    if out is not None:
        raise UsageError("--out goes with a SPACE (a .yaml file); a project's folder is where it is")
    return Project.open(folder)


def _status_facts(statuses: dict[str, Any]) -> dict[str, Any]:
    """The main stage's facts on top, which pipelines look for; each stage's under its name."""
    stages = {name: status.to_dict() for name, status in statuses.items()}
    return {**stages.get("main", {}), "stages": stages}


def _tables() -> Any:
    from ..simulator.report import proxy_tables

    return proxy_tables
