"""`simulate report`: one file that a meeting can decide on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...core.errors import UsageError
from .._shared import command_again, log_json_option, progress_bar, read_table, step_times
from .._sketch import named, sketch, sketch_options
from .predict import calibration_option, predictor_option

if TYPE_CHECKING:
    from ...core.progress import Progress
    from ...simulator.config.run_config import RunConfig
    from ...simulator.report.documents.document import Document

_ONE_OF = "plans, --study, --log with one plan, or --backtest"


@click.command()
@click.argument("plans", nargs=-1, metavar="[PLAN…]")
@sketch_options
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value in every plan or study.")
@predictor_option
@calibration_option
@click.option("--study", metavar="FILE", help="Report a study: the best plan against the run as it is.")
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Plans that --study tries.")
@click.option("--log", metavar="FILE", help="Report a running job of the plan by its log.")
@click.option(
    "--backtest",
    metavar="RUNS",
    help="Report how far the laws of a table of runs may be trusted, alone or beside a plan.",
)
@click.option(
    "--out",
    multiple=True,
    metavar="FILE",
    help="Where to write it: .html (default: report.html), .md or .pdf; may be given several times.",
)
@log_json_option
def report(
    plans: tuple[str, ...],
    overrides: tuple[str, ...],
    predictor: str,
    calibration: str | None,
    study: str | None,
    trials: int | None,
    log: str | None,
    backtest: str | None,
    out: tuple[str, ...],
    log_json: bool,
    **words: str | None,
) -> None:
    """Write a report to decide on: the decision, four numbers, the pictures behind them, doubts, how to make it again.

    Of one plan, of several, each against the first, of a study, of a running job or of a back-test. A plan needs no
    file: --params, --tokens and --on make one. The HTML is one file that needs no network; a PDF is printed by
    Chromium, Chrome or Edge, if one is installed.

    \b
    Example:  simulate report --params 7B --tokens 2T --on 512xH100
              simulate report baseline.yaml larger.yaml --out report.html --out report.pdf
              simulate report --study examples/study.yaml
              simulate report run.yaml --log metrics.jsonl
    """
    from ...simulator.report.documents.writing import check_report_format, save_report

    targets = out or ("report.html",)
    for path in targets:
        check_report_format(path)  # before minutes of work, not after
    stated = {name: text for name, text in words.items() if text is not None}
    what = [kind for kind, given in (("study", study), ("backtest", backtest), ("plans", plans or stated)) if given]
    beside = what == ["backtest", "plans"] and log is None  # the calibration of the runs that the plan rests on
    if (len(what) != 1 and not beside) or (log is not None and (what != ["plans"] or len(plans) + bool(stated) != 1)):
        raise UsageError(f"report: expected one of {_ONE_OF}")
    if plans and stated:
        raise UsageError(f"report: got a plan and {', '.join(named(words))}; expected one of the two")
    unread = {
        "--trials": trials is not None and study is None,
        "--set": bool(overrides) and what == ["backtest"],
        "--predictor": predictor != "web-text" and ("plans" not in what or log is not None),
        "--calibration": calibration is not None and "plans" not in what,
    }
    if any(unread.values()):
        said = ", ".join(option for option, given in unread.items() if given)
        raise UsageError(f"report: {said} says nothing about this kind of report; expected it left out")
    with progress_bar("reporting", log_json) as step:
        if study is not None:
            document = _of_study(study, overrides, trials, step)
        elif what == ["backtest"]:
            document = _of_backtest(str(backtest), step)
        else:
            runs = _planned(plans, words, overrides)
            document = (
                _of_plans(runs, predictor, calibration, step)
                if log is None
                else _of_job(runs[0], log, calibration, step)
            )
        if beside:
            document = _beside(document, str(backtest), step)
    document = replace(document, commands=(command_again("out", "log_json"),))
    for path in targets:
        save_report(document, path)
        click.echo(f"wrote {Path(path)}: {document.title}")


def _planned(plans: tuple[str, ...], words: dict[str, str | None], overrides: tuple[str, ...]) -> list[RunConfig]:
    """The plans of files, or the one of a few words."""
    from ...simulator.config.run_config import RunConfig

    return [RunConfig.load(path, overrides) for path in plans] or [sketch(words).config(list(overrides), folder=".")]


def _of_plans(runs: list[RunConfig], predictor: str, calibration: str | None, step: Progress) -> Document:
    from ...simulator.forecast.compare import compare
    from ...simulator.forecast.forecast import forecast
    from ...simulator.predictor.storage.folder import load
    from ...simulator.report.documents.contents.plans import plan_document, plans_document

    step("forecasting", 0.1)
    fitted, times = load(predictor), step_times(calibration)
    if len(runs) == 1:
        return plan_document(forecast(runs[0], fitted, times), fitted, step_times=times)
    return plans_document(compare(runs, fitted, times), fitted, step_times=times)


def _of_job(run: RunConfig, log: str, calibration: str | None, step: Progress) -> Document:
    from ...simulator.report.documents.contents.tracking import tracking_document
    from ...simulator.tracking.track import predictor_for, track

    times = step_times(calibration)
    return tracking_document(track(run, log, predictor_for(run, None), step_times=times, progress=step))


def _of_study(path: str, overrides: tuple[str, ...], trials: int | None, step: Progress) -> Document:
    from ...simulator.report.documents.contents.study import study_document
    from ...simulator.search.optimize import optimize
    from ...simulator.search.study import Study

    study = Study.load(path, overrides)
    return study_document(optimize(study, trials=trials, storage=study.kept_in(), progress=step))


def _of_backtest(path: str, step: Progress) -> Document:
    from ...simulator.predictor.evaluation.backtesting import backtest_table
    from ...simulator.report.documents.contents.backtest import backtest_document

    return backtest_document(backtest_table(read_table(path, None), progress=step), Path(path).name)


def _beside(document: Document, path: str, step: Progress) -> Document:
    """A plan's report with the back-test of the runs that its predictor was fitted on."""
    from ...simulator.predictor.evaluation.backtesting import backtest_table
    from ...simulator.report.documents.contents.backtest import backtest_section

    section = backtest_section(backtest_table(read_table(path, None), progress=step), Path(path).name)
    return replace(document, sections=(*document.sections, section))
