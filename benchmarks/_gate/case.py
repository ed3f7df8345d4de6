"""What a case of the gate is, and how it starts the program."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """Something a user may do, and what must come of it.

    Attributes:
        kind: The row of the gate's table that it counts in, such as "config".
        name: What is tried, unique within its kind.
        check: Does it in an empty folder and raises AssertionError with what was wrong.
    """

    kind: str
    name: str
    check: Callable[[Path], None]


@dataclass(frozen=True)
class Answer:
    """What the command line answered: its exit code and what it wrote on the two streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    def refused(self, *words: str, code: int = 3) -> None:
        """Hold it against a refusal: this exit code, these words in the message, on standard output nothing or, with
        `--json`, the error."""
        assert self.code == code, f"exit {self.code} instead of {code}: {self.err[-300:] or self.out[-300:]}"
        if self.out.strip():
            assert set(self.json) == {"error"}, f"standard output of a refusal: {self.out[:200]!r}"
        self.sound()
        for word in words:
            assert word in self.err, f"{word!r} isn't in: {self.err[-400:]}"

    def answered(self, *words: str) -> Answer:
        """Hold it against an answer: exit 0, these words in what was printed; returns itself."""
        assert self.code == 0, f"exit {self.code}: {self.err[-400:]}"
        self.sound()
        for word in words:
            assert word in self.out + self.err, f"{word!r} isn't in: {(self.out + self.err)[-800:]}"
        return self

    def sound(self) -> None:
        """No traceback, no internal error, nothing that steers a terminal, no message of ten thousand characters."""
        for text in (self.out, self.err):
            assert "Traceback" not in text, text[-400:]
            assert not any((ord(sign) < 32 and sign not in "\n\t") or sign == "\x7f" for sign in text), repr(
                text[-400:]
            )
        assert "internal error" not in self.err, self.err[-400:]
        assert len(self.err) < 10_000, f"a message of {len(self.err)} characters"


def simulate(folder: Path, *arguments: object) -> Answer:
    """The command line in this process, working in `folder`."""
    from foretrain.cli import main

    out, err = io.StringIO(), io.StringIO()
    before = os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            try:
                main([str(word) for word in arguments])
            except SystemExit as stopped:
                code = int(stopped.code or 0)
    finally:
        os.chdir(before)
    return Answer(code, out.getvalue(), err.getvalue())


def simulate_process(folder: Path, *arguments: object, timeout_s: float = 120.0, **environment: str) -> Answer:
    """The command line in a process of its own, for what may end a process or needs its streams."""
    done = subprocess.run(
        [sys.executable, "-m", "foretrain", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
    )
    return Answer(done.returncode, done.stdout, done.stderr)
