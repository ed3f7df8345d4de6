"""`simulate`: parse the command line, call one library function, show what it returns. No logic lives here.

Libraries are imported inside the commands, so that `simulate --help` and `simulate predict` start at once.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from . import __version__
from .errors import ForetrainError, ForetrainWarning, UsageError

_EXIT_INTERNAL = 5
_EXIT_INTERRUPTED = 130
_WHOLE_LINES = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON with the same facts as the table.")
columns_option = click.option(
    "--columns", metavar="STD=COL,…", help="Which column is which, e.g. params=N,tokens=D,loss=val_loss."
)
law_help = "auto, or a name: chinchilla, general, kaplan, general+repetition, general+lr_batch, …"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="simulate")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def simulate(context: click.Context, debug: bool) -> None:
    """Simulate an LLM pretraining run before anyone pays for it.

    \b
    Start here:  simulate init .  &&  simulate predict --config run.yaml
    """
    context.obj = {"debug": debug}


@simulate.command()
@click.option("--config", required=True, metavar="FILE", help="The planned run, YAML or JSON.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. data.tokens=2T.")
@click.option("--predictor", default="web-text", show_default=True, metavar="NAME|DIR", help="See below.")
@click.option("--chart", metavar="FILE", help="Also draw perplexity against tokens: .html, .svg or .png.")
@json_option
def predict(config: str, overrides: tuple[str, ...], predictor: str, chart: str | None, as_json: bool) -> None:
    """Predict a planned run's perplexity, with an interval, and say what it rests on.

    PREDICTOR is a folder made by `simulate fit`, or one that ships with foretrain: web-text (pooled, corpus and
    tokenizer unknown), chinchilla-massivetext, olmo-c4, repeats-c4, routing-moe, steplaw.

    \b
    Example:  simulate predict --config examples/llama-7b.yaml --set data.tokens=1T --predictor olmo-c4
    """
    from .simulator.config import RunConfig
    from .simulator.forecast import forecast
    from .simulator.predictor_io import load

    plan, fitted = RunConfig.load(config, overrides), load(predictor)
    result = forecast(plan, fitted)
    if chart is not None:
        from .simulator.report.charts import forecast_chart, save_chart

        save_chart(forecast_chart(result, fitted), chart)
    _show(as_json, result.to_dict(), lambda: _tables().forecast_view(result))


@simulate.command()
@click.argument("runs", metavar="RUNS")
@click.option("--out", metavar="DIR", help="Write the predictor here.")
@click.option("--law", default="auto", show_default=True, metavar="NAME", help=law_help)
@click.option("--prior", default="auto", show_default=True, metavar="NAME", help="auto, public, weak or none.")
@click.option("--fix", "fixed", multiple=True, metavar="NAME=VALUE", help="Hold a parameter: E, alpha, beta, gamma, …")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Seed of the draws.")
@columns_option
@json_option
def fit(runs: str, out: str | None, as_json: bool, fixed: tuple[str, ...], columns: str | None, **how: Any) -> None:
    """Fit scaling laws to a table of runs (CSV or Parquet, also W&B and MLflow exports).

    With law auto, the terms are those that the columns can identify, and the public tables' prior keeps a dozen small
    runs sane; a law that is named is fitted without a prior. Every loss column becomes a target.

    \b
    Example:  simulate fit runs.csv --columns params=N,tokens=D --out mine
              simulate predict --predictor mine --config run.yaml
    """
    from .simulator.predictor import Predictor
    from .simulator.predictor_format import to_dict
    from .simulator.predictor_io import check_destination, save

    if out is not None:
        check_destination(out)  # before minutes of work, not after
    table = _read(runs, columns)
    with _progress("fitting") as step:
        fitted = Predictor.fit(table, fixed=_fixed(fixed), name=out or "predictor", progress=step, **how)
    if out is not None:
        save(fitted, out)
    _show(
        as_json,
        {**to_dict(fitted), "out": out, "table_notes": list(table.notes)},
        lambda: _tables().fit_view(fitted, out),
    )


@simulate.command()
@click.argument("predictor", metavar="DIR")
@click.argument("runs", metavar="RUNS")
@columns_option
@json_option
def score(predictor: str, runs: str, columns: str | None, as_json: bool) -> None:
    """Score a predictor on runs that it has not seen: errors, rank correlation, interval coverage.

    \b
    Example:  simulate score mine larger_runs.csv --json
    """
    from .simulator.predictor_io import load
    from .simulator.scoring import score as score_runs

    result = score_runs(load(predictor), _read(runs, columns))
    _show(as_json, result, lambda: _tables().score_view(result))


@simulate.command()
@click.argument("runs", metavar="RUNS")
@columns_option
@json_option
def backtest(runs: str, columns: str | None, as_json: bool) -> None:
    """Back-test every applicable law: fit the small runs, predict the larger ones, cut after cut.

    \b
    Example:  simulate backtest runs.csv
    """
    from .simulator.backtesting import backtest_table, flatten

    table = _read(runs, columns)
    with _progress("back-testing") as step:
        results = backtest_table(table, progress=step)
    _show(as_json, flatten(results), lambda: _tables().backtest_view(results))


@simulate.command()
@click.argument("folder", metavar="DIR", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a run configuration instead.")
@click.option("--force", is_flag=True, help="Overwrite run.yaml if it is there.")
def init(folder: str | None, schema: bool, force: bool) -> None:
    """Write a commented run.yaml into DIR to start from, or print the JSON Schema of such a file.

    \b
    Example:  simulate init .
              simulate init --schema > run.schema.json
    """
    from .simulator.starter import write_starter

    if schema == (folder is not None):
        raise UsageError("simulate init: give either a folder (simulate init DIR) or --schema")
    if folder is None:
        from .simulator.config import RunConfig

        click.echo(json.dumps(RunConfig.json_schema(), indent=2))
        return
    written = write_starter(folder, overwrite=force)
    click.echo(f"wrote {written}: simulate predict --config {written}")


def _read(path: str, columns: str | None):
    from .datasets.run_table import RunTable

    table = RunTable.read(path, _mapping(columns))
    for note in table.notes:
        click.echo(f"{table.where}: {note}", err=True)
    return table


def _mapping(columns: str | None) -> dict[str, str] | None:
    """`params=N,tokens=D` as a dictionary."""
    if columns is None:
        return None
    pairs = [part.partition("=") for part in columns.split(",")]
    for standard, equals, name in pairs:
        if not (standard.strip() and equals and name.strip()):
            raise UsageError(f"--columns: got {standard + equals + name!r}; expected STANDARD=COLUMN, such as params=N")
    if len({standard.strip() for standard, _, _ in pairs}) < len(pairs):
        raise UsageError(f"--columns: {columns!r} names a standard column twice")
    return {standard.strip(): name.strip() for standard, _, name in pairs}


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


def _tables() -> Any:
    from .simulator.report import tables

    return tables


def _show(as_json: bool, facts: dict[str, Any], view: Callable[[], Any]) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2, allow_nan=False))
        return
    from rich.console import Console

    terminal = sys.stdout.isatty()
    # off a terminal a line must not be broken where a reader or a grep expects it whole
    Console(highlight=False, markup=False, width=None if terminal else _WHOLE_LINES).print(view())


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str, float], None] | None]:
    """A progress bar on standard error; nothing when that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda text, share: bar.update(task, description=f"{what}: {text}", completed=share)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 ok, 2 usage, 3 bad input, 4 infeasible, 5 internal, 130 interrupted."""
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe's encoding may lack α and ±
    warnings.simplefilter("default", ForetrainWarning)
    warnings.showwarning = _show_warning
    try:
        simulate.main(arguments, prog_name="simulate", standalone_mode=False)
        code = 0
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was left half-written", err=True)
        code = _EXIT_INTERRUPTED
    except ForetrainError as error:
        _say(debug, f"simulate: {error}")
        code = error.exit_code
    except Exception as error:
        _say(debug, f"simulate: internal error: {type(error).__name__}: {error} (`simulate --debug …` shows where)")
        code = _EXIT_INTERNAL
    sys.exit(code)


def _say(debug: bool, message: str) -> None:
    """One line on standard error; before it the traceback, if asked for."""
    if debug:
        traceback.print_exc()
    click.echo(message, err=True)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"warning: {message}", err=True)
