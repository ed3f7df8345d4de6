"""Identification of a log's keys: steps, losses, learning rates and times as arrays, in the order of the file."""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.errors import LogError
from ...core.units import shown
from .names import LONGEST_NUMBER, LOSSES, RATES, SAMPLES, STEPS, TIMES, TOKENS, folded, number
from .records import Notice, Record, Records

__all__ = ["RawLog", "choose_columns"]

_RANGES = ("__MIN", "__MAX")  # columns that W&B adds to its exports
_MILLISECONDS = 1e11  # numbers above this are milliseconds since 1970
_RARE = 0.1  # of the records with the commonest loss: a loss in fewer isn't the curve


@dataclass(frozen=True)
class RawLog:
    """A log as it was written: `(n,)` each in the order of the file, NaN where nothing was logged.

    `step` counts whatever `axis` says: steps, tokens or samples. `loss` is in what `loss_kind` says; `wall_s` is
    seconds since 1970 or since some start; `line` is where it stands in the file. `begins` is the least step beside
    any of the usual losses, this one or another.
    """

    where: str
    step: np.ndarray
    loss: np.ndarray
    lr: np.ndarray
    wall_s: np.ndarray
    tokens: np.ndarray
    line: np.ndarray
    axis: str
    step_key: str
    loss_key: str
    loss_kind: str
    begins: float = math.inf
    stated: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


def choose_columns(records: Records, metric: str | None = None) -> RawLog:
    """Find steps, losses, rates and times by their usual names; `metric` names the loss. `LogError` without any."""
    seen = Counter(key for _, row in records.rows for key in row)
    where = records.where
    loss_key = _named(seen, metric, where) if metric else _only(_common(_filled(records.rows), seen), where)
    if loss_key is None:
        raise LogError(f"{where}: no loss among its keys ({_some(seen)}); expected {_some(LOSSES)}, or --metric KEY")
    rows = [(line, row, loss) for line, row in records.rows if (loss := number(row.get(loss_key))) is not None]
    if not rows:
        raise LogError(f"{where}: {loss_key}: no number in any record; expected losses, or another --metric KEY")
    # an export of several runs has columns of each; the others' steps and rates are not this one's
    run, between, _ = loss_key.rpartition(" - ")
    seen = Counter({key: n for key, n in seen.items() if " - " not in key or key.startswith(run + between)})
    axis, step_key = _axis([row for _, row, _ in rows], where)
    return _arrays(records, rows, axis, step_key, loss_key, seen)


def _axis(rows: Sequence[Mapping[str, Any]], where: str) -> tuple[str, str]:
    """The unit that the log counts in, and its key: the first of the usual names that most records have."""
    seen = Counter(key for row in rows for key, value in row.items() if number(value) is not None)
    usual = {key: count for key, count in seen.items() if count >= 0.5 * len(rows)}
    for axis, names in (("steps", STEPS), ("tokens", TOKENS), ("samples", SAMPLES)):
        key = _first(usual, names)
        if key is not None:
            return axis, key
    raise LogError(f"{where}: no step among its keys ({_some(seen)}); expected {_some(STEPS)}, tokens or samples")


def _arrays(records: Records, rows: list, axis: str, step_key: str, loss_key: str, seen: Mapping[str, int]) -> RawLog:
    others = {name: _first(seen, names) for name, names in (("lr", RATES), ("tokens", TOKENS), ("wall_s", TIMES))}
    kept, lost = [], []
    for line, row, loss in rows:
        step = number(row.get(step_key))
        whole = step is not None and math.isfinite(step) and step >= 0
        kept.append((line, row, step, loss)) if whole else lost.append(line)
    if not kept:
        got = shown(rows[0][1].get(step_key))
        raise LogError(f"{records.where}: line {rows[0][0]}: {step_key}: got {got}; expected a number, 0 or more")
    notices = list(records.notices)
    if lost:
        text = f"{records.where}: {len(lost)} losses without a {step_key} left out (line {lost[0]})"
        notices.append(Notice("unreadable", text))
    step = np.array([s for _, _, s, _ in kept])
    beside = {
        name: _beside(records.rows, kept, key, step_key, _time if name == "wall_s" else number)
        if key
        else np.full(len(kept), np.nan)
        for name, key in others.items()
    }
    if axis == "tokens":
        beside["tokens"] = step
    return RawLog(
        where=records.where,
        step=step,
        loss=np.array([loss for _, _, _, loss in kept]),
        line=np.array([line for line, *_ in kept]),
        axis=axis,
        step_key=step_key,
        loss_key=loss_key,
        loss_kind=_kind(loss_key),
        begins=_begins(records.rows, step_key),
        stated=records.stated,
        notices=tuple(notices),
        **beside,
    )


