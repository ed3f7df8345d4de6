"""Plans side by side for a terminal: each figure of every plan, and its difference to the first plan's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.quantity import Difference
from ....core.summary import difference_text
from ....core.units import format_amount, format_count, format_decimals
from ...config.stages.in_words import stages_in_words
from ...forecast.compare import FIGURES, WITH_STAGES, Comparison, figures, with_stages
from ..bars import Interval, Strips
from .cells import add_row, percent, plain_table
from .forecast import run_size

__all__ = ["comparison_view", "difference_cell", "difference_lines"]

_SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "loss_nats": ("loss, nats per token", "{:.3f}".format),
    "perplexity": ("perplexity per token", lambda number: format_decimals(number, 2)),
    "bits_per_byte": ("bits per byte", "{:.3f}".format),
    "wall_clock_days": ("wall clock, days", format_amount),
    "gpu_hours": ("GPU-hours", format_count),
    "cost_usd": ("cost, USD", format_count),
    "energy_mwh": ("energy, MWh", format_amount),
    "total_wall_clock_days": ("wall clock with all stages, days", format_amount),
    "total_cost_usd": ("cost with all stages, USD", format_count),
}


def comparison_view(result: Comparison) -> RenderableType:
    """What is compared, a block of rows for each figure, what the numbers rest on, and notes."""
    first = result.names[0]
    blocks: list[RenderableType] = []
    for name, one in zip(result.names, result.forecasts, strict=True):
        blocks.append(Text(f"{name}: {run_size(one.config)}", style="bold"))
        blocks += [Text(f"  {line}") for line in stages_in_words(one.config.data, one.config.optim)]
    table = plain_table("", "predicted", "difference", "90 % interval", "better with")
    every = [figures(one, result.target) for one in result.forecasts]
    known = [name for name in (*FIGURES, *every[0]) if any(name in its for its in every)]
    for figure in dict.fromkeys(known):
        label, shown = _shown(figure)
        add_row(table, label, "", "", "", "")
        for name, its, found in zip(result.names, every, result.differences, strict=True):
            own = shown(its[figure].median) if figure in its else "–"
            cells = _cells(found[figure], shown) if figure in found else ["", "", ""]
            add_row(table, f"  {name}", own, *cells)
    _add_wholes(table, result)
    about = result.forecasts[0].predictor
    rests = f"differences are to {first}, less is better; rests on {about['name']}: {about['title'] or about['table']}"
    blocks += [table, _strips(result), Text(rests, style="dim")]
    warnings: dict[str, list[str]] = {}
    for name, one in zip(result.names, result.forecasts, strict=True):
        for warning in one.warnings:
            warnings.setdefault(warning, []).append(name)
    for warning, names in warnings.items():
        whose = "" if len(names) == len(result.names) else f"{', '.join(names)}: "
        blocks.append(Text(f"! {whose}{warning}", style="yellow"))
    blocks += [Text(f"! {note}", style="yellow") for note in result.notes]
    return Group(*blocks)


def _add_wholes(table: Table, result: Comparison) -> None:
    """What the plans come to with the stages after pretraining, where any states some; medians alone are compared."""
    wholes = with_stages(result.forecasts)
    for figure in WITH_STAGES:
        values = [whole.get(figure) for whole in wholes]
        if all(value is None for value in values):
            continue
        label, shown = _shown(figure)
        add_row(table, label, "", "", "", "")
        first = values[0]
        for place, (name, value) in enumerate(zip(result.names, values, strict=True)):
            apart = ""
            if place and value is not None and first is not None:
                apart = _signed(value.median - first.median, shown)
            add_row(table, f"  {name}", "–" if value is None else shown(value.median), apart, "", "")


def _strips(result: Comparison) -> Strips:
    """The plans' differences in loss to the first one, on one scale, to be drawn on a terminal."""
    rows = []
    for name, found in zip(result.names[1:], result.differences[1:], strict=True):
        if "loss_nats" in found:
            loss = found["loss_nats"]
            said = f"{_signed(loss.median, '{:.3f}'.format)} nats"
            rows.append(Interval(f"{name} against {result.names[0]}", loss, said, 0.0))
    return Strips(rows, together=True, wanted="no difference")


def difference_lines(found: Mapping[str, Difference]) -> list[Text]:
    """A line for each figure of a difference: what it is, its 90 % interval, the chance to be better."""
    lines = []
    for figure, value in found.items():
        label, shown = _shown(figure)
        lines.append(Text(f"  {label}: {difference_text(value, lambda number, shown=shown: _signed(number, shown))}"))
    return lines


def difference_cell(figure: str, found: Difference) -> str:
    """`-0.074 (-0.110 to -0.040)`: a difference with its 90 % interval, short."""
    _, shown = _shown(figure)
    difference, interval, _ = _cells(found, shown)
    return f"{difference} ({interval})"


def _signed(number: float, shown: Callable[[float], str]) -> str:
    """A difference in the form of its unit, with its sign; none on what rounds to zero."""
    text = shown(abs(number))
    if not text.strip("0.,"):
        return text
    return f"{'-' if number < 0 else '+'}{text}"


def _shown(figure: str) -> tuple[str, Callable[[float], str]]:
    """A figure's label and the form of its numbers."""
    name, _, domain = figure.partition(".")
    label, shown = _SHOWN[name]
    return (f"{label} on {domain}" if domain else label), shown


def _cells(found: Difference, shown: Callable[[float], str]) -> list[str]:
    """The difference, its interval, the chance to be better."""
    low, high = found.intervals[0.9]
    interval = f"{_signed(low, shown)} to {_signed(high, shown)}"
    return [_signed(found.median, shown), interval, percent(found.chance_lower)]
