"""`simulate report`: one file that a meeting can decide on."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ...core.errors import UsageError
from .._shared import step_times
from .predict import calibration_option, predictor_option


@click.command()
@click.argument("plans", nargs=-1, metavar="PLAN…")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value in every plan.")
@predictor_option
@calibration_option
@click.option(
    "--out",
    multiple=True,
    metavar="FILE",
    help="Where to write it: .html (default: report.html), .md or .pdf; may be given several times.",
)
def report(
    plans: tuple[str, ...],
    overrides: tuple[str, ...],
    predictor: str,
    calibration: str | None,
    out: tuple[str, ...],
) -> None:
    """Write a report to decide on: the decision, four numbers, the pictures behind them, doubts, how to make it again.

    Of one plan, or of several, each against the first. The HTML is one file that needs no network; a PDF is printed by
    Chromium, Chrome or Edge, if one is installed.

    \b
    Example:  simulate report run.yaml
              simulate report baseline.yaml larger.yaml --out report.html --out report.pdf
    """
    from ...simulator.config.run_config import RunConfig
    from ...simulator.forecast.compare import compare
    from ...simulator.forecast.forecast import forecast
    from ...simulator.predictor.storage.folder import load
    from ...simulator.report.documents.plans import plan_document, plans_document
    from ...simulator.report.documents.writing import save_report

    targets = out or ("report.html",)
    if not plans:
        raise UsageError("simulate report: give a plan (simulate report run.yaml)")
    runs = [RunConfig.load(path, overrides) for path in plans]
    fitted, times = load(predictor), step_times(calibration)
    again = [
        "simulate report " + shlex.join([*plans, *(f"--set={one}" for one in overrides), "--predictor", predictor])
    ]
    if len(runs) == 1:
        document = plan_document(forecast(runs[0], fitted, times), fitted, again)
    else:
        document = plans_document(compare(runs, fitted, times), fitted, again)
    for path in targets:
        save_report(document, path)
        click.echo(f"wrote {Path(path)}: {document.title}")