def _begins(rows: Sequence[Record], step_key: str) -> float:
    """The least step at which any of the usual losses is logged; infinite without one."""
    usual = {key for _, row in rows for key in row if folded(key) in LOSSES}
    steps = (number(row.get(step_key)) for _, row in rows if any(number(row.get(key)) is not None for key in usual))
    return min((step for step in steps if step is not None and step >= 0), default=math.inf)


def _beside(all_rows: list[Record], kept: list, key: str, step_key: str, read) -> np.ndarray:
    """The value of `key` beside each loss, `(n,)`: in the same record, else in another of the same step."""
    own = [read(row.get(key)) for _, row, _, _ in kept]
    if None in own:
        same = {number(row.get(step_key)): value for _, row in all_rows if (value := read(row.get(key))) is not None}
        own = [same.get(step) if value is None else value for value, (_, _, step, _) in zip(own, kept, strict=True)]
    return np.array([np.nan if value is None else value for value in own], dtype=float)


def _kind(key: str) -> str:
    name = folded(key)
    if "perplexity" in name or re.search(r"(^|[/_])ppl($|[/_])", name):
        return "perplexity"
    if "per_byte" in name or "bpb" in name:
        return "bits per byte"
    return "bits" if re.search(r"(^|[/_])(bits|bpt)($|[/_])", name) else "nats"


def _named(seen: Mapping[str, int], metric: str, where: str) -> str:
    for key in seen:
        if metric in (key, folded(key)):
            return key
    raise LogError(f"{where}: --metric: got {shown(metric)}; expected one of its keys: {_some(seen)}")


def _only(seen: Mapping[str, int], where: str) -> str | None:
    """The key of the loss, None without one. `LogError` where it is that of several runs."""
    key = _first(seen, LOSSES)
    same = [other for other in seen if key is not None and folded(other) == folded(key)]
    if len(same) > 1:
        raise LogError(f"{where}: holds several losses ({_some(same)}); expected --metric KEY, one of them")
    return key


def _filled(rows: Sequence[Record]) -> Counter[str]:
    """How many numbers each of the usual losses has: a CSV has a blank cell wherever a metric wasn't logged."""
    usual = {key: folded(key) in LOSSES for _, row in rows for key in row}
    return Counter(key for _, row in rows for key, value in row.items() if usual[key] and number(value) is not None)


def _common(filled: Mapping[str, int], seen: Mapping[str, int]) -> dict[str, int]:
    """Those of the usual losses that are logged again and again, beside one of which others may be sums at the end.

    Where none has a number yet, those that are there at all.
    """
    found = {key: n for key, n in (filled or seen).items() if folded(key) in LOSSES and not key.endswith(_RANGES)}
    return {key: count for key, count in found.items() if count >= _RARE * max(found.values())}


def _first(seen: Mapping[str, int], names: Sequence[str]) -> str | None:
    """The key that stands for the first of `names` that there is."""
    by_name = {folded(key): key for key in reversed(list(seen)) if not key.endswith(_RANGES)}
    return next((by_name[name] for name in names if name in by_name), None)


def _time(value: Any) -> float | None:
    """Seconds: a number, milliseconds if it is that large, or a date and time."""
    seconds = number(value)
    if seconds is None and isinstance(value, str):
        try:
            return datetime.datetime.fromisoformat(value.strip()[:LONGEST_NUMBER]).timestamp()
        except (ValueError, OverflowError, OSError):
            return None
    if seconds is None or not math.isfinite(seconds):
        return None
    return seconds / 1000.0 if seconds > _MILLISECONDS else seconds


def _some(names) -> str:
    names = [str(name)[:40] for name in names]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") or "none"
