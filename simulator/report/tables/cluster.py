"""Views of cluster estimates: a plan's times, memory and money; the fastest layouts; scores on measured steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.quantity import Quantity, median
from ....core.units import format_amount, format_count, format_duration, format_share
from ...cluster.cluster_estimate import ClusterEstimate
from ...cluster.layouts.layout import ParallelLayout
from ...cluster.layouts.search import RankedLayout
from .cells import add_row, percent, plain_table, quantity_cells, whole_parts

__all__ = [
    "calibration_view",
    "cluster_lines",
    "cluster_rows",
    "estimate_view",
    "layout_text",
    "machines_text",
    "notes_lines",
    "score_view",
    "search_view",
]

_LEAST_SHARE = 0.005  # of a step or of memory: smaller parts aren't shown


def estimate_view(result: ClusterEstimate) -> RenderableType:
    """The estimate of one plan: its layout, the numbers with intervals, where time and memory go, notes."""
    table = plain_table("", "estimated", "50 % interval", "90 % interval")
    for cells in cluster_rows(result):
        add_row(table, *cells)
    return Group(Text(machines_text(result), style="bold"), table, *cluster_lines(result), *notes_lines(result))


def machines_text(result: ClusterEstimate) -> str:
    """How many of which accelerators, in which number format at which peak, and the software."""
    peak = f"{result.peak_flops_per_s / 1e12:.4g} TFLOP/s"
    return f"{result.devices} × {result.accelerator}, {result.precision} at {peak}, {result.framework}"


def cluster_rows(result: ClusterEstimate) -> list[list[str]]:
    """Label, median, 50 % and 90 % interval of what an estimate has; no interval of what is certain.

    Steps × step time × (1 + outside steps) / goodput is the wall clock, and that times the devices the GPU-hours,
    except for the share that is waited for capacity.
    """
    rows: list[tuple[str, Quantity | str | None, Callable[[float], str]]] = [
        (f"steps of {format_count(result.step_tokens)} tokens", _steps(result.steps), str),
        ("step time", result.step_time_s, format_duration),
        ("MFU", result.mfu, format_share),
        ("outside steps", format_share(result.overhead).replace(".0%", "%"), str),
        ("goodput", result.goodput, format_share),
        ("wall clock, days", result.wall_clock_days, format_amount),
        ("waiting, not paid", _waiting(result), str),
        ("GPU-hours", result.gpu_hours, format_count),
        ("of them judging documents", result.judging_gpu_hours, format_count),
        ("of them writing synthetic text", result.generating_gpu_hours, format_count),
        ("cost, USD", result.cost_usd, format_count),
        ("energy, MWh", result.energy_mwh, format_amount),
        ("CO2e, t", result.co2e_t, format_amount),
        ("memory, GiB per device", result.peak_memory_gib, "{:.1f}".format),
    ]
    found = []
    for label, value, form in rows:
        if isinstance(value, str):
            found.append([label, value, "", ""])
        elif value is not None:
            found.append([label, *quantity_cells(value, form)])
    return found


def _steps(number: float) -> str:
    """A number of steps in full, up to where nobody reads it."""
    if number >= 1e9:
        return format_count(number)
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def _waiting(result: ClusterEstimate) -> str | None:
    """The share of the wall clock in which no devices are held; None where that is hardly any."""
    draws = result.draws
    before = [one for one in (draws.judging_gpu_hours, draws.generating_gpu_hours) if one is not None]
    hours = median(draws.gpu_hours - sum(before)) if before else result.gpu_hours.median
    held = hours / (result.wall_clock_days.median * 24 * result.devices)
    return format_share(1 - held) if held < 0.9995 else None


def cluster_lines(result: ClusterEstimate) -> list[Text]:
    """What the numbers rest on: layout, memory, where a step's time goes, chances of deadline and budget, dates."""
    lines = [
        f"layout: {layout_text(result.layout)}",
        f"memory {result.fits} with a chance of {percent(result.p_fit)}: {result.peak_memory_gib.median:.1f} of "
        f"{result.usable_memory_gib:.1f} GiB usable; "
        + _tenths(result.memory_parts_gib, result.peak_memory_gib.median),
        "step: " + _percents(result.step_parts_s),
        "wall clock: " + _percents(_wall_clock_parts(result)),
    ]
    if result.cost_usd is not None:
        lines.append(_cost_line(result))
        if result.price_published is not None:
            one = result.price_published
            how = one["purchase"].replace("_", " ")
            lines.append(f"price: {one['name']}: {one['what']}, {how}, as of {one['date']} ({one['sources'][0]})")
    if result.power_w is not None:
        grid = "" if result.co2e_t is None or result.energy_mwh is None else _grid(result.co2e_t, result.energy_mwh)
        draw = f"{result.power_w:.0f} W an accelerator, its host included"
        lines.append(f"energy: {draw}, × GPU-hours × PUE {result.pue:g}{grid}")
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
    notes = [Text(f"! {note}", style="yellow") for note in result.get("notes", [])]
    return Group(table, *map(Text, lines), *notes)


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
    blocks += [
        Text(f"{rows} rows don't state {key}: as usual of their software")
        for key, rows in result.get("assumed", {}).items()
    ]
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


def _wall_clock_parts(result: ClusterEstimate) -> dict[str, float]:
    """Mean shares of the wall clock; the run's steps apart from what lies outside steps."""
    shares = dict(result.wall_clock_shares)
    running = shares.pop("productive")
    steps = running / (1.0 + result.overhead)
    return {"steps": steps, "outside steps": running - steps, **shares}


def _cost_line(result: ClusterEstimate) -> str:
    """What the cost is made of: the price of an hour, and the parts where there are several."""
    price, parts = result.usd_per_device_hour, result.cost_parts_usd or {}
    said = [] if price is None else [f"{price:g} USD a GPU-hour"]
    paid = {name.removesuffix("_usd"): usd for name, usd in parts.items() if usd > 0}
    if len(paid) > 1 or price is None:
        said.append(", ".join(f"{name} {format_count(usd)}" for name, usd in paid.items()) or "nothing")
    return "cost: " + "; ".join(said)


def _grid(co2e_t: Quantity, energy_mwh: Quantity) -> str:
    return f", at {1000 * co2e_t.median / energy_mwh.median:.4g} g CO2e a kWh" if energy_mwh.median else ""


def _percents(parts: Mapping[str, float]) -> str:
    """Parts as whole percentages that sum to 100."""
    return ", ".join(f"{name.replace('_', ' ')} {share}%" for name, share in whole_parts(parts, 100).items())


def _tenths(parts: Mapping[str, float], total: float) -> str:
    """Parts to a tenth that sum to the total as it is written; small ones together, as other."""
    large = {name: part for name, part in parts.items() if part >= _LEAST_SHARE * total}
    rest = sum(parts.values()) - sum(large.values())
    large["other"] = large.get("other", 0.0) + rest
    return ", ".join(f"{name} {tenths / 10:.1f}" for name, tenths in whole_parts(large, round(10 * total)).items())
