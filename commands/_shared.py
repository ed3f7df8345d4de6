"""What the commands share: options, reading a table, showing a result, a progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..core.errors import InfeasibleError, InputError, LogError, UsageError

_WHOLE_LINES = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON with the same facts as the table.")
columns_option = click.option(
    "--columns", metavar="STD=COL,…", help="Which column is which, e.g. params=N,tokens=D,loss=val_loss."
)


def read_table(path: str, columns: str | None):
    """Read a run table; what the reader noted goes to standard error."""
    from ..datasets.runs.run_table import RunTable

    table = RunTable.read(path, columns_mapping(columns))
    for note in table.notes:
        click.echo(f"{table.where}: {note}", err=True)
    return table


def columns_mapping(columns: str | None) -> dict[str, str] | None:
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


def positive(option: str, text: str, parse: Callable[[str], float], expected: str) -> float:
    """What `parse` reads in an option's text, which must be above 0. Raises UsageError that names the option."""
    from ..core.units import shown

    try:
        value = parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if not value > 0:
        raise UsageError(f"{option}: got {shown(text)}; expected {expected}")
    return value


@contextmanager
def stated_in(path: str) -> Iterator[None]:
    """Name the file of a plan or a table in what turns out to be wrong with it after it has been read."""
    try:
        yield
    except LogError:
        raise  # which names its own file
    except (InputError, InfeasibleError) as error:
        raise type(error)("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error


def step_times(path: str | None) -> Any:
    """The calibrated step-time model at a path, None for none."""
    from ..simulator.cluster.step_time.step_model import StepTimeModel

    return None if path is None else StepTimeModel.load(path)


def tables() -> Any:
    """The views of predictors and forecasts, imported when they are needed."""
    from ..simulator.report.tables import forecast as tables

    return tables


def show(as_json: bool, facts: dict[str, Any], view: Callable[[], Any]) -> None:
    """Print the facts as JSON, or the view as a table."""
    if as_json:
        click.echo(json.dumps(facts, indent=2, allow_nan=False))
        return
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False, markup=False).print(view())
        return
    # off a terminal a line must not be broken where a reader or a grep expects it whole, nor end in blanks
    console = Console(highlight=False, markup=False, width=_WHOLE_LINES)
    with console.capture() as captured:
        console.print(view())
    click.echo("\n".join(line.rstrip() for line in captured.get().split("\n")), nl=False)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[str, float], None] | None]:
    """A progress bar on standard error; nothing when that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda text, share: bar.update(task, description=f"{what}: {text}", completed=share)
