"""Views of cluster estimates: a plan's times, memory and money; the fastest layouts; scores on measured steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.quantity import Quantity
from ....core.units import format_count, format_duration
from ...cluster.cluster_estimate import ClusterEstimate
from ...cluster.layouts.layout import ParallelLayout
from ...cluster.layouts.search import RankedLayout
from .cells import add_row, percent, plain_table

__all__ = [
    "calibration_view",
    "cluster_lines",
    "cluster_rows",
    "estimate_view",
    "layout_text",
    "notes_lines",
    "score_view",
    "search_view",
]

_LEAST_SHARE = 0.005  # of a step or of memory: smaller parts aren't shown


def estimate_view(result: ClusterEstimate) -> RenderableType:
    """The estimate of one plan: its layout, the numbers with intervals, where time and memory go, notes."""
    table = plain_table("", "estimated", "50 % interval", "90 % interval")
    for label, quantity, form in cluster_rows(result):
        intervals = [f"{form(low)} to {form(high)}" for low, high in (quantity.intervals[0.5], quantity.intervals[0.9])]
        add_row(table, label, form(quantity.median), *intervals)
    title = f"{result.devices} × {result.accelerator}, {result.precision}, {result.framework}"
    return Group(Text(title, style="bold"), table, *cluster_lines(result), *notes_lines(result))


def cluster_rows(result: ClusterEstimate) -> list[tuple[str, Quantity, Any]]:
    """Label, quantity and how to write it, of what an estimate has."""
    rows: list[tuple[str, Quantity | None, Any]] = [
        ("step time", result.step_time_s, format_duration),
        ("MFU", result.mfu, "{:.1%}".format),
        ("wall clock, days", result.wall_clock_days, "{:.1f}".format),
        ("goodput", result.goodput, "{:.1%}".format),
        ("GPU-hours", result.gpu_hours, format_count),
        ("cost, USD", result.cost_usd, format_count),
        ("energy, MWh", result.energy_mwh, _amount),
        ("CO2e, t", result.co2e_t, _amount),
        ("memory, GiB per device", result.peak_memory_gib, "{:.1f}".format),
    ]
    return [(label, quantity, form) for label, quantity, form in rows if quantity is not None]


def _amount(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:.3g}" if abs(number) < 999.5 else format_count(number)


def cluster_lines(result: ClusterEstimate) -> list[Text]:
    """What the numbers rest on: layout, memory, where a step's time goes, chances of deadline and budget, dates."""
    lines = [
        f"layout: {layout_text(result.layout)}",
        f"memory {result.fits} with a chance of {percent(result.p_fit)}: {result.peak_memory_gib.median:.1f} of "
        f"{result.usable_memory_gib:.1f} GiB usable; " + _shares(result.memory_parts_gib, "{:.1f}"),
        "step: " + _percents(result.step_parts_s),
    ]
    if result.finish is not None:
        days = result.finish
        lines.append(f"done on {days['median']}, 90 % interval {days['low_90']} to {days['high_90']}")
    chances = {"deadline": result.p_deadline, "budget": result.p_budget}
    said = [f"{name} {percent(share)}" for name, share in chances.items() if share is not None]
    if said:
        lines.append(f"chance of keeping to the {', to the '.join(said)}")
    if result.calibrated_on:
        lines.append(f"calibrated on {result.calibrated_on} measured step{'s' if result.calibrated_on > 1 else ''}")
    return [Text(line) for line in lines]


def notes_lines(result: ClusterEstimate) -> list[Text]:
    """Notes as warnings."""
    return [Text(f"! {note}", style="yellow") for note in result.notes]


def layout_text(layout: ParallelLayout) -> str:
    """A layout in a line: what differs from the plainest, and always dp, ZeRO stage and micro-batch."""
    plain = asdict(ParallelLayout())
    parts = []
    for key, value in asdict(layout).items():
        if key == "loss_chunks" and value != plain[key]:
            parts.append(f"loss in {value} chunks" if value else "loss fused")
        elif key in ("dp", "zero_stage", "micro_batch", "accumulation") or value != plain[key]:
            parts.append(key if value is True else f"no {key}" if value is False else f"{key} {value}")
    return ", ".join(parts)


