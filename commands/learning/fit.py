"""`simulate fit`, `score`, `backtest`: from a table of runs to a predictor, and how good it is."""

from __future__ import annotations

from typing import Any

import click

from ...core.errors import UsageError
from .._shared import (
    chart_option,
    columns_option,
    json_option,
    log_json_option,
    progress_bar,
    read_table,
    show,
    tables,
    tokenizer_option,
    where_option,
)

_LAW_HELP = "auto, or a name: chinchilla, general, kaplan, general+repetition, general+lr_batch, …"


@click.command()
@click.argument("runs", metavar="RUNS")
@click.option("--out", metavar="DIR", help="Write the predictor here.")
@click.option("--law", default="auto", show_default=True, metavar="NAME", help=_LAW_HELP)
@click.option("--prior", default="auto", show_default=True, metavar="NAME", help="auto, public, weak or none.")
@click.option("--like", metavar="NAME", help="A corpus that the runs' text is like, where the table names none.")
@click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="Fix a parameter: E, alpha, beta, gamma, …")
@click.option("--by", metavar="COLUMN", help="Fit a law to each value of a column, as the target loss.VALUE.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Seed of the draws.")
@columns_option
@tokenizer_option
@where_option
@log_json_option
@json_option
def fit(
    runs: str,
    out: str | None,
    as_json: bool,
    log_json: bool,
    fixed: tuple[str, ...],
    columns: str | None,
    tokenizer: str | None,
    where: tuple[str, ...],
    **how: Any,
) -> None:
    """Fit scaling laws to a table of runs (CSV or Parquet, also W&B and MLflow exports).

    With law auto, the terms are those that the columns can identify, and the public tables' prior keeps a dozen small
    runs sane; a law that is named is fitted without a prior. Every loss column becomes a target; perplexities and bits
    become nats. Several rows of one run that differ in tokens are a curve.

    \b
    Example:  simulate fit runs.csv --columns params=N,tokens=D --out mine
              simulate predict --predictor mine --config run.yaml
    """
    from ...simulator.predictor.predictor import Predictor
    from ...simulator.predictor.storage.folder import check_destination, save
    from ...simulator.predictor.storage.format import to_dict

    if out is not None:
        check_destination(out)  # before minutes of work, not after
    table = read_table(runs, columns, tokenizer, where)
    parameters = _fixed(fixed)
    with progress_bar("fitting", log_json) as step:
        fitted = Predictor.fit(table, fixed=parameters, name=out or "predictor", progress=step, **how)
    if out is not None:
        save(fitted, out)
    facts = {**to_dict(fitted), "out": out, "table_notes": list(table.notes)}
    show(as_json, facts, lambda: tables().fit_view(fitted, out))


@click.command()
@click.argument("predictor", metavar="DIR")
@click.argument("runs", metavar="RUNS")
@columns_option
@tokenizer_option
@where_option
@json_option
def score(
    predictor: str, runs: str, columns: str | None, tokenizer: str | None, where: tuple[str, ...], as_json: bool
) -> None:
    """Score a predictor on runs that it has not seen: errors, rank correlation, interval coverage.

    \b
    Example:  simulate score mine larger_runs.csv --json
    """
    from ...simulator.predictor.evaluation.scoring import score as score_runs
    from ...simulator.predictor.storage.folder import load

    fitted, table = load(predictor), read_table(runs, columns, tokenizer, where)
    with progress_bar("scoring") as step:
        result = score_runs(fitted, table, progress=step)
    show(as_json, result, lambda: tables().score_view(result))


@click.command()
@click.argument("runs", metavar="RUNS")
@columns_option
@tokenizer_option
@where_option
@chart_option("predicted against observed losses, and whether the intervals hold")
@json_option
def backtest(
    runs: str,
    columns: str | None,
    tokenizer: str | None,
    where: tuple[str, ...],
    chart: str | None,
    as_json: bool,
) -> None:
    """Back-test every applicable law: fit the small runs, predict the larger ones, cut after cut.

    \b
    Example:  simulate backtest runs.csv --chart calibration.html
    """
    from ...simulator.predictor.evaluation.backtesting import backtest_table, flatten

    table = read_table(runs, columns, tokenizer, where)
    with progress_bar("back-testing") as step:
        results = backtest_table(table, progress=step)
    if chart is not None:
        from ...simulator.report.charts.runs.calibration import backtest_pictures
        from ...simulator.report.charts.writing import save_pictures

        save_pictures(backtest_pictures(results, table.where), chart)
    show(as_json, flatten(results), lambda: tables().backtest_view(results))


def _fixed(pairs: tuple[str, ...]) -> dict[str, float]:
    """`("gamma=1", "E=1.7")` as a dictionary of numbers."""
    values = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--fix: got {pair!r}; expected NAME=NUMBER, such as gamma=1") from None
    return values
