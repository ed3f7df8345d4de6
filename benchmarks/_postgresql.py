"""A PostgreSQL server of one's own, from the installed binaries, on the loopback interface, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_USER = "foretrain"


def binaries() -> Path | None:
    """The folder that holds `initdb` and `pg_ctl`, None where PostgreSQL isn't installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    anywhere = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(anywhere).resolve().parent if anywhere else None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start a server and yield the URL of its database, password included; it is gone afterwards."""
    tools = binaries()
    if tools is None:
        raise SystemExit("PostgreSQL isn't installed: apt-get install postgresql")
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # the name of a socket must stay short
    password = secrets.token_hex(8)
    (home / "password").write_text(password)
    as_user = _given_away(home)

    def run(name: str, *words: object) -> None:
        command = [*as_user, str(tools / name), *map(str, words)]
        subprocess.run(command, cwd=home, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)

    data, port = home / "data", free_port()
    try:
        login = ("-U", _USER, "-A", "scram-sha-256", "--pwfile", home / "password")
        run("initdb", "-D", data, *login, "--no-sync", "-E", "UTF8", "--locale", "C")
        # nothing here must outlast the machine
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {home} -c fsync=off -c max_connections=60"
        run("pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", options, "start")
        try:
            yield f"postgresql://{_USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _given_away(home: Path) -> list[str]:
    """The words before a command that run it as somebody whom PostgreSQL accepts: it refuses root."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    for path in (home, *home.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
