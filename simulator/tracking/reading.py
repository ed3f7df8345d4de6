"""Reading a log into validated points: `read_log` runs all the checks in order."""

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
from .contradictions import changes_so_far, compare_rates, gaps, initial_loss, other_config
from .scales import in_nats, step_unit
from .step_axis import optimizer_steps, planned_steps

__all__ = ["RunLog", "points_of", "read_log"]

_FAR_BELOW, _FAR_ABOVE = 10.0, 1000.0  # times the usual loss: values beyond are logging errors, not spikes


@dataclass(frozen=True)
class RunLog:
    """The points of a run so far: `loss: (n,)` in nats per token after `step: (n,)` optimizer steps, rising.

    `path` has the learning rates that the law reads, `diverged_at` the step from which there is no loss any more.
    `clock` is `(2, m)`: optimizer steps and seconds of every record with a time, in the order of the file.
    """

    where: str
    metric: str
    step_key: str
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
    path: str | os.PathLike[str] | bytes,
    config: RunConfig,
    rates: RatePath,
    planned_loss: float,
    metric: str | None = None,
    unit: str = "auto",
) -> RunLog:
    """Read the log of a running job. Anomalies that can be handled are listed in `notices`.

    Args:
        path: The log, or what it holds.
        config: The run's plan.
        rates: The plan's learning rates.
        planned_loss: The planned final loss, nats per token.
        metric: The key of the loss; detected if None.
        unit: What the log counts, see `scales.UNITS`; detected if "auto".

    Raises:
        LogError: The log can't be read; names file and line.
    """
    return points_of(choose_columns(read_records(path), metric), config, rates, planned_loss, unit)


def points_of(raw: RawLog, config: RunConfig, rates: RatePath, planned_loss: float, unit: str = "auto") -> RunLog:
    """The points of a log whose columns are chosen already; see `read_log`."""
    ordered = in_order(raw)
    if unit == "auto" and raw.axis == "steps" and planned_steps(raw, ordered.index, config, rates):
        unit = "steps"
    counted = step_unit(raw, ordered.index, config, rates, unit)
    steps = optimizer_steps(raw.step, counted.name, counted.per_step, rates)
    step, index, beyond = _within(raw, ordered.index, steps, rates)
    loss, changed = in_nats(raw, step, raw.loss[index], config, planned_loss)
    likely, odd = _likely(raw, step, loss)
    step, loss, index = step[likely], loss[likely], index[likely]
    so_far = compare_rates(raw.where, step, raw.lr[index], config, rates)
    diverged_at = None if ordered.diverged_at is None else ordered.diverged_at / counted.per_step
    timed = np.isfinite(raw.wall_s)
    return RunLog(
        where=raw.where,
        metric=raw.loss_key,
        step_key=raw.step_key,
        unit=counted.name,
        step=step,
        loss=loss,
        path=so_far.path,
        diverged_at=diverged_at,
        clock=np.stack([steps[timed], raw.wall_s[timed]]),
        notices=(
            *raw.notices,
            *ordered.notices,
            *counted.notices,
            *beyond,
            *changed,
            *odd,
            *other_config(raw, config, counted.per_step),
            *initial_loss(raw.where, step, loss, config),
            *so_far.notices,
            *gaps(raw.where, step, rates, raw.begins / counted.per_step),
            *changes_so_far(raw.where, step, rates),
        ),
    )


def _likely(raw: RawLog, step: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, list[Notice]]:
    """A mask of plausible losses, given in nats `(n,)`, and notices of the others, which are logging errors."""
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
    raw: RawLog, index: np.ndarray, steps: np.ndarray, rates: RatePath
) -> tuple[np.ndarray, np.ndarray, list[Notice]]:
    """Optimizer steps of the records up to the planned end, the records, and notices of those beyond it."""
    step = steps[index]
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
