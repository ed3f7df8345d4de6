"""`simulate`: the entry point. The commands are in `commands/`, one file per group; here are exit codes and messages.

Libraries are imported inside the commands, so that `simulate --help` and `simulate predict` start at once.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import traceback
import warnings
from typing import Any, NoReturn

import click

from .commands import COMMANDS
from .core.errors import ForetrainError, ForetrainWarning, InputError, OutputError, error_parts
from .core.output.plain import bounded
from .core.output.streams import PlainStream, plain_streams
from .core.registry import NO_PLUGINS
from .core.version import __version__

_EXIT_INTERNAL = 5
_EXIT_INTERRUPTED = 130
_EXIT_READER_LEFT = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="simulate")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--no-plugins", is_flag=True, help="Leave out laws, columns, … that other packages add.")
@click.pass_context
def simulate(context: click.Context, debug: bool, no_plugins: bool) -> None:
    """Simulate an LLM pretraining run before anyone pays for it.

    \b
    Start here:  simulate predict --params 7B --tokens 2T --on 512xH100
    Keep a plan: simulate init plan --params 7B  &&  simulate predict --config plan/run.yaml
    """
    context.obj = {"debug": debug}
    if no_plugins:
        os.environ[NO_PLUGINS] = "1"  # which processes that this one starts inherit


for _command in COMMANDS:
    simulate.add_command(_command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 ok, 2 usage, 3 bad input, 4 infeasible or a tracked run behind its plan, 5 internal, 130 interrupted,
    1 where the reader of standard output has left.

    Args:
        arguments: What to run instead of the process's own arguments.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.simplefilter("default", ForetrainWarning)
    warnings.showwarning = _show_warning
    with plain_streams() as (out, err):
        try:
            code = _run(words, out)
            out.flush()
        except OutputError as error:
            code = error.exit_code
            if code != _EXIT_READER_LEFT:  # head has read enough: nothing went wrong
                click.echo(f"simulate: {error}", err=True)
        err.flush()
    sys.exit(code)


def _run(words: list[str], out: PlainStream) -> int:
    """The exit code of a command; what went wrong is said."""
    try:
        return _command(words)
    except click.ClickException as error:
        _say_as_json(words, out, error_parts("UsageError", bounded(error.format_message())))
        said = io.StringIO()
        error.show(said)
        click.echo(bounded(said.getvalue()), err=True, nl=False)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was left half-written", err=True)
        return _EXIT_INTERRUPTED
    except OutputError:
        raise
    except ForetrainError as error:
        message = bounded(str(error))
        _say(words, f"simulate: {message}")
        _say_as_json(words, out, error_parts(type(error).__name__, message))
        return error.exit_code
    except Exception as error:
        what = bounded(f"{type(error).__name__}: {error}")
        _say(words, f"simulate: internal error: {what} (`simulate --debug …` shows where)")
        _say_as_json(words, out, {**error_parts("InternalError", what), "where": None, "got": None})
        return _EXIT_INTERNAL


def _command(words: list[str]) -> int:
    """Run the command; a name that no file can have, wherever it is met, is the user's."""
    try:
        # a command that has answered may still end with a code of its own
        return simulate.main(words, prog_name="simulate", standalone_mode=False) or 0
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError(f"{error.filename}: file name too long; expected the path of a file or folder") from error


def _say(words: list[str], message: str) -> None:
    """One line on standard error; before it the traceback, if asked for."""
    if "--debug" in words:
        traceback.print_exc()
    click.echo(message, err=True)


def _say_as_json(words: list[str], out: PlainStream, parts: dict[str, Any]) -> None:
    """The error as the one document on standard output, if JSON was asked for and none has been printed."""
    if "--json" in words and not out.written:
        click.echo(json.dumps({"error": parts}, indent=2))


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"warning: {bounded(str(message))}", err=True)
