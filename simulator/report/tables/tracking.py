"""The view of a running job against its plan."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.summary import difference_text
from ....core.units import format_count, format_duration
from ...curve.law.public import PUBLIC
from ...tracking.pace import RunPace
from ...tracking.result import Tracking
from .cells import add_row, percent, plain_table

__all__ = ["tracking_view"]

_NO_LOSS = 0.005  # share of time lost below which nothing is said


def tracking_view(result: Tracking) -> RenderableType:
    """Where the run stands and will end, with intervals and the plan beside it; what was noticed; the verdict."""
    log, tokens = result.log, result.config.data.tokens
    share = log.now / result.steps
    title = (
        f"{result.config.name or 'run'}: step {log.now:.0f} of {result.steps} ({share:.0%}), "
        f"{format_count(result.tokens)} of {format_count(tokens)} tokens"
    )
    blocks: list[RenderableType] = [Text(title, style="bold"), _losses(result)]
    if result.difference_nats is not None:
        told = difference_text(result.difference_nats, "{:+.3f}".format, "nats")
        blocks.append(Text(f"against the plan: {told}"))
    if result.p_target is not None:
        blocks.append(Text(f"chance of reaching the target: {percent(result.p_target)}"))
    for name, (steps, end) in result.branch_ends.items():
        low, high = end.interval(0.9)
        blocks.append(
            Text(f"{name}, to step {steps:,}: ends at {end.loss[0]:.3f} nats (90 %: {low[0]:.3f} to {high[0]:.3f})")
        )
    if result.pace is not None:
        blocks += [_times(result.pace), *map(Text, _dates(result.pace))]
    rests = f"rests on {len(log.step)} points of {log.metric} in {log.where}; curves: {_curves(result)}"
    blocks.append(Text(rests, style="dim"))
    blocks += [Text(f"! {notice.text}", style="yellow") for notice in result.notices]
    good = "green" if result.ok else "red"
    return Group(*blocks, Text(result.sentence, style=f"bold {good}"))


def _curves(result: Tracking) -> str:
    """What the shape of the loss curve was taken from."""
    name = result.belief.prior.name
    return f"the laws of the {PUBLIC}, no related runs were given" if name == PUBLIC else name


def _losses(result: Tracking) -> Table:
    table = plain_table("at the end", "expected", "50 % interval", "90 % interval", "planned")
    loss, plan = result.loss_nats, result.plan.loss_nats
    forms: tuple[tuple[str, Callable[[float], str], Callable[[float], float]], ...] = (
        ("loss, nats per token", "{:.3f}".format, float),
        ("perplexity per token", "{:.2f}".format, math.exp),
    )
    for label, form, read in forms:
        cells = ["", "", ""]
        if loss is not None:
            ends = [" to ".join(form(read(end)) for end in loss.intervals[level]) for level in (0.5, 0.9)]
            cells = [form(read(loss.median)), *ends]
        add_row(table, label, *cells, f"{form(read(plan))} ({result.plan.source})")
    return table


def _times(pace: RunPace) -> Table:
    table = plain_table("so far", "measured", "estimated", "90 % interval")
    rows = [
        ("step time", pace.step_time_s, pace.planned_step_time_s, format_duration),
        ("wall clock, days, if it goes on so", pace.total_days, pace.planned_days, "{:.1f}".format),
    ]
    for label, measured, planned, form in rows:
        cells = ["", ""]
        if planned is not None:
            cells = [form(planned.median), " to ".join(form(end) for end in planned.intervals[0.9])]
        add_row(table, label, form(measured), *cells)
    add_row(table, "tokens per second", format_count(pace.tokens_per_s), "", "")
    if pace.mfu is not None:
        add_row(table, "MFU", f"{pace.mfu:.1%}", "", "")
    return table


def _dates(pace: RunPace) -> list[str]:
    done = f"{pace.days_left:.1f} days left" + ("" if pace.finish is None else f", done on {pace.finish}")
    if pace.lost_share >= _NO_LOSS:
        done += f"; {pace.lost_share:.0%} of the time so far was lost"
    margin = pace.margin_days
    if margin is None:
        return [done]
    kept = f"{margin:.1f} days before" if margin >= 0 else f"{-margin:.1f} days after"
    return [f"{done}; {kept} the deadline"]
