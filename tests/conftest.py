"""What the tests of the command line share: the real command in a process of its own, and tables of simulated runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., subprocess.CompletedProcess]

# A reader's terminal must not decide what these tests see.
_TERMINAL = (
    "COLUMNS",
    "LINES",
    "FORCE_COLOR",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "TTY_COMPATIBLE",
    "PYTHONPATH",
)


@pytest.fixture(scope="session")
def plain_environment() -> dict[str, str]:
    """The environment without what changes colours, widths or encodings."""
    kept = {name: value for name, value in os.environ.items() if name not in _TERMINAL}
    return {**kept, "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="session")
def run_in(plain_environment) -> Run:
    """`run_in(folder, *arguments, **environment)`: `simulate` there, in a process of its own, off a terminal."""

    def run(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-m", "foretrain", *map(str, arguments)],
            cwd=folder,
            env={**plain_environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding=environment.get("PYTHONIOENCODING", "utf-8"),
            timeout=120,
        )
        assert "\x1b" not in done.stdout + done.stderr, "escape codes off a terminal"
        return done

    return run


@pytest.fixture
def run(run_in, tmp_path) -> Run:
    """`run(*arguments)`: `simulate` in this test's own folder."""
    return partial(run_in, tmp_path)


@pytest.fixture(scope="session")
def write_runs() -> Callable[..., Path]:
    """`write_runs(path, params, tokens, noise=0)`: a table of runs of a known Chinchilla law, loss in nats."""

    def write(path: Path, params, tokens, noise: float = 0.0, header: str = "params,tokens,loss", **more) -> Path:
        params, tokens = np.broadcast_arrays(np.asarray(params, float), np.asarray(tokens, float))
        loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.34
        loss = loss * np.exp(np.random.default_rng(len(loss)).normal(0, noise, len(loss)))
        columns = [params, tokens, loss, *(np.broadcast_to(values, loss.shape) for values in more.values())]
        rows = [",".join(f"{value:.10g}" for value in row) for row in zip(*columns, strict=True)]
        path.write_text("\n".join([",".join([header, *more]), *rows]) + "\n", encoding="utf-8")
        return path

    return write