def search_view(found: Sequence[RankedLayout], rows: Sequence[Mapping[str, Any]], seconds: float) -> RenderableType:
    """The fastest layouts, fastest first."""
    table = plain_table(
        "layout", "software", "step time", "80 % interval", "tokens/s", "MFU", "GiB", "to fit", "memory"
    )
    for one, row in zip(found, rows, strict=True):
        low, high = row["step_time_interval_s"]
        interval = f"{format_duration(low)} to {format_duration(high)}"
        numbers = [format_duration(one.step_time_s), interval, format_count(row["tokens_per_s"]), f"{row['mfu']:.1%}"]
        add_row(
            table,
            layout_text(one.layout),
            one.framework,
            *numbers,
            f"{one.device_gib:.1f}",
            percent(one.p_fit),
            one.verdict,
        )
    note = "intervals are of each time alone; what layouts share moves all of them together, so ranks are surer"
    return Group(table, Text(f"{note}; took {seconds:.2f} s", style="dim"))


def calibration_view(result: Mapping[str, Any], where: str) -> RenderableType:
    """How measured steps differed from predictions, before and after, and where the calibration was written."""
    table = plain_table("measured step", "measured", "predicted before", "after", "± 80 % before", "after")
    for one in result["steps"]:
        times = [format_duration(one[key]) for key in ("measured_s", "before_s", "after_s")]
        add_row(table, one["name"], *times, *(f"{one[key]:.0%}" for key in ("half_width_before", "half_width_after")))
    lines = [f"wrote {where}: simulate predict --config run.yaml --calibration {where}"]
    if "layout" in result:
        lines.insert(0, f"taken as measured in the layout {layout_text(ParallelLayout(**result['layout']))}")
    return Group(table, *map(Text, lines))


def score_view(result: Mapping[str, Any]) -> RenderableType:
    """Errors by source, coverage, memory and ranking."""
    blocks: list[RenderableType] = []
    if result["step_time"] is not None:
        blocks += [_errors(result["step_time"]), Text("")]
        ranked, covered = result["ranking"], result["step_time"]["coverage"]["0.8"]
        blocks.append(Text(f"80 % interval covers {covered:.0%} on average of sources"))
        if ranked["groups"]:
            said = f"mean regret {ranked['mean_regret']:.1%}, rank correlation {ranked['spearman']:.2f}"
            blocks.append(Text(f"layouts, {ranked['groups']} groups of at least 4: {said}"))
    if result["memory"]["pooled"] is not None:
        blocks += [Text(""), _memory(result["memory"])]
    fits = result["memory"]["fits"]
    if fits["rows"]:
        blocks.append(Text(f"whether it fits: {fits['wrong']} wrong of {fits['rows']} rows whose answer is known"))
    blocks += [Text(f"! {rows} rows {reason}: left out", style="yellow") for reason, rows in result["skipped"].items()]
    return Group(*blocks)


def _errors(scores: Mapping[str, Any]) -> Table:
    table = plain_table("step time", "rows", "median error", "p90", "max", "bias", "in 80 %")
    for name, one in scores["by_source"].items():
        add_row(table, name, *_numbers(one), f"{one['coverage']['0.8']:.0%}")
    for name in ("dense", "moe", "pooled"):
        if scores[name] is not None:
            add_row(table, {"moe": "mixtures of experts"}.get(name, name), *_numbers(scores[name]), "")
    add_row(table, "mean of the sources' medians", "", f"{scores['macro_median']:.1%}", "", "", "", "")
    return table


def _memory(scores: Mapping[str, Any]) -> Table:
    table = plain_table("memory", "rows", "median error", "p90", "max", "bias")
    for name, one in {**scores["by_source"], "pooled": scores["pooled"]}.items():
        add_row(table, name, *_numbers(one))
    return table


def _numbers(one: Mapping[str, Any]) -> list[str]:
    return [str(one["rows"]), *(f"{one[key]:.1%}" for key in ("median", "p90", "max")), f"{one['bias']:+.1%}"]


def _percents(parts: Mapping[str, float]) -> str:
    total = sum(parts.values())
    largest = sorted(parts.items(), key=lambda item: -abs(item[1]))
    shown = [f"{k.replace('_', ' ')} {v / total:.0%}" for k, v in largest if abs(v) >= _LEAST_SHARE * total]
    return ", ".join(shown)


def _shares(parts: Mapping[str, float], form: str) -> str:
    total = sum(parts.values())
    largest = sorted(parts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {form.format(v)}" for name, v in largest if v >= _LEAST_SHARE * total)
