"""What the commands share: options, reading a table, showing a result, a progress bar."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from ..core.errors import InfeasibleError, InputError, LogError, UsageError
from ..core.output.plain import bounded_words, visible
from ..core.output.streams import trusted
from ..core.progress import Progress, ProgressLines

_WHOLE_LINES = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON with the same facts as the table.")
log_json_option = click.option(
    "--log-json", is_flag=True, help="Tell progress on standard error as JSON, one line per event."
)
columns_option = click.option(
    "--columns", metavar="STD=COL,…", help="Name the table's columns, e.g. params=N,tokens=D,loss=val_loss."
)

tokenizer_option = click.option(
    "--tokenizer", metavar="NAME", help="Tokenizer of runs that state none, for losses in bits per byte, e.g. llama3."
)
where_option = click.option(
    "--where", multiple=True, metavar="COLUMN=VALUE", help="Take only the runs with this value, e.g. corpus=web."
)


def chart_option(what: str) -> Callable[[Any], Any]:
    """`--chart FILE`, which draws `what`; what can't be drawn is refused before minutes of work, not after."""
    return click.option(
        "--chart", metavar="FILE", callback=_drawable, help=f"Also draw {what}: .html, .svg, .png or .pdf."
    )


def _drawable(_context: click.Context, _option: click.Parameter, path: str | None) -> str | None:
    if path is not None:
        from ..simulator.report.charts.writing import check_format

        check_format(path)
    return path


def read_table(path: str, columns: str | None, tokenizer: str | None = None, where: tuple[str, ...] = ()):
    """Read a run table, or those of its rows where `COLUMN=VALUE` holds; what was noted goes to standard error."""
    from ..datasets.runs.run_table import RunTable

    wanted = {}
    for pair in where:
        column, equals, value = pair.partition("=")
        if not (column and equals):
            raise UsageError(f"--where: got {pair!r}; expected COLUMN=VALUE, such as corpus=web")
        wanted[column.strip()] = value.strip()
    table = RunTable.read(path, columns_mapping(columns), tokenizer=tokenizer)
    for note in table.notes:
        click.echo(f"{table.where}: {note}", err=True)
    return table.rows_where(wanted) if wanted else table


def columns_mapping(columns: str | None) -> dict[str, str] | None:
    """`params=N,tokens=D` as a dictionary; None for None. Raises UsageError."""
    if columns is None:
        return None
    mapping: dict[str, str] = {}
    twice = False
    for pair in columns.split(","):
        standard, _, name = pair.partition("=")
        standard, name = standard.strip(), name.strip()
        if not standard or not name:
            raise UsageError(f"--columns: got {pair!r}; expected STANDARD=COLUMN, such as params=N")
        twice = twice or standard in mapping
        mapping[standard] = name
    if twice:
        raise UsageError(f"--columns: {columns!r} names a standard column twice")
    return mapping


def positive(option: str, text: str, parse: Callable[[str], float], expected: str) -> float:
    """Read an option's number, which must be above 0.

    Args:
        option: Its name, for messages.
        text: What was given.
        parse: Reads the text; raises ValueError for what it can't read.
        expected: What would be accepted, for messages.

    Raises:
        UsageError: The text is no number above 0.
    """
    from ..core.units import shown

    try:
        value = parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if not value > 0:
        raise UsageError(f"{option}: got {shown(text)}; expected {expected}")
    return value


def command_again(*but: str) -> str:
    """The command that is running, as one types it, with what was given to it.

    Args:
        but: Parameters that are left out, such as where the answer is written.
    """
    context = click.get_current_context()
    found = context.command_path.split()
    for parameter in context.command.params:
        name = str(parameter.name)
        if name in but or context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(parameter, click.Option):
                found.append(parameter.opts[0])
            found += [] if isinstance(one, bool) else [str(one)]
    return shlex.join(found)


def writable_report(path: str) -> None:
    """Raise UsageError for a --report that can't be written: before minutes of work, not after."""
    from ..simulator.report.documents.writing import check_report_format

    check_report_format(path, "--report")
    if not Path(path).parent.is_dir() or Path(path).is_dir():
        raise UsageError(f"--report {path}: can't be written; expected a file in a folder that is there")


@contextmanager
def stated_in(path: str) -> Iterator[None]:
    """Put a file's name before each line of an error about what it states, found after it was read."""
    try:
        yield
    except LogError:
        raise  # which names its own file
    except (InputError, InfeasibleError) as error:
        lines = [f"{path}: {line}" for line in str(error).splitlines()]
        raise type(error)("\n".join(lines)) from error


def step_times(path: str | None) -> Any:
    """The calibrated step-time model at a path, None for none."""
    from ..simulator.cluster.step_time.step_model import StepTimeModel

    if path is None:
        return None
    return StepTimeModel.load(path)


def tables() -> Any:
    """The views of predictors and forecasts, imported when they are needed."""
    from ..simulator.report.tables import forecast as tables

    return tables


def show(as_json: bool, facts: dict[str, Any], view: Callable[[], Any]) -> None:
    """Print the facts as JSON, or the view as a table."""
    if as_json:
        click.echo(json.dumps(facts, indent=2, allow_nan=False))
        return
    if sys.stdout.isatty():
        console(sys.stdout).print(view())
        return
    # off a terminal a line must not be broken where a reader or a grep expects it whole, nor end in blanks
    whole = console(sys.stdout, width=_WHOLE_LINES)
    with whole.capture() as captured:
        whole.print(view())
    lines = [bounded_words(line.rstrip()) for line in captured.get().split("\n")]
    click.echo("\n".join(lines), nl=False)


def console(stream: TextIO, **options: Any) -> Any:
    """A console of rich on a stream, whose text steers no terminal: only its own colours do."""
    from rich.console import Console
    from rich.segment import Segment

    class Plain(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=visible(segment.text, lines=True))

    return Plain(file=trusted(stream), highlight=False, markup=False, **options)


@contextmanager
def progress_bar(what: str, log_json: bool = False) -> Iterator[Progress]:
    """A progress bar on standard error; where that is no terminal a line a minute, or with `log_json` JSON lines."""
    if log_json or not sys.stderr.isatty():
        with ProgressLines(what, partial(click.echo, err=True), as_json=log_json) as step:
            yield step
        return
    from rich.progress import Progress as Bar

    with Bar(console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=1.0)

        def advance(text: str, share: float) -> None:
            bar.update(task, description=f"{what}: {text}", completed=share)

        yield advance
