"""A database as storage of studies: checks of its URL, driver and tables, and clear errors if it is unavailable.

Importing this module imports Optuna, so import it where it is used.
"""

from __future__ import annotations

import os
import re
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, event, inspect, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from typing_extensions import override

from ....core.errors import InputError, UsageError
from ....core.extras import require
from ....core.units import shown
from .leases import retry
from .quiet import experimental_parts, quiet_log

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

__all__ = ["EXPECTED", "open_database", "reason", "without_password"]

EXPECTED = "a path, journal:///path, postgresql://user@host/database, mysql://…, sqlite:///path or memory"
"""The accepted forms of a storage's name, for messages."""

_CONNECT_S = 10  # how long a server may take to answer
_BUSY_S = 60  # how long one process waits for another to let go of an SQLite file
_RACE_S = 5.0  # how long other processes may take to make the tables
_RACES = (IntegrityError, InternalError, OperationalError, ProgrammingError)  # what a process sees that comes second
_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "pip install 'foretrain[postgresql]'"),
    "mysql": ("mysql", "pip install mysqlclient, or name mysql+pymysql:// and pip install PyMySQL"),
    "mariadb": ("mariadb", "pip install mysqlclient, or name mariadb+pymysql:// and pip install PyMySQL"),
    "sqlite": ("sqlite", "a Python that was built with SQLite"),
}


def open_database(where: str, heartbeat_s: int | None, grace_s: int | None) -> RDBStorage:
    """Open the database of a URL, and create Optuna's tables in it if they are missing.

    Running trials send a heartbeat every `heartbeat_s` seconds (None: never) and count as dead `grace_s` seconds after
    the last; Optuna then fails and retries them. No message contains a password. Raises the errors of
    `opening.open_storage`.
    """
    url = _url(where)
    shown_url = _shown(url)
    advice = _DRIVERS[url.get_backend_name()][1]
    if url.get_backend_name() == "sqlite":
        _check_sqlite(url)
    elif url.drivername == _DRIVERS["postgresql"][0]:
        require(shown_url, "psycopg")
    end = time.monotonic() + _RACE_S
    while True:
        try:
            with quiet_log(), experimental_parts():
                storage = _Database(
                    url.render_as_string(hide_password=False),
                    engine_kwargs=_engine_options(url),
                    heartbeat_interval=heartbeat_s,
                    grace_period=grace_s,
                    heartbeat_stale_trial_callback=retry,
                    skip_table_creation=_has_tables(url),
                    skip_compatibility_check=True,
                )
            # connections that nobody closes are a ResourceWarning, and a slot of the server until then
            weakref.finalize(storage, _close, storage.engine, os.getpid())
            storage._version_manager.check_table_schema_compatibility()
            if url.get_backend_name() == "sqlite":
                _take_turns(storage)
            return storage
        except ImportError:
            raise UsageError(f"{shown_url}: its driver isn't installed; {advice}") from None
        except RuntimeError as error:
            raise InputError(f"{shown_url}: is from another version of Optuna: {error} Nothing was changed") from None
        except _UnreachableError as error:
            raise InputError(f"{shown_url}: can't be opened: {error}") from None
        except (StorageInternalError, SQLAlchemyError, AssertionError) as error:
            # two processes that create the tables at once conflict; on the second try they exist
            if time.monotonic() > end or not _is_race(error):
                raise InputError(f"{shown_url}: can't be opened: {reason(error)}") from None
            time.sleep(0.1)


class _Database(RDBStorage):
    """Counts a heartbeat that fails as missed: the next may succeed, and the trial itself will raise the error."""

    @override
    def record_heartbeat(self, trial_id: int) -> None:
        with suppress(StorageInternalError, SQLAlchemyError):
            super().record_heartbeat(trial_id)


def _close(engine: Engine, pid: int) -> None:
    if os.getpid() == pid:  # a forked process must not end the connections that it shares with its parent
        engine.dispose()


def _is_race(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, (*_RACES, AssertionError))


class _UnreachableError(Exception):
    """No connection."""


def _has_tables(url: URL) -> bool:
    """Whether Optuna's tables exist, of any version, as nothing may be added to those of another version."""
    engine = create_engine(url, **_engine_options(url))
    try:
        try:
            connection = engine.connect()
        except SQLAlchemyError as error:
            raise _UnreachableError(reason(error)) from None
        with connection:
            return inspect(connection).has_table("alembic_version")
    finally:
        engine.dispose()


def _take_turns(storage: RDBStorage) -> None:
    """Make each transaction on an SQLite file wait for the one before.

    SQLite doesn't lock rows, so another process could change a value between Optuna's read and its write.
    """

    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver would begin a transaction after the first read

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", connected)
    event.listen(storage.engine, "begin", begun)
    storage.engine.dispose()  # of the connections that were made before


def _url(where: str) -> URL:
    """The URL with our choice of driver; a UsageError never repeats the URL, since it may hold a password."""
    scheme = where.partition("://")[0]
    name = {"postgres": "postgresql"}.get(scheme, scheme)
    name = _DRIVERS[name][0] if name in _DRIVERS else name
    if name.partition("+")[0] not in _DRIVERS:
        raise UsageError(f"storage: {shown(scheme)} is no storage that is known; expected {EXPECTED}")
    try:
        url = make_url(name + where[len(scheme) :])
        url.get_dialect()
    except (NoSuchModuleError, ImportError):
        raise UsageError(f"storage: {shown(scheme)} names a driver that isn't known; expected {EXPECTED}") from None
    except (ArgumentError, ValueError):
        raise UsageError(f"storage: the {scheme} URL isn't one; expected {EXPECTED}") from None
    return url


def _shown(url: URL) -> str:
    """A URL for messages, without its password and its query, which may hold one."""
    return url.set(query={}).render_as_string(hide_password=True)


def _engine_options(url: URL) -> dict[str, Any]:
    match url.get_backend_name():
        case "sqlite":
            return {"connect_args": {"timeout": _BUSY_S}}
        case _:
            # a connection that a long trial left idle may have been closed by the server
            return {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_S}}


def _check_sqlite(url: URL) -> None:
    """Raise InputError for a database path that SQLite would refuse, or create, without a clear error."""
    if not url.database or url.database == ":memory:":
        raise UsageError(
            "storage: an SQLite database in memory is one connection's alone; leave the storage out instead"
        )
    path = Path(url.database)
    try:
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise InputError(f"{path}: is a folder; expected the path of an SQLite database")
        first = b""
        if path.exists():
            with path.open("rb") as stream:
                first = stream.read(16)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}") from None
    if first and first != b"SQLite format 3\0":
        raise InputError(f"{path}: isn't an SQLite database. Nothing was changed: name another file")


def reason(error: Exception) -> str:
    """The driver's own message, without the text that SQLAlchemy and Optuna add, and without a password."""
    cause: BaseException = error
    while (inner := getattr(cause, "orig", None) or cause.__cause__) is not None:
        cause = inner
    words = " ".join(str(cause).split())
    return without_password(words)[:300] or type(cause).__name__


def without_password(text: str) -> str:
    """A text, such as a URL or a message that holds one, with its password hidden."""
    return re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1***@", text)
