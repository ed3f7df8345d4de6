"""What a server is started with: where it listens, who may ask, which predictors it knows, and its limits."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import UsageError
from ...core.units import shown

__all__ = ["LOOPBACK", "Limits", "Settings", "new_token"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of this machine that nobody else can reach it by."""
_LEAST_TOKEN = 16  # characters
_MOST_TOKEN = 200
_MOST_NAME = 64


@dataclass(frozen=True)
class Limits:
    """How much one request, one client, and all of them together may take."""

    body_bytes: int = 1_000_000
    """Largest body of a request, however it is sent."""
    body_s: float = 10.0
    """Seconds that a client may take to send it."""
    answer_s: float = 60.0
    """Seconds that an answer may take, and that a client may take to read a part of it."""
    compute_s: float = 20.0
    """Seconds that a computation may take."""
    steps: int = 1_000_000
    """Optimizer steps of a run whose loss curve is worked out, some 100 bytes each."""
    waiting: int = 64
    """Computations that may wait for a thread."""
    threads: int = 3
    """Computations at once: a short one, and long ones beside it."""
    requests_per_s: float = 200.0
    """Requests of one client per second, in the long run."""
    burst: int = 400
    """Requests of one client at once."""
    jobs_running: int = 1
    """Background jobs at once, each a process of its own."""
    jobs_waiting: int = 8
    """Background jobs that may wait."""
    jobs_kept: int = 64
    """Finished jobs whose results are kept."""
    job_s: float = 600.0
    """Seconds of a background job; a search ends then with what it has found."""
    trials: int = 2000
    """Trials of a search."""
    plans: int = 8
    """Plans of a comparison."""


@dataclass(frozen=True)
class Settings:
    """What a server is started with.

    >>> Settings().host, Settings(host="0.0.0.0", token="a-token-of-some-length").local
    ('127.0.0.1', False)
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8321
    """Port to listen on; 0 for any that is free."""
    token: str | None = None
    """What clients must show; None lets everybody in who can reach the server."""
    allow_hosts: tuple[str, ...] = ()
    """Further names by which the server may be called."""
    predictors: Mapping[str, Path] = field(default_factory=dict)
    """Predictors that requests may name beside those that ship, by name: the folder of each."""
    curves: Mapping[str, Path] = field(default_factory=dict)
    """Curve libraries that requests may name, by name: the folder of each."""
    limits: Limits = field(default_factory=Limits)
    """How much requests may take."""

    def __post_init__(self) -> None:
        """Raise UsageError for what would be unsafe, or can't be meant."""
        if not self.local and self.token is None:
            raise UsageError(
                f"--host: got {shown(self.host)}, which others can reach, and no token; expected --token beside it "
                "(--token auto makes one), or 127.0.0.1"
            )
        if self.token is not None and not self._usable_token(self.token):
            raise UsageError(
                f"--token: expected {_LEAST_TOKEN} to {_MOST_TOKEN} letters, digits or any of -._~, or auto to have "
                "one made"
            )
        for option, named in (("--predictor", self.predictors), ("--curves", self.curves)):
            for name in named:
                if not 0 < len(name) <= _MOST_NAME or not name.isprintable() or name != name.strip():
                    raise UsageError(f"{option}: got the name {shown(name)}; expected 1 to {_MOST_NAME} characters")

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names by which the server may be called."""
        own = () if self.host in ("0.0.0.0", "::") else (self.host,)
        return tuple(dict.fromkeys(name.casefold() for name in (*LOOPBACK, *own, *self.allow_hosts)))

    @staticmethod
    def _usable_token(token: str) -> bool:
        plain = all(sign.isascii() and (sign.isalnum() or sign in "-._~") for sign in token)
        return plain and _LEAST_TOKEN <= len(token) <= _MOST_TOKEN


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(32)
