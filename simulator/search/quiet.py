"""Optuna's log and its notes on experimental parts, kept from people who never asked for them.

Importing this module imports Optuna, so import it where it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import ExperimentalWarning

__all__ = ["experimental_parts", "quiet_log"]


@contextmanager
def quiet_log() -> Iterator[None]:
    """Within it Optuna logs errors only; the verbosity that was set before comes back at its end."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.ERROR))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def experimental_parts() -> Iterator[None]:
    """Within it Optuna doesn't warn that a part of it is experimental; wrap nothing but the making of that part."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
