"""The points of a log in rising order of the step, with notices of restarts, repeats and losses that aren't finite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import LogError
from .columns import RawLog
from .records import Notice

__all__ = ["Ordered", "in_order"]

_SHUFFLED = 0.2  # share of records after which the step falls that makes a log unsorted rather than restarted
_MOST_NOTICES = 3  # notices of one kind that are written out


@dataclass(frozen=True)
class Ordered:
    """Which records count, as indices `(n,)` in rising order of the step; all their losses are finite.

    `diverged_at` is the step from which the loss is no number up to the log's end; None where it ends well.
    """

    index: np.ndarray
    diverged_at: float | None
    notices: tuple[Notice, ...]


def in_order(log: RawLog) -> Ordered:
    """Put the records of a log in order; steps that were repeated after a restart replace the earlier ones.

    Raises `LogError` for losses of 0 or below, and where no finite loss is left.
    """
    wrong = np.flatnonzero(log.loss <= 0)
    if len(wrong):
        raise LogError(
            f"{log.where}: line {log.line[wrong[0]]}: {log.loss_key}: got {log.loss[wrong[0]]:g}; "
            "expected a cross-entropy above 0"
        )
    step = log.step
    falls = np.flatnonzero(np.diff(step) < 0)
    notices: list[Notice] = []
    if len(falls) > max(2, _SHUFFLED * len(step)):
        index = np.argsort(step, kind="stable")
        notices.append(Notice("unsorted", f"{log.where}: its records aren't in order of {log.step_key}: sorted"))
    else:
        stray = _strays(step, falls)
        notices += _stray_notices(log, stray)
        index = np.delete(np.arange(len(step)), stray)
    later = np.minimum.accumulate(np.append(step[index], np.inf)[::-1])[::-1][1:]
    last = step[index] < later
    notices += _restarts(log, index, last)
    index = index[last]
    finite, diverged_at, more = _finite(log, index)
    return Ordered(finite, diverged_at, tuple(notices + more))


def _strays(step: np.ndarray, falls: np.ndarray) -> np.ndarray:
    """Single records whose step falls back while the next continues: logging errors rather than restarts."""
    at = falls[falls + 2 < len(step)] + 1
    return at[step[at + 1] > step[at - 1]]


def _stray_notices(log: RawLog, stray: np.ndarray) -> list[Notice]:
    if not len(stray):
        return []
    text = (
        f"{log.where}: line {log.line[stray[0]]}: {log.step_key} {log.step[stray[0]]:g} stands between "
        f"{log.step[stray[0] - 1]:g} and {log.step[stray[0] + 1]:g}: left out ({len(stray)} such)"
    )
    return [Notice("repeated", text, float(log.step[stray[0]]))]


def _restarts(log: RawLog, index: np.ndarray, last: np.ndarray) -> list[Notice]:
    """A notice for each time that the step falls back, and one for steps that were written twice."""
    step, notices = log.step[index], []
    falls = np.flatnonzero(np.diff(step) < 0)
    for number, at in enumerate(falls.tolist()):
        if number == _MOST_NOTICES:
            notices.append(Notice("restart", f"{log.where}: {len(falls) - number} more restarts"))
            break
        notices.append(_restart(log, index, at, step))
    twice = int(np.sum((np.diff(step) == 0) & ~last[:-1]))
    if twice:
        first = float(step[:-1][np.diff(step) == 0][0])
        text = f"{log.where}: {twice} steps are logged more than once (first {first:g}): the last record counts"
        notices.append(Notice("repeated", text, first))
    return notices


def _restart(log: RawLog, index: np.ndarray, at: int, step: np.ndarray) -> Notice:
    before, back = float(step[at]), float(step[at + 1])
    again = (step[: at + 1] >= back).sum()
    nans = int((~np.isfinite(log.loss[index[: at + 1]]) & (step[: at + 1] >= back)).sum())
    why = f", {nans} of them without a finite loss" if nans else ""
    line = log.line[index[at + 1]]
    if back <= step[: at + 1].min():
        text = (
            f"{log.where}: line {line}: {log.step_key} starts again at {back:g} after {before:g}: only the last pass "
            f"counts, the {again} points before it are left out{why}; is it all one run?"
        )
        return Notice("reset", text, back, serious=True)
    text = (
        f"{log.where}: line {line}: {log.step_key} falls back from {before:g} to {back:g}, a restart from a "
        f"checkpoint: the {again} points done again count as they were the last time{why}"
    )
    return Notice("restart", text, back)


def _finite(log: RawLog, index: np.ndarray) -> tuple[np.ndarray, float | None, list[Notice]]:
    """The records with finite losses; the step from which none is finite; notices of the others."""
    step, good = log.step[index], np.isfinite(log.loss[index])
    if not good.any():
        raise LogError(f"{log.where}: {log.loss_key}: no finite loss; the first is at {log.step_key} {step[0]:g}")
    if good.all():
        return index, None, []
    end = int(np.flatnonzero(good)[-1]) + 1
    diverged_at = float(step[end]) if end < len(step) else None
    inside = np.flatnonzero(~good[:end])
    notices = []
    if len(inside):
        text = (
            f"{log.where}: {len(inside)} losses aren't finite (first at {log.step_key} {step[inside[0]]:g}) and are "
            "left out; the run went on"
        )
        notices.append(Notice("not_finite", text, float(step[inside[0]])))
    if diverged_at is not None:
        text = f"{log.where}: diverged: no finite loss from {log.step_key} {diverged_at:g} to its end at {step[-1]:g}"
        notices.append(Notice("diverged", text, diverged_at, serious=True))
    return index[good], diverged_at, notices
