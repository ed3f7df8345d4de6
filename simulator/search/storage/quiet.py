"""Optuna's messages, reduced: no info log, no warnings about experimental features, and the original errors.

Importing this module imports Optuna, so import it where it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import ExperimentalWarning

__all__ = ["experimental_parts", "quiet_log", "unmasked_errors"]


@contextmanager
def quiet_log() -> Iterator[None]:
    """A context in which Optuna logs errors only; the previous verbosity is restored at its end."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.ERROR))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def experimental_parts() -> Iterator[None]:
    """A context without Optuna's warnings about experimental features; wrap only the construction of the feature."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def unmasked_errors() -> Iterator[None]:
    """A context in which `Study.optimize` raises the original error rather than a later one from Optuna's cleanup.

    If `Study.tell` fails, a `finally` of Optuna's loop fails too, with an assertion or an unbound name.
    """
    try:
        yield
    except (AssertionError, UnboundLocalError) as error:
        first = error.__context__
        if first is None or not _is_of_optunas_loop(error):
            raise
        raise first from first.__cause__


def _is_of_optunas_loop(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == "optuna.study._optimize"
