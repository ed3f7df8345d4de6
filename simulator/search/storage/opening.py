"""Opening a study's storage (memory, a journal file or a database), and creating or resuming the study in it.

A journal is a file, for one machine or a few that share a folder; a database serves any number. Trials whose process
was killed are detected by heartbeats in a database, and by `leases` in both.

Importing this module imports Optuna, so import it where it is used.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import optuna
from optuna import Study
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from sqlalchemy.exc import SQLAlchemyError

from ....core.errors import InputError, UsageError
from ....core.units import shown
from .database import EXPECTED, open_database, reason
from .journal import open_journal
from .own_journal import MEMORY
from .quiet import quiet_log

__all__ = ["HEARTBEAT_S", "STAMP", "open_storage", "open_study"]

HEARTBEAT_S = 30
"""Interval of a running trial's heartbeats to a database, seconds."""
STAMP = "foretrain"
"""User attribute of a study that identifies its format and contents."""

_MISSED_BEATS = 3  # after which a process counts as dead
_RACE_S = 5.0  # how long another process may take to stamp a study that it made
_EMPTY = object()
_ADVICE = "Nothing was changed: take another name or another storage"


def open_storage(
    where: str | None, *, heartbeat_s: int | None = HEARTBEAT_S, grace_s: int | None = None
) -> BaseStorage:
    """Open the storage that `where` names: None or "memory", a path or `journal:///path`, or a database's URL.

    Args:
        where: The storage.
        heartbeat_s: Interval of heartbeats in a database, seconds. Ask-and-tell trials have no heartbeats: pass None
            for those, or Optuna warns.
        grace_s: Seconds after its last heartbeat at which a running trial counts as dead; default three heartbeats.

    Raises:
        UsageError: The URL isn't understood, or its driver isn't installed.
        InputError: The file is damaged, locked, of another kind or inaccessible, the server doesn't answer, or the
            tables are of another version of Optuna.
    """
    if where is None or where == MEMORY:
        return InMemoryStorage()
    if not where.strip():
        raise UsageError(f"storage: got {shown(where)}; expected {EXPECTED}")
    scheme, separator, rest = where.partition("://")
    if not separator:
        return open_journal(where)
    if scheme == "journal":
        return open_journal(_journal_path(where, rest))
    if grace_s is None and heartbeat_s is not None:
        grace_s = _MISSED_BEATS * heartbeat_s
    return open_database(where, heartbeat_s, grace_s)


def open_study(
    storage: BaseStorage, name: str, directions: Sequence[str], stamp: Mapping[str, Any], sampler: BaseSampler
) -> Study:
    """Create the study `name`, or resume it. Any number of processes may do this at once.

    Args:
        storage: From `open_storage`.
        name: The study's name in the storage.
        directions: "minimize" or "maximize" for each goal.
        stamp: Stored in the study. Its "format" and "digest" must be the same on resuming; its "version" need not.
        sampler: The sampler of this process.

    Raises:
        InputError: There is another study of this name, which is left unchanged.
    """
    ways = cast(Sequence[Literal["minimize", "maximize"]], directions)
    with quiet_log():
        try:
            study = _find(storage, name, sampler)
            if study is None:
                try:
                    study = optuna.create_study(storage=storage, study_name=name, directions=ways, sampler=sampler)
                    study.set_user_attr(STAMP, dict(stamp))
                except DuplicatedStudyError:  # another process created it first
                    study = optuna.load_study(storage=storage, study_name=name, sampler=sampler)
            _check(study, directions, stamp)
        except (StorageInternalError, SQLAlchemyError) as error:
            raise InputError(f"study {shown(name)}: the storage failed: {reason(error)}") from None
    return study


def _journal_path(where: str, rest: str) -> str:
    # journal:///a/b is absolute, journal://a/b relative to the working folder
    if not rest or "?" in rest or "#" in rest:
        raise UsageError(f"storage: got {shown(where)}; expected journal:///path")
    return rest


# the study


def _find(storage: BaseStorage, name: str, sampler: BaseSampler) -> Study | None:
    try:
        return optuna.load_study(storage=storage, study_name=name, sampler=sampler)
    except KeyError:
        return None


def _check(study: Study, directions: Sequence[str], stamp: Mapping[str, Any]) -> None:
    """Raise InputError unless the study that was found has the same directions and stamp."""
    name = f"study {shown(study.study_name)}"
    there = [direction.name.lower() for direction in study.directions]
    found = _found_stamp(study)
    if found is _EMPTY and there == list(directions):
        found = dict(stamp)  # whoever made it was killed before the next line; nothing is in it
        study.set_user_attr(STAMP, found)
    if not isinstance(found, Mapping):
        raise InputError(f"{name}: exists already, and foretrain didn't make it. {_ADVICE}")
    if found.get("format") != stamp["format"]:
        raise InputError(
            f"{name}: is of format {shown(found.get('format'))}, written by foretrain {shown(found.get('version'))}; "
            f"expected format {stamp['format']}. {_ADVICE}"
        )
    if there != list(directions):
        raise InputError(f"{name}: its directions are {there}; expected {list(directions)}. {_ADVICE}")
    if found.get("digest") != stamp["digest"]:
        raise InputError(
            f"{name}: was made with another space, other objectives or other constraints (digest "
            f"{shown(found.get('digest'))}; expected {shown(stamp['digest'])}). {_ADVICE}"
        )


def _found_stamp(study: Study) -> Any:
    """The stamp of an existing study: None if it has none, `_EMPTY` if the study is empty.

    Waits for the stamp of a study that another process has just created.
    """
    end = time.monotonic() + _RACE_S
    while True:
        used = bool(study.get_trials(deepcopy=False))  # before the attributes: a stamp comes before any trial
        attributes = study.user_attrs
        if attributes or used:
            return attributes.get(STAMP)
        if time.monotonic() > end:
            return _EMPTY
        time.sleep(0.02)
