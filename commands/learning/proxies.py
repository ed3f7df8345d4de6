"""`simulate proxies`: small models trained for real, from a space of runs to a run table."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...core.errors import ConfigError, UsageError
from ...core.units import parse_count, parse_duration_s, parse_share, shown
from ...workflows.planned_run import SIZES, StageBudget
from .._shared import json_option, log_json_option, progress_bar, show, stated_in
from .radioactivity import radioactivity
from .scores import score

if TYPE_CHECKING:
    from ...proxies.executors import Executor
    from ...proxies.project import Project
    from ...workflows.run_curves import WrittenCurves

_FLOPS = "flops"
_YAML = (".yaml", ".yml", ".json")
TABLES = (".csv", ".csv.gz", ".parquet")
_PLAN_BUDGET = "2h"
out_option = click.option("--out", metavar="DIR", help="The project's folder (default: proxies, beside the space).")
workers_option = click.option("--workers", type=click.IntRange(1, 100_000), help="Train this many groups at once.")


@click.group()
def proxies() -> None:
    """Train small models for real: decide which, train them to the end, take their run table.

    \b
    Example:  simulate proxies train space.yaml        # simulate init writes one
              simulate proxies table proxies --out runs.csv
              simulate fit runs.csv --out predictor
    """


@proxies.command()
@click.argument("space", metavar="[SPACE]", required=False)
@out_option
@workers_option
@click.option("--after", metavar="DIR", help="Add a stage to this project, chosen from what its results leave open.")
@click.option("--target", metavar="KEY=VALUE,…", help="--after: the planned run, e.g. params=7B,tokens=140B,mix.web=1.")
@click.option("--config", metavar="FILE", help="--after: the planned run as a YAML file, instead of --target.")
@click.option("--budget", metavar="TIME|FLOPS", help="--after: 30min or 1e15FLOPs (default: the space's time budget).")
@click.option("--precision", metavar="SHARE", help="--after: stop once the 90 % interval is ± this, such as 2%.")
@json_option
def design(space: str | None, out: str | None, workers: int | None, as_json: bool, **after: str | None) -> None:
    """Turn a space (YAML) into a list of runs, and say what they will cost before any is trained.

    Prepares the corpus if that isn't done. What doesn't fit the space's time budget is dropped, and named.

    With --after, add a stage to a project that is trained: from sizes, token counts and mixes in and somewhat beyond
    its space, the runs that most narrow the forecast of the planned run for what they cost. With --precision and no
    budget, it says how many runs that takes.

    \b
    Example:  simulate proxies design space.yaml --out proxies
              simulate proxies design --after proxies --target params=100M,tokens=2B --budget 30min
    """
    project_folder = after.pop("after")
    if project_folder is not None:
        if space is not None or out is not None or workers is not None:
            raise UsageError("--after goes with a project's folder alone: no SPACE, --out or --workers")
        _design_next(project_folder, as_json, **after)
        return
    if space is None:
        raise UsageError("SPACE is missing; expected a space (.yaml), or --after with a project's folder")
    for name, value in after.items():
        if value is not None:
            raise UsageError(f"--{name} goes with --after")
    project = _create(space, out, workers)
    designed = project.design(project.learning_rate())
    facts = {
        **designed.to_dict(),
        "folder": str(project.folder),
        "run_list": [run.model_dump(mode="json") for run in designed.runs],
    }
    show(as_json, facts, lambda: _tables().design_view(designed, project.folder))


@proxies.command()
@click.argument("where", metavar="[DIR|SPACE]", required=False)
@out_option
@click.option("--engine", default="local", show_default=True, metavar="NAME", help="local (this machine) or ray.")
@click.option("--address", metavar="ADDRESS", help="ray: the cluster to use (default: this machine's).")
@workers_option
@click.option(
    "--plan", metavar="FILE", help="Train the run of this plan instead, on the text of DIR (default: proxies)."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="--plan: override a value of it.")
@click.option("--table", "table_out", metavar="FILE", help="--plan: write its row here (default: planned.csv).")
@click.option("--budget", metavar="TIME", help="--plan: train for at most this long (default: 2h).")
@log_json_option
@json_option
def train(
    where: str | None,
    out: str | None,
    engine: str,
    address: str | None,
    workers: int | None,
    log_json: bool,
    as_json: bool,
    **planned: Any,
) -> None:
    """Train what isn't done yet. Interrupted at any moment, the same command goes on from there.

    DIR is a folder made by `simulate proxies design`; a SPACE is designed first.

    With --plan, train the one run that a plan describes, where it is small enough, and write its row into a run table:
    what the plan doesn't state is the project's. `simulate score` then holds a forecast against the truth.

    \b
    Example:  simulate proxies train space.yaml
              simulate proxies train proxies --engine ray --address auto
              simulate proxies train --plan run.yaml && simulate score predictor planned.csv
    """
    from ...proxies.executors import get_executor

    if planned["plan"] is None:
        for name, option in {"overrides": "--set", "table_out": "--table", "budget": "--budget"}.items():
            if planned[name]:
                raise UsageError(f"{option} goes with --plan")
        if where is None:
            raise UsageError("DIR is missing; expected a project's folder or a space (.yaml), or --plan with a plan")
    executor = get_executor(engine, workers, address)
    if where is not None and Path(where).suffix in _YAML:
        project = _create(where, out, workers, log_json)
    elif out is None:
        project = _open(where or "proxies")
    else:
        raise UsageError("--out goes with a SPACE (a .yaml file); a project's folder is where it is")
    if planned["plan"] is not None:
        _train_plan(project, executor, log_json, as_json, **planned)
        return
    with progress_bar("training", log_json) as step:
        status = project.train(executor, step)
    show(as_json, status.to_dict(), lambda: _tables().trained_view(project.folder, status, project.time_spent()))


def _train_plan(
    project: Project,
    executor: Executor,
    log_json: bool,
    as_json: bool,
    plan: str,
    overrides: tuple[str, ...],
    table_out: str | None,
    budget: str | None,
) -> None:
    """Train the run of a plan, and write its row."""
    from ...simulator.config.run_config import RunConfig
    from ...workflows.planned_training import planned_proxy, train_planned

    out = table_out or "planned.csv"
    if not out.endswith(TABLES):
        raise UsageError(f"--table: got {shown(out)}; expected a file that ends in {', '.join(TABLES)}")
    most_s = parse_budget(budget or _PLAN_BUDGET).wall_clock_s
    if most_s is None:
        raise UsageError(f"--budget: got {shown(budget)}; expected wall clock such as 30min with --plan")
    config = RunConfig.load(plan, overrides)
    with stated_in(plan):
        run = planned_proxy(project, config, most_s)
    with progress_bar("training", log_json) as step:
        trained = train_planned(project, run, executor, out, step)
    show(as_json, trained.to_dict(), lambda: _tables().planned_view(trained))


@proxies.command()
@click.argument("folder", metavar="DIR")
@json_option
def status(folder: str, as_json: bool) -> None:
    """How far a project is: runs by state, tokens per second, time left. May be asked while it trains.

    \b
    Example:  simulate proxies status proxies --json
    """
    statuses = _open(folder).statuses()
    stages = {name: status.to_dict() for name, status in statuses.items()}
    # the main stage's facts stand on top too, where pipelines look for them
    facts = {**stages.get("main", {}), "stages": stages}
    show(as_json, facts, lambda: _tables().status_view(statuses))


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
    rows = len(runs.frame)
    losses = list(runs.loss_columns)
    facts = {"out": out, "rows": rows, "targets": losses, "digest": runs.digest()}
    show(as_json, facts, lambda: f"wrote {out}: {rows} rows, {', '.join(losses)}")


@proxies.command()
@click.argument("folder", metavar="DIR")
@click.option("--out", metavar="DIR", required=True, help="Write the curves and plans into this folder.")
@json_option
def curves(folder: str, out: str, as_json: bool) -> None:
    """Write the loss curve and the plan of each run that is done, for `simulate curve fit` and `simulate track`.

    \b
    Example:  simulate proxies curves proxies --out curves && simulate curve fit curves --out law
    """
    from ...workflows.run_curves import write_curves

    written = write_curves(_open(folder), out)
    show(as_json, written.to_dict(), lambda: _curves_text(written, out))


def _curves_text(written: WrittenCurves, out: str) -> str:
    """What was written, and what can be done with it."""
    diverged = f"; {len(written.left_out)} that diverged are left out" if written.left_out else ""
    law = f"simulate curve fit {shlex.quote(out)} --out law"
    plan, log = (shlex.quote(f"{out}/{part}") for part in written.files(written.largest))
    lines = [
        f"wrote {out}: {len(written.run_ids)} runs, each with its plan{diverged}",
        law,
        f"simulate track --config {plan} --log {log} --predictor predictor --curves law",
    ]
    if written.averaged:
        lines.append(
            "! these are training losses; a predictor fitted on the run table speaks of averaged weights, whose loss "
            "is lower while the rate is high: against it a run may count as behind"
        )
    return "\n".join(lines)


def _create(space: str, out: str | None, workers: int | None, log_json: bool = False) -> Project:
    from ...proxies.project import Project

    folder = Path(space).parent / "proxies" if out is None else Path(out)
    with progress_bar("preparing", log_json) as step:
        return Project.create(folder, space, workers, step)


def _design_next(
    folder: str, as_json: bool, target: str | None, config: str | None, budget: str | None, precision: str | None
) -> None:
    """Add a stage to a project that is trained."""
    from ...workflows.next_stage import next_stage

    if (target is None) == (config is None):
        raise UsageError("which run is planned? expected --target params=…,tokens=… or --config FILE, one of the two")
    limit = None if budget is None else parse_budget(budget)
    wanted = None if precision is None else parse_precision(precision)
    planned = planned_from_config(str(config)) if target is None else planned_from_text(target)
    project = _open(folder)
    if limit is None and wanted is None:
        if project.space.time_budget is None:
            raise UsageError("--budget is missing, and the space has no time_budget; expected --budget or --precision")
        limit = StageBudget(wall_clock_s=project.space.time_budget)
    with progress_bar("choosing") as step:
        stage = next_stage(project, planned, limit or StageBudget(), wanted, progress=step)
    show(as_json, stage.to_dict(), lambda: _tables().next_view(stage, project.folder))


def parse_budget(text: str) -> StageBudget:
    """`30min` (wall clock, all workers together) or `1e15FLOPs`. Raises UsageError."""
    plain = text.strip()
    is_flops = plain.lower().endswith(_FLOPS)
    try:
        amount = parse_count(plain[: -len(_FLOPS)].strip()) if is_flops else parse_duration_s(plain)
    except ConfigError:
        amount = float("nan")
    if not amount > 0:
        raise UsageError(f"--budget: got {shown(text)}; expected wall clock such as 30min, or 1e15FLOPs")
    return StageBudget(training_flops=amount) if is_flops else StageBudget(wall_clock_s=amount)


def parse_precision(text: str) -> float:
    """`2%` or `0.02` as a fraction. Raises UsageError."""
    try:
        value = parse_share(text)
    except ConfigError:
        value = float("nan")
    if not 0 < value < 1:
        raise UsageError(f"--precision: got {shown(text)}; expected a share of the loss, such as 2% or 0.02")
    return value


def planned_from_text(text: str) -> dict[str, float]:
    """`params=7B,tokens=140B,mix.web=0.7,mix.code=0.3` as numbers. Raises UsageError."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        is_share = name.startswith("mix.") and name != "mix."
        known = is_share or name in SIZES
        if not equals or not known or name in found:
            raise UsageError(
                f"--target: got {shown(part.strip())}; expected params=7B,tokens=140B and shares mix.<domain>=0.5, "
                "each once"
            )
        try:
            found[name] = parse_count(value)
        except ConfigError as error:
            raise UsageError(f"--target: {name}: {error}") from None
    for name in SIZES:
        if not found.get(name, 0.0) > 0:
            raise UsageError(f"--target: {name} is missing; expected params=7B,tokens=140B")
    return found


def planned_from_config(path: str) -> dict[str, float]:
    """The same from a run's YAML: all parameters, tokens, and the mix where it is stated. Raises ConfigError."""
    from ...simulator.config.run_config import RunConfig

    run = RunConfig.load(path)
    found = {"params": run.model.params_total, "tokens": run.data.tokens}
    for domain, share in (run.data.mix or {}).items():
        found[f"mix.{domain}"] = share
    return found


def _open(folder: str) -> Project:
    from ...proxies.project import Project

    return Project.open(folder)


def _tables() -> Any:
    from ...simulator.report.tables import proxies as proxy_tables

    return proxy_tables


proxies.add_command(radioactivity)
proxies.add_command(score)
