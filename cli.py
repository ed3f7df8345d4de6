"""`simulate`: the entry point. The commands are in `commands/`, one file per group; here are exit codes and messages.

Libraries are imported inside the commands, so that `simulate --help` and `simulate predict` start at once.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from typing import Any, NoReturn

import click

from .commands import COMMANDS
from .core.errors import ForetrainError, ForetrainWarning
from .core.registry import NO_PLUGINS
from .core.version import __version__

_EXIT_INTERNAL = 5
_EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="simulate")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--no-plugins", is_flag=True, help="Leave out laws, columns, … that other packages add.")
@click.pass_context
def simulate(context: click.Context, debug: bool, no_plugins: bool) -> None:
    """Simulate an LLM pretraining run before anyone pays for it.

    \b
    Start here:  simulate init .  &&  simulate predict --config run.yaml
    """
    context.obj = {"debug": debug}
    if no_plugins:
        os.environ[NO_PLUGINS] = "1"  # which processes that this one starts inherit


for _command in COMMANDS:
    simulate.add_command(_command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 ok, 2 usage, 3 bad input, 4 infeasible or a tracked run behind its plan, 5 internal, 130 interrupted.

    Args:
        arguments: What to run instead of the process's own arguments.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe's encoding may lack α and ±
    warnings.simplefilter("default", ForetrainWarning)
    warnings.showwarning = _show_warning
    try:
        # a command that has answered may still end with a code of its own
        code = simulate.main(arguments, prog_name="simulate", standalone_mode=False) or 0
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
