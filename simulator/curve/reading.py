"""Curves from a folder: `runs.csv`, one row per run, and `curves/<run_id>.csv` with its losses, checked on the way.

`runs.csv` has run_id, source (the family: maker, corpus, recipe), params or size_label, total_steps, warmup_steps,
schedule, decay_start, lr_peak, lr_final; a curve has step, loss, and lr where it was logged. Other columns are left
alone. A schedule of `logged` means the rates in the column lr, with straight lines between.
"""

from __future__ import annotations

import csv
import math
import os
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np

from ...core.errors import ConfigError, DataWarning, RunTableError
from ...core.files import read_bounded_text
from ...core.output.plain import is_plain
from ...core.units import parse_count, shown
from .library import Curve
from .rates.path import RatePath, named_path, piecewise_path, pointwise_path, wsd_path
from .rates.planned_rates import MAX_STEPS

SCHEDULES = (
    "cosine", "linear", "constant", "inverse_sqrt", "multistep", "two_stage", "wsd_linear", "wsd_exp", "wsd_sqrt",
    "logged",
)  # fmt: skip
"""What the column `schedule` may say."""
_DECAYS = {"wsd": "linear", "wsd_linear": "linear", "wsd_exp": "exponential", "wsd_sqrt": "sqrt"}
_MAX_RUNS_BYTES, _MAX_CURVE_BYTES = 10_000_000, 100_000_000
_MAX_RUNS, _MAX_NAME = 10_000, 200
_RATE_TOLERANCE = 0.02  # of the peak, by which a logged rate may miss the planned one; the public curves miss by .0003
_LEAST_POINTS = 2

_T = TypeVar("_T")


def read_curves(folder: str | os.PathLike[str], ids: Collection[str] | None = None) -> dict[str, Curve]:
    r"""Read the loss curves of a folder: `runs.csv`, one row per run, and `curves/<run_id>.csv` with steps and losses.

    Args:
        folder: The folder.
        ids: The runs to read; by default all.

    Returns:
        The curves by `run_id`; losses in nats per token.

    Raises:
        RunTableError: Something is missing or wrong; the message names the run and the line.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import foretrain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "curves").mkdir()
    ...     _ = Path(folder, "runs.csv").write_text(
    ...         "run_id,source,params,schedule,total_steps,warmup_steps,lr_peak,lr_final\n"
    ...         "first,toy,25M,cosine,1000,100,1e-3,1e-4\n"
    ...     )
    ...     _ = Path(folder, "curves/first.csv").write_text("step,loss\n100,4.0\n500,3.5\n1000,3.2\n")
    ...     curves = foretrain.read_curves(folder)
    >>> curves["first"].size, curves["first"].loss.tolist()
    (25000000.0, [4.0, 3.5, 3.2])
    """
    root = Path(folder)
    rows = _rows(root)
    unknown = [name for name in ids or () if name not in rows]
    if unknown:
        raise RunTableError(
            f"{root / 'runs.csv'}: has no run {shown(unknown[0])}; expected some of {_some(list(rows))}"
        )
    return {name: _curve(root, name, rows[name]) for name in (rows if ids is None else dict.fromkeys(ids))}


def read_rates(path: str | os.PathLike[str]) -> RatePath:
    """Rates of a schedule from a CSV file with step and lr: straight lines between; the last step is the run's last.

    RunTableError says what is wrong, in which line.
    """
    points: dict[int, float] = {}
    last = -1
    for line, row in _table(Path(path), _MAX_CURVE_BYTES, ("step", "lr")):
        where = f"{path}:{line}"
        step, rate = _cell(row, "step", where, _whole), _cell(row, "lr", where, float)
        if not 0 <= step < MAX_STEPS or not (math.isfinite(rate) and rate >= 0):
            raise RunTableError(
                f"{where}: got step {step}, lr {rate}; expected steps up to {MAX_STEPS}, rates 0 or more"
            )
        if step <= last:
            raise RunTableError(f"{where}: step {step} follows step {last}; expected rising steps, each once")
        points[step] = rate
        last = step
    if len(points) < _LEAST_POINTS or not any(points.values()):
        raise RunTableError(f"{path}: expected at least {_LEAST_POINTS} steps with their rates, not all 0")
    return pointwise_path(last + 1, max(points, key=lambda step: points[step]), points)


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")


