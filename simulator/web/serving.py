"""`serve`: takes the port and answers until it is told to stop."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from types import FrameType

import uvicorn
from typing_extensions import override

from ...core.errors import InputError, UsageError
from ...core.units import shown
from ..fitting import one_thread
from .app import create_app
from .connections import BoundedConnection
from .settings import Settings

__all__ = ["address", "serve"]

_KEEP_ALIVE_S = 15
_MOST_HEAD = 32_768  # bytes of a request's line and headers
_TRIED = 100  # ports after one that is taken
_BACKLOG = 512


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Answer requests until the process is interrupted; background jobs end with it.

    Args:
        settings: What the server is started with.
        ready: Called with the server's address once it takes connections.

    Raises:
        InputError: The port is taken, or the address isn't this machine's.
        PredictorError: A predictor or a curve library can't be loaded.
    """
    listener = _listener(settings.host, settings.port)
    with listener:
        settings = replace(settings, port=listener.getsockname()[1])
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            http=BoundedConnection,
            ws="none",
            lifespan="on",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=_MOST_HEAD,
        )
        listener.listen(_BACKLOG)
        # while nobody waits for it
        Thread(target=app.state.server.assets.make_bundle, daemon=True).start()
        ready(address(settings))
        with one_thread():  # for linear algebra: the server's own threads are as many as there are cores for
            _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends by itself when it is interrupted, jobs included, which takes a second or two however often it is."""

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


def address(settings: Settings) -> str:
    """The address at which a browser finds the server."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{settings.port}/"


def _listener(host: str, port: int) -> socket.socket:
    """A socket that is bound to the address. Raises InputError, with the next free port where this one is taken."""
    try:
        return _bound(host, port)
    except socket.gaierror as error:
        raise UsageError(
            f"--host: got {shown(host)}, which is no address ({error.strerror}); expected 127.0.0.1"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = _next_free(host, port)
            expected = "another --port" if free is None else f"--port {free}, which is free, or --port 0 for any"
            raise InputError(f"--port: got {port}, which another program listens on; expected {expected}") from None
        if error.errno == errno.EACCES:
            raise InputError(f"--port: got {port}, which isn't ours to take; expected one from 1024 up") from None
        raise InputError(
            f"--host: got {shown(host)}: {error.strerror}; expected an address of this machine, such as 127.0.0.1"
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen(1)  # where another program listens, some systems tell only now
    except OSError:
        found.close()
        raise
    return found


def _next_free(host: str, port: int) -> int | None:
    for other in range(port + 1, min(port + _TRIED, 65_535) + 1):
        try:
            _bound(host, other).close()
        except OSError:
            continue
        return other
    return None
