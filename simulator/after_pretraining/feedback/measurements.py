"""`Measurements`: what policies gained at several distances from their start, read from a table of the user's.

One row is one policy: `method` (best_of_n, ppo or dpo), `gold` (its mean true reward; the starting policy's is 0, or
stands in a row of KL 0), and `kl_nats` or, of best_of_n, `n`. Beside them may stand `comparisons` and `reward_params`
(what the reward was learned from, and by how large a model), `seed` (repetitions) and `gold_se` (standard error).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ....core.errors import InputError
from ....core.reading.suggest import did_you_mean, nearest
from ....core.units import shown
from ....datasets.runs.raw_table import read_raw
from .gain import FORMS, best_of_n_kl

__all__ = ["FEWEST_KLS", "Measurements"]

FEWEST_KLS = 3
"""Distances that a method must be measured at: two parameters, and one more to see whether they hold."""
_NEEDED = ("method", "gold")
_OPTIONAL = ("kl_nats", "n", "comparisons", "reward_params", "seed", "gold_se")
_MOST_ROWS = 100_000
_METHODS = {"bon": "best_of_n", "best-of-n": "best_of_n", "reinforce": "ppo", "rl": "ppo"}
"""Other names; REINFORCE is held to PPO's law, as both are policy gradients against a KL."""


def _row(row: int) -> str:
    return f"row {row + 1}"


@dataclass(frozen=True)
class _Table:
    """Rows of a table, whose index is their number from 0, and how messages name them."""

    frame: pd.DataFrame
    where: str
    locate: Callable[[int], str]

    def at(self, row: int) -> str:
        """Where a row of the whole table stands."""
        return f"{self.where}, {self.locate(row)}"

    def first(self, wrong: np.ndarray) -> tuple[int, str]:
        """The place among these rows, and in words, of the first that a mask chooses."""
        place = int(np.flatnonzero(wrong)[0])
        return place, self.at(int(self.frame.index[place]))

    def where_true(self, rows: np.ndarray) -> _Table:
        """Those rows that a mask chooses."""
        return replace(self, frame=self.frame.loc[rows])


@dataclass(frozen=True)
class Measurements:
    """Policies of one method, one a row, all arrays `(n,)`; what a table doesn't say is NaN, its `seed` 0."""

    method: str
    kl_nats: np.ndarray
    gold: np.ndarray
    gold_se: np.ndarray
    comparisons: np.ndarray
    reward_params: np.ndarray
    seed: np.ndarray

    @property
    def d(self) -> np.ndarray:
        """√KL of each policy."""
        return np.sqrt(self.kl_nats)

    def __len__(self) -> int:
        return len(self.gold)

    def where(self, rows: np.ndarray) -> Measurements:
        """Those rows that a mask chooses."""
        names = ("kl_nats", "gold", "gold_se", "comparisons", "reward_params", "seed")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> dict[str, Measurements]:
        """Read a file of any kind that run tables may be of; what it holds of each method. Raises InputError."""
        raw = read_raw(Path(path))
        return cls.of_frame(raw.frame, raw.where, raw.locate)

    @classmethod
    def of_frame(
        cls, frame: pd.DataFrame, where: str = "measurements", locate: Callable[[int], str] = _row
    ) -> dict[str, Measurements]:
        """Check a table and split it by method. Raises InputError that says what is wrong, and where.

        Args:
            frame: The table.
            where: What it is called.
            locate: Says where a row stands, by its number from 0.

        >>> rows = {"method": ["best_of_n"] * 4, "n": [1, 4, 16, 64], "gold": [0.0, 0.4, 0.6, 0.7]}
        >>> Measurements.of_frame(pd.DataFrame(rows))["best_of_n"].kl_nats.round(2).tolist()
        [0.64, 1.84, 3.17]
        """
        _check_columns(frame, where)
        table = _Table(frame.reset_index(drop=True), where, locate)
        methods = np.array([_method(value, table.at(row)) for row, value in enumerate(frame["method"])])
        return {str(one): _of_method(str(one), table.where_true(methods == one)) for one in dict.fromkeys(methods)}


