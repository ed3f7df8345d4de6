"""Proxies as tables for a terminal: what a design will cost, and how far a campaign is.

Results come as values whose attributes are read here; nothing of `proxies` is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.units import format_count, format_duration, format_flops
from .cells import whole_parts

__all__ = ["design_view", "next_view", "planned_view", "status_view", "trained_view"]

_STATES = ("done", "running", "planned", "diverged", "failed")
_USUAL = _STATES[:3]
_NOTES = {
    "router_load": ("router: the busiest expert gets", " times an even share", "{:.2f}"),
    "router_idle": ("router: experts with less than a tenth of an even share:", "", "{:.0%}"),
}
"""What models note of themselves: words before and after, and the format of the value; others go by their name."""


def design_view(plan: Any, folder: Path) -> RenderableType:
    """A `proxies.design.Design`: its runs by size, and the cost of each stage."""
    selected = any(run.selection is not None for run in plan.runs)
    names = ("parameters", "width", "runs", "tokens", "FLOPs each", "seeds", "mixes")
    table = _table(*names, *(["selections"] if selected else []))
    by_size: dict[int, list[Any]] = {}
    for run in plan.runs:
        by_size.setdefault(run.shape.params_total, []).append(run)
    for params, runs in sorted(by_size.items()):
        tokens = sorted({run.tokens for run in runs})
        table.add_row(
            format_count(params),
            f"{runs[0].shape.width}",
            f"{len(runs)}",
            " ".join(format_count(count) for count in (tokens if len(tokens) < 4 else (tokens[0], tokens[-1]))),
            format_flops(max(run.training_flops for run in runs)).removesuffix(" FLOPs"),
            f"{len({run.seed for run in runs})}",
            f"{len({tuple(sorted(run.mix.items())) for run in runs})}",
            *([f"{len({run.selection for run in runs})}"] if selected else []),
        )
    lines = [Text(line, style="yellow" if line.startswith("dropped") else "") for line in plan.summary()]
    title = Text(f"stage {plan.stage}: {len(plan.runs)} runs", style="bold")
    return Group(title, table, *lines, Text(f"simulate proxies train {folder}"))


def next_view(plan: Any, project: Path) -> RenderableType:
    """The stage that `simulate proxies design --after` adds: its runs, and how much narrower the forecast gets."""
    table = _table("run", "parameters", "tokens", "FLOPs", "of the plan's", "then ±")
    spent = 0.0
    for run, width in zip(plan.runs, plan.half_width[1:], strict=True):
        spent += run.training_flops
        table.add_row(
            run.run_id,
            format_count(run.shape.params_total),
            format_count(run.tokens),
            format_flops(run.training_flops).removesuffix(" FLOPs"),
            f"{spent / plan.planned_flops:.2g} ×",
            f"{width:.2%}",
        )
    planned = f"{format_count(plan.planned['params'])} parameters on {format_count(plan.planned['tokens'])} tokens"
    mix = " ".join(f"{name.removeprefix('mix.')} {share:.3g}" for name, share in plan.planned.items() if "mix." in name)
    lines = [
        f"planned run: {planned}, mix {mix}",
        f"its loss: {plan.loss_nats:.4g} nats by {plan.law}; 90 % interval ±{plan.half_width[0]:.2%} now, "
        f"±{plan.half_width[-1]:.2%} then",
        f"{len(plan.runs)} of {plan.pool} candidates: {format_flops(plan.estimate.training_flops)} "
        f"({plan.estimate.training_flops / plan.planned_flops:.2g} × the planned run's), about "
        f"{format_duration(plan.estimate.wall_clock_s)} on {plan.workers} workers",
    ]
    title = Text(f"stage {plan.stage}: {len(plan.runs)} runs", style="bold")
    notes = [Text(note, style="yellow") for note in plan.notes]
    after = [Text(f"simulate proxies train {project}")] if plan.written else []
    return Group(title, *([table] if plan.runs else []), *map(Text, lines), *notes, *after)


def trained_view(folder: Path, status: Any, spent: Any) -> RenderableType:
    """The end of `simulate proxies train`: a `CampaignStatus`, the time of all stages, and what to do next."""
    counts = ", ".join(f"{status.counts[state]} {state}" for state in _STATES if status.counts[state])
    following = f"simulate proxies table {folder} --out runs.csv && simulate fit runs.csv --out predictor"
    lines = [
        Text(f"{counts}; {format_count(status.tokens_done)} tokens"),
        *_spent(spent),
        *_noted([status]),
        *_busy([status]),
    ]
    return Group(*lines, Text(following))


def planned_view(trained: Any) -> RenderableType:
    """A plan's run that was trained (`workflows.planned_training.TrainedPlan`): its losses, and what to do next."""
    run = trained.run
    size = f"{format_count(run.shape.params_total)} parameters, {format_count(run.steps * run.batch_tokens)} tokens"
    title = Text(f"{size}, {format_flops(run.training_flops)}", style="bold")
    notes = [Text(f"! {note}", style="yellow") for note in trained.notes]
    wrote = Text(f"wrote {trained.out}; simulate score predictor {trained.out}")
    if trained.loss_nats is None:
        return Group(title, Text(f"! diverged at step {trained.result.diverged_step}", style="red"), *notes, wrote)
    table = _table("domain", "loss, nats per token")
    for domain, loss in trained.losses.items():
        table.add_row(domain, f"{loss.mean_nats:.4f}")
    if len(trained.losses) > 1:
        table.add_row("mean", f"{trained.loss_nats:.4f}")
    return Group(title, table, *notes, wrote)