def _rows(root: Path) -> dict[str, dict[str, str]]:
    """Rows of `runs.csv` by run_id, in order, each with the number of its line as `line`."""
    path = root / "runs.csv"
    if not root.is_dir():
        raise RunTableError(f"{root}: there is no such folder; expected one with runs.csv and curves/<run_id>.csv")
    found: dict[str, dict[str, str]] = {}
    for line, row in _table(path, _MAX_RUNS_BYTES, ("run_id", "schedule", "total_steps")):
        name = row["run_id"]
        if (
            not name
            or PurePath(name).name != name
            or "\\" in name
            or not is_plain(name)
            or name[0] == "."
            or len(name) > _MAX_NAME
        ):
            raise RunTableError(
                f"{path}:{line}: run_id: got {shown(name)}; expected the plain name of a file in curves"
            )
        if name in found:
            raise RunTableError(f"{path}:{line}: {name} is there twice, first in line {found[name]['line']}")
        found[name] = {**row, "line": str(line)}
        if len(found) > _MAX_RUNS:
            raise RunTableError(f"{path}: has more than {_MAX_RUNS} runs; expected at most that")
    if not found:
        raise RunTableError(f"{path}: holds no run; expected one row per run")
    return found


def _table(path: Path, most_bytes: int, needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with the number of their line; cells are stripped, absent ones empty."""
    text = read_bounded_text(path, most_bytes, error=RunTableError)
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        missing = [name for name in needed if name not in header]
        if missing:
            raise RunTableError(f"{path}:1: has no column {missing[0]}; expected {', '.join(needed)}")
        if len(set(header)) < len(header):
            raise RunTableError(f"{path}:1: names a column twice")
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise RunTableError(f"{path}:{reader.line_num}: isn't CSV ({error})") from None
    for line, row in rows:
        if len(row) > len(header):
            raise RunTableError(f"{path}:{line}: has {len(row)} cells; expected {len(header)}, as in the header")
    return [
        (line, dict.fromkeys(header, "") | dict(zip(header, map(str.strip, row), strict=False))) for line, row in rows
    ]


def _curve(root: Path, name: str, row: Mapping[str, str]) -> Curve:
    where = f"{root / 'runs.csv'}:{row['line']}: {name}"
    steps = _cell(row, "total_steps", where, _whole)
    if not 1 <= steps <= MAX_STEPS:
        raise RunTableError(f"{where}: total_steps: got {steps}; expected 1 to {MAX_STEPS}")
    path = root / "curves" / f"{name}.csv"
    step, loss, rate = _points(path, name, steps)
    planned = _path(row, where, steps, step, rate)
    peak = row.get("lr_peak", "")
    if row["schedule"] != "logged" and peak:
        _compare(planned, step, rate / _cell(row, "lr_peak", where, _above_zero), f"{path}: {name}")
    return Curve(name, _family(row, where), _size(row, where), planned, step, loss)


def _family(row: Mapping[str, str], where: str) -> str:
    """The column source: a line of text."""
    family = row.get("source", "") or "unknown"
    if not is_plain(family) or len(family) > _MAX_NAME:
        raise RunTableError(f"{where}: source: got {shown(family)}; expected a line of at most {_MAX_NAME} characters")
    return family


def _size(row: Mapping[str, str], where: str) -> float:
    """Parameters: the column params, or size_label."""
    column = "params" if row.get("params") else "size_label"
    size = _cell(row, column, where, parse_count)
    if not size > 0:
        raise RunTableError(
            f"{where}: {column}: got {row[column]}; expected a number of parameters above 0, such as 25M"
        )
    return size


def _points(path: Path, name: str, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step, loss and rate of each point, `(n,)` each; the rate is NaN where it wasn't logged."""
    table = []
    last = -math.inf
    for line, row in _table(path, _MAX_CURVE_BYTES, ("step", "loss")):
        if not row["loss"]:
            continue  # a line that holds another metric
        where = f"{path}:{line}: {name}"
        step = _cell(row, "step", where, float)
        where = f"{where}, step {row['step']}"
        loss, rate = _cell(row, "loss", where, float), _cell(row, "lr", where, float) if row.get("lr") else math.nan
        if not (math.isfinite(loss) and loss > 0):
            raise RunTableError(f"{where}: got loss {row['loss']}; expected nats per token, above 0")
        if not 0 <= step <= steps:
            raise RunTableError(f"{where}: lies outside the run; expected 0 to its total_steps {steps}")
        if not step > last:
            again = "is there twice" if step == last else f"follows step {last:g}"
            raise RunTableError(f"{where}: {again}; expected rising steps, each once")
        table.append((step, loss, rate))
        last = step
    if len(table) < _LEAST_POINTS:
        raise RunTableError(f"{path}: {name} has {len(table)} losses; expected at least {_LEAST_POINTS}")
    step, loss, rate = np.array(table).T
    return step, loss, rate


def _path(row: Mapping[str, str], where: str, steps: int, step: np.ndarray, rate: np.ndarray) -> RatePath:
    """Exact rates of a run, from its row; those of `logged` from its points."""
    kind, warmup = row["schedule"], _cell(row, "warmup_steps", where, _whole, "0")
    if kind not in (*SCHEDULES, "wsd"):
        raise RunTableError(f"{where}: schedule: got {shown(kind)}; expected one of {', '.join(SCHEDULES)}")
    try:
        if kind == "logged":
            if not np.isfinite(rate).all():
                raise ConfigError("schedule: logged needs the column lr, a rate at each loss")
            return RatePath(np.interp(np.arange(steps), step, rate), warmup)
        if not 0 <= warmup <= steps:
            raise ConfigError(f"warmup_steps: got {warmup}; expected 0 to total_steps {steps}")
        return _planned(row, where, kind, steps, warmup)
    except ConfigError as error:
        raise RunTableError(f"{where}: {error}") from None


def _planned(row: Mapping[str, str], where: str, kind: str, steps: int, warmup: int) -> RatePath:
    if kind in ("constant", "inverse_sqrt"):
        return named_path(kind, steps, warmup)  # type: ignore[arg-type]
    final = _cell(row, "lr_final", where, float) / _cell(row, "lr_peak", where, _above_zero)
    if not (final >= 0 and (final <= 1 or kind == "two_stage")):
        raise RunTableError(f"{where}: lr_final: got {row['lr_final']}; expected 0 to lr_peak {row['lr_peak']}")
    if kind in ("cosine", "linear", "multistep"):
        return named_path(kind, steps, warmup, final)  # type: ignore[arg-type]
    start = _cell(row, "decay_start", where, _whole)
    if kind == "two_stage":
        return piecewise_path(steps, warmup, {start: final})
    return wsd_path(steps, warmup, start, final, _DECAYS[kind])  # type: ignore[arg-type]


def _compare(planned: RatePath, step: np.ndarray, logged: np.ndarray, where: str) -> None:
    """Warn where logged rates, as shares of the peak, aren't the planned ones of the step or of the one before."""
    at = np.clip(step.astype(int), 0, planned.steps - 1)
    both = np.stack([planned.rate[at], planned.rate[np.maximum(at - 1, 0)]])
    off = np.maximum(both.min(axis=0) - logged, logged - both.max(axis=0))
    off = np.where(np.isfinite(off), off, 0.0)
    if off.max(initial=0.0) > _RATE_TOLERANCE:
        worst = int(np.argmax(off > _RATE_TOLERANCE))
        warnings.warn(
            f"{where}, step {step[worst]:g}: logged a rate of {logged[worst]:.3g} of the peak, but the schedule in "
            f"runs.csv means {planned.rate[at[worst]]:.3g}; the schedule is taken (schedule logged takes the rates)",
            DataWarning,
            stacklevel=2,
        )


def _cell(row: Mapping[str, str], column: str, where: str, read: Callable[[str], _T], default: str = "") -> _T:
    """A cell as `read` understands it. RunTableError where it is empty or can't be read."""
    text = row.get(column, "") or default
    try:
        return read(text)
    except ValueError:
        got = f"got {shown(text)}" if text else "is missing"
        raise RunTableError(f"{where}: {column}: {got}; expected a number") from None


def _whole(text: str) -> int:
    number = float(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


def _above_zero(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(text)
    return number
