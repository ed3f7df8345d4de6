"""Standard output and error as the program writes to them: nothing that steers a terminal, and errors that say which.

Names of columns, files and keys of logs are other people's text. Whatever is written goes through here, so that none of
it is carried out by a terminal; what the program itself draws with colours goes past by `trusted`, its text filtered
before.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from ..errors import OutputError
from .plain import visible

__all__ = ["PlainStream", "plain_streams", "trusted"]

_CLOSED = 3  # as for a file that can't be written
_READER_LEFT = 1  # as click ends


class PlainStream:
    """A text stream in front of another one that spells out characters which steer a terminal.

    `written` counts characters. A `needed` stream raises `OutputError` where the other is closed, full or gone; one
    that isn't loses what it is given.
    """

    def __init__(self, stream: TextIO | None, name: str, needed: bool) -> None:
        self.written = 0
        self._stream, self._name, self._needed = stream, name, needed

    def write(self, text: str) -> int:
        """Write text, made visible."""
        return self.write_trusted(visible(text, lines=True))

    def write_trusted(self, text: str) -> int:
        """Write text as it is."""
        self.written += len(text)
        with self._guarded():
            if self._stream is None:
                raise OSError(errno.EBADF, "it is closed")
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what is behind."""
        if self._stream is not None:
            with self._guarded():
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether a terminal is behind."""
        return self._stream is not None and self._stream.isatty()

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # past which click would go
            raise AttributeError(name)
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and self._stream is not None and not self._stream.closed:
                raise
            self._give_up()
            if self._needed:
                reason = getattr(error, "strerror", None) or error
                broken = isinstance(error, BrokenPipeError)
                raise OutputError(
                    f"{self._name}: can't be written: {reason}", _READER_LEFT if broken else _CLOSED
                ) from None

    def _give_up(self) -> None:
        """Let the interpreter's own last flush write to nowhere instead of failing again."""
        stream, self._stream = self._stream, io.StringIO()
        if stream is not None and stream in (sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


class _Trusted:
    """The same stream for text that was made visible before it was coloured."""

    def __init__(self, stream: PlainStream) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text as it is."""
        return self._stream.write_trusted(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def trusted(stream: TextIO) -> TextIO:
    """The stream for what the program draws itself, with colours."""
    return cast(TextIO, _Trusted(stream)) if isinstance(stream, PlainStream) else stream


@contextlib.contextmanager
def plain_streams() -> Iterator[tuple[PlainStream, PlainStream]]:
    """A context in which standard output and error are plain, whatever they are; gives both."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe's encoding may lack α and ±
    out, err = PlainStream(before[0], "standard output", True), PlainStream(before[1], "standard error", False)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr = before
