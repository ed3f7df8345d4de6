"""From a log on disk to points that can be believed: `read_log` puts all the checks in order."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ...core.errors import LogError
from ...datasets.run_logs.columns import RawLog, choose_columns
from ...datasets.run_logs.order import in_order
from ...datasets.run_logs.records import Notice, read_records
from ..config.run_config import RunConfig
from ..curve.rates.path import RatePath
from .contradictions import compare_rates, gaps, initial_loss, other_config
from .scales import in_nats, step_unit

__all__ = ["RunLog", "read_log"]

_FAR_BELOW, _FAR_ABOVE = 10.0, 1000.0  # times the usual loss: beyond is no spike, but a slip of the logger


@dataclass(frozen=True)
class RunLog:
    """The points of a run so far: `loss: (n,)` in nats per token after `step: (n,)` optimizer steps, rising.

    `path` has the learning rates that the law reads, `diverged_at` the step from which there is no loss any more.
    `clock` is `(2, m)`: optimizer steps and seconds of every record with a time, in the order of the file.
    """

    where: str
    metric: str
    unit: str
    step: np.ndarray
    loss: np.ndarray
    path: RatePath
    diverged_at: float | None
    clock: np.ndarray
    notices: tuple[Notice, ...]

    @property
    def now(self) -> float:
        """The last step that was logged."""
        return float(self.step[-1])


def read_log(
    path: str | os.PathLike[str],
    config: RunConfig,
    rates: RatePath,
    planned_loss: float,
    metric: str | None = None,
    unit: str = "auto",
) -> RunLog:
    """Read the log of a run that was planned as `config`, with `rates`, to end at `planned_loss` nats.

    `metric` names the loss, `unit` what the log counts (see `scales.UNITS`); both are found out where they can be.
    Raises `LogError` naming file and line for what can't be read; all else that is odd is in `notices`.
    """
    raw = choose_columns(read_records(path), metric)
    ordered = in_order(raw)
    told = step_unit(raw, ordered.index, config, rates, unit)
    step, index, beyond = _within(raw, ordered.index, told.per_step, rates)
    loss, changed = in_nats(raw, step, raw.loss[index], config, planned_loss)
    likely, odd = _likely(raw, step, loss)
    step, loss, index = step[likely], loss[likely], index[likely]
    so_far = compare_rates(raw.where, step, raw.lr[index], config, rates)
    diverged_at = None if ordered.diverged_at is None else ordered.diverged_at / told.per_step
    timed = np.isfinite(raw.wall_s)
    return RunLog(
        where=raw.where,
        metric=raw.loss_key,
        unit=told.name,
        step=step,
        loss=loss,
        path=so_far.path,
        diverged_at=diverged_at,
        clock=np.stack([raw.step[timed] / told.per_step, raw.wall_s[timed]]),
        notices=(
            *raw.notices,
            *ordered.notices,
            *told.notices,
            *beyond,
            *changed,
            *odd,
            *other_config(raw, config, told.per_step),
            *initial_loss(raw.where, step, loss, config),
            *so_far.notices,
            *gaps(raw.where, step, rates),
        ),
    )


def _likely(raw: RawLog, step: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, list[Notice]]:
    """Which losses, nats `(n,)`, can be any, and what to say of the others: slips of the logger, no spikes."""
    usual = float(np.median(loss))
    likely = (loss > usual / _FAR_BELOW) & (loss < usual * _FAR_ABOVE)
    odd = np.flatnonzero(~likely)
    if not len(odd):
        return likely, []
    text = (
        f"{raw.where}: {len(odd)} losses that can't be are left out (first: {loss[odd[0]]:.3g} nats at step "
        f"{step[odd[0]]:.0f})"
    )
    return likely, [Notice("implausible", text, float(step[odd[0]]))]


def _within(
    raw: RawLog, index: np.ndarray, per_step: float, rates: RatePath
) -> tuple[np.ndarray, np.ndarray, list[Notice]]:
    """Optimizer steps of the records up to the planned end, the records, and what to say of those beyond it."""
    step = raw.step[index] / per_step
    inside = step <= rates.steps
    if not inside.any():
        raise LogError(f"{raw.where}: begins at step {step[0]:.0f}; the plan ends at step {rates.steps}")
    beyond = step[~inside]
    if not len(beyond) or beyond[-1] <= rates.steps + 1:  # the step after the last, as some count
        return step[inside], index[inside], []
    text = (
        f"{raw.where}: {len(beyond)} points lie beyond the planned end, step {rates.steps} (the last at "
        f"{beyond[-1]:.0f}): left out; the run goes on longer than planned, or is another"
    )
    return step[inside], index[inside], [Notice("beyond", text, float(beyond[0]), serious=True)]
