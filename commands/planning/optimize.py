"""`simulate optimize`: search for a better plan."""

from __future__ import annotations

import click

from ...core.errors import InfeasibleError, UsageError
from .._shared import chart_option, json_option, log_json_option, progress_bar, show


@click.command()
@click.option("--config", required=True, metavar="FILE", help="The study: run, space, objective, constraints. YAML.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the run.")
@click.option("--predictor", metavar="NAME|DIR", help="Predictor to use instead of the study's.")
@click.option("--trials", type=click.IntRange(1), metavar="N", help="Plans to try in all, instead of search.trials.")
@click.option("--storage", metavar="FILE|URL", help="Where trials are kept: a file, a database's URL, or memory.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes to run.")
@click.option("--worker", is_flag=True, hidden=True)
@click.option("--out", metavar="FILE", help="Write the best plan here, as a run configuration.")
@chart_option("the search")
@log_json_option
@json_option
def optimize(
    config: str,
    overrides: tuple[str, ...],
    predictor: str | None,
    trials: int | None,
    storage: str | None,
    processes: int,
    worker: bool,
    out: str | None,
    chart: str | None,
    log_json: bool,
    as_json: bool,
) -> int:
    """Search data mixes and compute allocations for a better plan: any field of the run may vary.

    The trials are kept, in a journal of the study's own under studies/ unless --storage or search.storage says where:
    the same command goes on where it was interrupted, and several processes share the work. Exit code 4 if no plan
    keeps every limit; the answer then names the smallest relaxation.

    \b
    Example:  simulate optimize --config examples/study.yaml --out best.yaml --chart study.html
              simulate optimize --config study.yaml --storage study.journal --trials 1000 --processes 2
    """
    from ...simulator.predictor.storage.folder import load
    from ...simulator.search.optimize import optimize as search
    from ...simulator.search.optimize import work
    from ...simulator.search.study import Study
    from ...simulator.search.trials.workers import workers

    if storage is not None and not storage.strip():
        raise UsageError("--storage: is empty; expected a file, a database's URL, or memory")
    _check_destinations(out, chart)  # before minutes of work, not after
    fitted = None if predictor is None else load(predictor)
    study = Study.load(config, overrides, fitted)
    total = trials or study.options.trials
    where = study.kept_in() if storage is None else storage
    if worker:
        work(study, trials=total, storage=where)
        return 0
    passed_on = []  # to the other processes
    for override in overrides:
        passed_on += ["--set", override]
    if predictor is not None:
        passed_on += ["--predictor", predictor]
    with progress_bar("searching", log_json) as step, workers(processes - 1, config, where, total, passed_on):
        found = search(study, trials=total, storage=where, progress=step)
    if chart is not None:
        _draw(found, chart)
    if out is not None and found.feasible:
        found.save_best(out)
    show(as_json, found.to_dict(), lambda: _view(found))
    try:
        found.require_feasible()
    except InfeasibleError as error:
        click.echo(f"simulate: {error}", err=True)  # the answer stands on standard output all the same
        return error.exit_code
    return 0


def _draw(found, path: str) -> None:
    """The pictures of a study as a file; a word on standard error where there is no plan to draw."""
    from ...simulator.report.charts.planning.study import study_pictures
    from ...simulator.report.charts.writing import save_pictures

    pictures = study_pictures(found)
    if pictures:
        save_pictures(pictures, path)
    else:
        click.echo(f"--chart {path}: not written, as no plan keeps every limit", err=True)


def _check_destinations(out: str | None, chart: str | None) -> None:
    """Raise UsageError for files that couldn't be written."""
    from pathlib import Path

    for option, name in (("--out", out), ("--chart", chart)):
        if name is not None and not Path(name).resolve().parent.is_dir():
            raise UsageError(f"{option} {name}: there is no folder {Path(name).parent}; expected one that exists")


def _view(found):
    from ...simulator.report.tables.study import study_view

    return study_view(found)