def status_view(statuses: Mapping[str, Any]) -> RenderableType:
    """Each stage's `CampaignStatus`: runs by state, tokens, pace; failures by name."""
    # A column of zeros tells nothing, and the table would be wider than a terminal.
    states = [state for state in _STATES if state in _USUAL or any(s.counts[state] for s in statuses.values())]
    table = _table("stage", *states, "tokens", "of", "tokens/s", "time left")
    failures = []
    for name, status in statuses.items():
        table.add_row(
            name,
            *(f"{status.counts[state]}" for state in states),
            format_count(status.tokens_done),
            format_count(status.tokens_total),
            "" if status.tokens_per_s is None else format_count(status.tokens_per_s),
            "" if status.eta_s is None else format_duration(status.eta_s),
        )
        failures += [Text(f"! {run.run_id}: {run.failure}", style="red") for run in status.runs if run.failure]
    if not statuses:
        return Text("designed; nothing is trained yet")
    return Group(table, *_noted(statuses.values()), *_busy(statuses.values()), *failures)


def _spent(spent: Any) -> list[Text]:
    """What a `CampaignTime` went into, in one line; nothing where it is None."""
    if spent is None or not spent.wall_s:
        return []
    shares = dict(spent.shares)
    start = shares.pop("start") + shares.pop("compile")
    parts = {"training steps": shares.pop("steps"), "start and compilation": start, **shares}
    percents = whole_parts(parts, 100)
    words = [f"{percents[what]} % {what}" for what in parts if what in percents]
    workers = spent.worker_s / spent.wall_s
    on = f"{workers:.2g} worker{'' if workers == 1 else 's'}"
    return [Text(f"trained for {format_duration(spent.wall_s)} on {on}: {', '.join(words)}")]


def _noted(statuses: Iterable[Any]) -> list[Text]:
    """What the models of finished runs noted of themselves, from the least to the most: a line for each note."""
    values: dict[str, list[float]] = {}
    for status in statuses:
        for run in status.runs:
            for name, value in run.diagnostics.items():
                values.setdefault(name, []).append(value)
    lines = []
    for name in sorted(values, key=lambda name: [*_NOTES, name].index(name)):
        noted = values[name]
        what, after, shown = _NOTES.get(name, (name, "", "{:.3g}"))
        ends = list(dict.fromkeys(shown.format(end) for end in (min(noted), max(noted))))
        runs = f"{len(noted)} run{'' if len(noted) == 1 else 's'}"
        lines.append(Text(f"{what} {' to '.join(ends)}{after} ({runs})"))
    return lines


def _busy(statuses: Iterable[Any]) -> list[Text]:
    """A line where other work disturbed the measurement that a campaign's number format was chosen by."""
    chosen = sorted({status.plan.precision for status in statuses if status.plan is not None and status.plan.busy})
    if not chosen:
        return []
    told = f"! the cores were busy when their speed was measured; the shortest times decided for {' and '.join(chosen)}"
    return [Text(told, style="yellow")]


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number == 0 else "right")
    return table
