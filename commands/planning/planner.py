"""`simulate planner`: plans for real runs, asked for and told, for pipelines that train between the two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ...core.errors import UsageError
from ...core.units import shown
from .._shared import columns_option, json_option, progress_bar, read_table, show

_OPTIONS = (
    click.option("--config", required=True, metavar="FILE", help="The study, YAML or JSON; - reads standard input."),
    click.option("--runs", required=True, metavar="RUNS", help="Table of runs that the predictor is fitted on."),
    click.option("--storage", metavar="FILE|URL", help="Where proposals are kept, instead of search.storage."),
    click.option("--name", metavar="NAME", help="The planner's name in the storage (default: the study's)."),
    click.option("--law", default="auto", show_default=True, metavar="NAME", help="Law to fit, as for simulate fit."),
    columns_option,
    json_option,
)


def _of_planner(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every command of the group has."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group()
def planner() -> None:
    """Plans for real runs: ask for some, train them, tell what came of it; every result makes the next plans better.

    Proposals and results are kept in the storage, so that a pipeline may be a new process each time, die and go on.

    \b
    Example:  simulate planner ask --config study.yaml --runs runs.csv --storage plans.journal --count 2 --json
              simulate planner tell --config study.yaml --runs runs.csv --storage plans.journal --trial 0 --loss 2.31
              simulate planner tell --config study.yaml --runs runs.csv --storage plans.journal --watch results
    """


@planner.command()
@_of_planner
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 10_000), help="Plans to ask for.")
@click.option(
    "--explore",
    type=float,
    metavar="QUANTILE",
    help="Judge by this quantile of the forecast; 0.1 prefers uncertain plans.",
)
def ask(count: int, explore: float | None, as_json: bool, **options: Any) -> None:
    """Ask for plans to train: the best that keep every limit, apart from each other and from all before.

    The JSON has the complete run configuration of each. Exit code 4 if no plan keeps every limit.

    \b
    Example:  simulate planner ask --config study.yaml --runs runs.csv --storage plans.journal --json
    """
    opened = _open(explore=explore, **options)
    with progress_bar("searching") as step:
        proposals = opened.ask(count, progress=step)
    facts = {**_about(opened), "proposals": [proposal.to_dict() for proposal in proposals]}
    show(as_json, facts, lambda: _tables().proposals_view(opened.name, proposals))


@planner.command()
@_of_planner
@click.option("--trial", type=click.IntRange(0), metavar="N", help="Number of the proposal.")
@click.option("--loss", "losses", multiple=True, metavar="[TARGET=]NATS", help="Its loss; one for each target.")
@click.option("--status", type=click.Choice(["failed", "diverged"]), help="It ended without a loss.")
@click.option("--give-up", metavar="WHY", help="It will never have a result; its plan may be proposed again.")
@click.option("--from", "source", metavar="FILE", help="Read the result: a W&B or MLflow run or export, or a log.")
@click.option("--watch", metavar="FOLDER", help="Take everything new in the folder that runs write to.")
@click.option(
    "--quiet-s",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    help="--watch: seconds of silence, see below.",
)
def tell(
    trial: int | None,
    losses: tuple[str, ...],
    status: str | None,
    give_up: str | None,
    source: str | None,
    watch: str | None,
    quiet_s: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Tell what became of a proposal; the predictor is fitted anew, and what that changed is shown.

    With --watch, a run names its proposal by a column, parameter or tag foretrain_trial, or by its own name; a log
    that doesn't say whether its run is over counts as finished when nothing was written for --quiet-s seconds.

    \b
    Example:  simulate planner tell --config study.yaml --runs runs.csv --storage plans.journal --trial 0 --loss 2.31
              simulate planner tell --config study.yaml --runs runs.csv --storage plans.journal --from wandb.csv
    """
    given = [bool(losses), status is not None, give_up is not None, source is not None, watch is not None]
    if given.count(True) != 1:
        raise UsageError("planner tell: expected exactly one of --loss, --status, --give-up, --from and --watch")
    if trial is None and not (source or watch):
        raise UsageError("planner tell: expected --trial N, the number that `simulate planner ask` gave")
    if trial is not None and watch:
        raise UsageError("planner tell: --watch finds the proposals by itself; expected no --trial")
    opened = _open(**options)
    if watch is not None:
        lessons = opened.watch(watch, quiet_s=quiet_s)
    elif give_up is not None:
        opened.give_up(trial, give_up)
        lessons = []
    elif source is not None:
        lessons = opened.tell_from(source, trial)
    elif status is not None:
        lessons = [opened.tell(trial, status)]
    else:
        lessons = [opened.tell(trial, _losses(losses))]
    facts = {
        **_about(opened),
        "lessons": [lesson.to_dict() for lesson in lessons],
        "rows": len(opened.table),
    }
    show(as_json, facts, lambda: _tables().results_view(opened.name, lessons))


@planner.command()
@_of_planner
def status(as_json: bool, **options: Any) -> None:
    """Show the proposals that wait for a result, and every result beside what had been forecast.

    \b
    Example:  simulate planner status --config study.yaml --runs runs.csv --storage plans.journal
    """
    opened = _open(**options)
    show(as_json, opened.status(), lambda: _tables().status_view(opened))


@planner.command()
@_of_planner
@click.option("--out", metavar="FILE", help="Write the best plan here, as a run configuration.")
def best(out: str | None, as_json: bool, **options: Any) -> None:
    """Search for the best plan by everything that was told; nothing is kept of this search.

    \b
    Example:  simulate planner best --config study.yaml --runs runs.csv --storage plans.journal --out best.yaml
    """
    opened = _open(**options)
    with progress_bar("searching") as step:
        found = opened.best(progress=step)
    found.require_feasible()
    if out is not None:
        found.save_best(out)
    show(as_json, found.to_dict(), lambda: _study_view(found))


def _open(
    config: str,
    runs: str,
    storage: str | None,
    name: str | None,
    law: str,
    columns: str | None,
    explore: float | None = None,
) -> Any:
    from ...core.reading.yaml_reader import load_document
    from ...simulator.search.planning.planner import Planner
    from ...simulator.search.storage.own_journal import MEMORY

    study = load_document("-").mapping if config == "-" else config
    table = runs if Path(runs).is_dir() else read_table(runs, columns)  # the planner refuses a folder in its own words
    opened = Planner(
        study,
        table,
        fit={"law": law},
        storage=storage,
        name=name,
        explore=explore,
    )
    if opened.storage in (None, MEMORY):
        raise UsageError("--storage: is missing; expected a journal file or a database, which keeps the proposals")
    return opened


def _about(opened: Any) -> dict[str, Any]:
    return {"name": opened.name, "storage": opened.storage}


def _losses(pairs: tuple[str, ...]) -> float | dict[str, float]:
    """`("2.31",)` as a number, `("loss.web=2.3", "loss.code=1.2")` as numbers by target. Raises UsageError."""
    by_target: dict[str, float] = {}  # a loss without a target stands under ""
    for pair in pairs:
        target, _, text = pair.rpartition("=")
        try:
            by_target[target.strip()] = float(text)
        except ValueError:
            raise UsageError(
                f"--loss: got {shown(pair)}; expected nats per token, such as 2.31 or loss.web=2.31"
            ) from None
    if "" not in by_target:
        return by_target
    if len(pairs) > 1:
        raise UsageError("--loss: got several; expected each with its target, such as loss.web=2.31")
    return by_target[""]


def _tables() -> Any:
    from ...simulator.report.tables import planner as planner_tables

    return planner_tables


def _study_view(found: Any) -> Any:
    from ...simulator.report.tables.study import study_view

    return study_view(found)