def _check_columns(frame: pd.DataFrame, where: str) -> None:
    missing = [name for name in _NEEDED if name not in frame]
    if "kl_nats" not in frame and "n" not in frame:
        missing.append("kl_nats (or n, of best_of_n)")
    if missing:
        have = [str(name) for name in frame.columns]
        hints = "".join(did_you_mean(nearest(name, have)) for name in missing)
        raise InputError(
            f"{where}: lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; {hints}"
            f"expected {', '.join(_NEEDED)}, kl_nats or n, and perhaps {', '.join(_OPTIONAL[2:])}; got "
            f"{', '.join(have[:20]) or 'no column'}"
        )
    if not frame.columns.is_unique:
        twice = ", ".join(sorted({str(name) for name in frame.columns[frame.columns.duplicated()]}))
        raise InputError(f"{where}: has several columns {twice}; expected one of each")
    if not 0 < len(frame) <= _MOST_ROWS:
        raise InputError(
            f"{where}: has {len(frame) or 'no'} rows; expected one for each policy that was measured, at most "
            f"{_MOST_ROWS:,}"
        )


def _method(value: Any, at: str) -> str:
    text = str(value).strip().casefold().replace(" ", "_")
    text = _METHODS.get(text, text)
    if text not in FORMS:
        raise InputError(f"{at}: method: got {shown(value)}; expected one of {', '.join(FORMS)}")
    return text


def _of_method(method: str, table: _Table) -> Measurements:
    """The rows of one method; those at KL 0 say what the start's reward is, which the others are held against."""
    gold = _numbers(table, "gold", needed=True)
    kl = _distances(method, table)
    start = kl == 0.0
    seed = _numbers(table, "seed", default=0.0)
    gold = gold - _of_start(gold, seed, start)
    found = Measurements(
        method,
        kl,
        gold,
        _numbers(table, "gold_se", least=0.0),
        _numbers(table, "comparisons", least=1.0),
        _numbers(table, "reward_params", least=1.0),
        seed,
    ).where(~start)
    distances = np.unique(found.kl_nats.round(9))
    if len(distances) < FEWEST_KLS:
        raise InputError(
            f"{table.where}: {method} is measured at {len(distances)} KL "
            f"divergence{'' if len(distances) == 1 else 's'} "
            f"above 0; expected {FEWEST_KLS} at least, since two would fit any law exactly"
        )
    return found


def _distances(method: str, table: _Table) -> np.ndarray:
    """KL of each row, nats."""
    kl = _numbers(table, "kl_nats", least=0.0)
    if method == "best_of_n":
        n = _numbers(table, "n", least=1.0)
        kl = np.where(np.isnan(kl), best_of_n_kl(np.where(np.isnan(n), 1.0, n)) + 0.0 * n, kl)
    if np.isnan(kl).any():
        raise InputError(
            f"{table.first(np.isnan(kl))[1]}: kl_nats is missing; expected a KL divergence in nats"
            + (", or n" if method == "best_of_n" else "")
        )
    return kl


def _of_start(gold: np.ndarray, seed: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The reward of the start for each row: of its own seed where that was measured, else the mean, else 0."""
    if not start.any():
        return np.zeros(len(gold))
    found = np.full(len(gold), gold[start].mean())
    for one in np.unique(seed[start]):
        found[seed == one] = gold[start & (seed == one)].mean()
    return found


def _numbers(
    table: _Table,
    name: str,
    *,
    needed: bool = False,
    least: float | None = None,
    default: float = float("nan"),
) -> np.ndarray:
    """A column as numbers `(n,)`; `default` throughout where the table lacks it."""
    frame = table.frame
    if name not in frame:
        return np.full(len(frame), default)
    values = np.asarray(pd.to_numeric(frame[name], errors="coerce"), dtype=float)
    absent = frame[name].isna().to_numpy()
    wrong = ~np.isfinite(values) & (needed | ~absent)
    if least is not None:
        wrong |= values < least
    if wrong.any():
        place, at = table.first(wrong)
        accepted = "a number" if least is None else f"a number of at least {least:g}"
        raise InputError(f"{at}: {name}: got {shown(frame[name].iloc[place])}; expected {accepted}")
    return np.where(np.isnan(values), default, values)
