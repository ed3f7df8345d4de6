"""Lines that trainers print on a console, read as records: `key: value` and `key value` in any of the usual spellings.

A line is a record if it states a step and something else. Indented lines after it, without a step of their own,
continue it, and a printed mapping without a step takes that of the progress bar before it. All other lines are passed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .names import LOSSES, RATES, SAMPLES, STEPS, TOKENS, folded

__all__ = ["ConsoleLines", "read_lines"]

_LONGEST_LINE = 4_000  # characters that are looked into: progress bars and tracebacks have no end
_MOST_PAIRS = 64
_WORD = r"[A-Za-z_][\w/.\-]{0,60}"
_NUMBER = r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|(?i:nan|inf(?:inity)?))"
_PAIR = re.compile(
    rf"(?<![\w/.])(?P<key>{_WORD}(?: {_WORD}){{0,6}}(?: ?\([\w ]{{1,20}}\))?)"
    rf"(?:[\"']?\s*[:=]\s*[\"'\[(]{{0,3}}|\s+)(?P<value>{_NUMBER})"
    r"(?:\s*/\s*(?P<total>\d+))?(?:\s?(?P<unit>ms|us|µs|s)|[A-Za-z%]{1,8})?(?![\w.])"
)
_CONTINUED = re.compile(rf"^\s+(?P<key>\S.{{0,100}}?)\s*[:=]\s*(?P<value>{_NUMBER})\s*$")
_BAR = re.compile(r"(\d{1,12})/(\d{1,12}) \[")  # a progress bar: 10/1000 [00:10<16:30, 1.00s/it]
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")
_HELD_OUT = re.compile(r"\b(?:validation|validate|valid|val|eval|evaluation|test)\b", re.IGNORECASE)
_SHORT = {"s": "step", "batch": "step", "trl": "train_loss", "tel": "val_loss", "lm_loss_value": "lm_loss"}
_WHOLE_LINE = {"s", "trl", "tel"}  # short names that mean this only as the whole of a key
_OF_NO_SIDE = ("loss", "lm_loss", "lm_loss_value", "cross_entropy", "ce_loss")
_EACH = ("time_per_iteration", "iter_time", "step_time", "time", "dt", "seconds", "train_step_timing_in_s")
"""Names of the time that one step took; a `train_time` is the time since the start."""
_SINCE_START = ("train_time", "elapsed_time", "elapsed", "elapsed_s")
_UNITS_S = {"ms": 1e-3, "s": 1.0, "us": 1e-6, "µs": 1e-6}


@dataclass(frozen=True)
class ConsoleLines:
    """Records of some lines; the steps of the run, if each states the same; and whether the last line is one."""

    rows: list[tuple[int, dict[str, Any]]]
    stated: Mapping[str, Any] = field(default_factory=dict)
    last: bool = False


def read_lines(lines: Sequence[str]) -> ConsoleLines:
    """The records among the lines of a console; none where no line states both a step and a loss.

    >>> read_lines(["loading", "step:50/1000 train_loss:9.94 train_time:2150ms"]).rows
    [(2, {'step': 50.0, 'train_loss': 9.94, 'elapsed_s': 2.15})]
    """
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        reader.take(number, line)
    if not any(folded(key) in LOSSES for _, row in reader.rows for key in row):
        return ConsoleLines([])
    totals = reader.totals
    stated = {"total_steps": next(iter(totals))} if len(totals) == 1 else {}
    return ConsoleLines(reader.rows, stated, bool(reader.rows) and reader.rows[-1][0] == len(lines))


class _Reader:
    """Goes through the lines once and keeps what a later line may refer to."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.totals: set[float] = set()
        self.bar: tuple[int, int] | None = None
        self.elapsed_s = 0.0
        self.last_step: float | None = None

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        line = _COLOURS.sub("", line[:_LONGEST_LINE])
        for at, total in _BAR.findall(line):  # the longest bar is that of the training, others of evaluations
            if self.bar is None or int(total) >= self.bar[1]:
                self.bar = int(at), int(total)
        continued = _CONTINUED.match(line)
        pairs = list(_PAIR.finditer(line))[:_MOST_PAIRS]
        named = [_named(match) for match in pairs]
        steps = [name for name, _ in named if name in STEPS]
        if not steps:
            if continued and self.rows and self.rows[-1][0] < number:
                name = _usual(continued["key"])[0]
                self.rows[-1][1].setdefault(name, _number(continued["value"]))
            elif line.lstrip().startswith("{") and self.bar is not None and named:
                self._add(number, line, {"step": float(self.bar[0])}, named)
            return
        step_key = min(steps, key=STEPS.index)
        at = next(i for i, (name, _) in enumerate(named) if name == step_key)
        total = pairs[at]["total"]
        if total is not None and float(total) > 0:
            self.totals.add(float(total))
        self._add(number, line, {"step": named[at][1]}, [one for i, one in enumerate(named) if i != at])

    def _add(self, number: int, line: str, row: dict[str, Any], named: list[tuple[str, float]]) -> None:
        keys = {name for name, _ in named}
        aside = _HELD_OUT.search(line) is not None and not any(name in LOSSES and "val" in name for name in keys)
        for name, value in named:
            if name not in STEPS:
                row.setdefault("val_loss" if aside and name in _OF_NO_SIDE else name, value)
        dated = _DATE.search(line)
        if dated is not None:
            row["timestamp"] = dated[0]
        each = row.pop("step_time_s", None)
        step = row["step"]
        if "elapsed_s" not in row and each is not None and math.isfinite(each):
            done = 1.0 if self.last_step is None or step <= self.last_step else step - self.last_step
            self.elapsed_s += done * each
            self.last_step = step
            row["elapsed_s"] = self.elapsed_s
        self.rows.append((number, row))


def _named(match: re.Match[str]) -> tuple[str, float]:
    """A pair's usual name and its value; times in seconds."""
    name, exact = _usual(match["key"])
    value, unit = _number(match["value"]), match["unit"]
    words = match["key"].lower()
    in_key = next((unit for unit in _UNITS_S if f"({unit})" in words), None)
    if exact in _SINCE_START or exact in _EACH or "time_per_iteration" in exact:
        scale = _UNITS_S.get(unit or in_key or "s", 1.0)
        return ("elapsed_s" if exact in _SINCE_START else "step_time_s"), value * scale
    return name, value


def _usual(key: str) -> tuple[str, str]:
    """The usual name that a key ends with, in its folded form, else the whole key; and the whole key, folded.

    Words before it are of the sentence (`completed step`), unless they belong to the name (`train loss`).
    """
    words = key.split()
    exact = folded(" ".join(words))
    if exact in _SHORT:
        return _SHORT[exact], exact
    for first in range(len(words)):
        name = folded(" ".join(words[first:]))
        name = _SHORT.get(name, name) if name not in _WHOLE_LINE else name
        if name in STEPS or name in LOSSES or name in RATES or name in TOKENS or name in SAMPLES:
            return name, exact
    plain = re.sub(r"_*\(\w{1,20}\)$", "", exact)
    return exact, plain


def _number(text: str) -> float:
    return float(text.replace(",", ""))
