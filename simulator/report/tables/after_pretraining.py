"""Stages after pretraining as tables for a terminal: those of a forecast, and the laws that were fitted to some."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....core.quantity import Quantity
from ....core.units import format_count, format_decimals, format_flops
from ...forecast.after_pretraining import AfterPretraining
from ...post_training.continued.outlook import ContinuedOutlook
from ...post_training.continued.summary import ContinuedSummary
from ...post_training.feedback.outlook import FeedbackOutlook
from ...post_training.feedback.summary import FeedbackSummary
from ...post_training.machine_time import MachineTime
from .cells import add_row, plain_table, quantity_cells

__all__ = ["continued_view", "feedback_view", "stages_view"]

_FEW_DAYS = 0.095


def stages_view(after: AfterPretraining) -> list[RenderableType]:
    """The stages of a forecast: what each gives, what it costs, and what it rests on."""
    blocks: list[RenderableType] = [Text("after pretraining", style="bold")]
    table = plain_table("", "predicted", "50 % interval", "90 % interval")
    if after.continued is not None:
        _continued_rows(table, after.continued)
    if after.feedback is not None:
        _feedback_rows(table, after.feedback)
    if after.oversight is not None:
        add_row(table, "oversight succeeds, published", *quantity_cells(after.oversight.success, _share))
        saved = after.oversight.label_hours_saved
        if saved is not None:
            add_row(table, "label hours that debates save, published", *quantity_cells(saved, format_count))
    if after.total_days is not None:
        add_row(table, "wall clock with all stages, days", *quantity_cells(after.total_days, _days))
    if after.total_cost_usd is not None:
        add_row(table, "cost with all stages, USD", *quantity_cells(after.total_cost_usd, format_count))
    blocks.append(table)
    stages = [after.continued, after.feedback, after.oversight]
    blocks += [Text(f"  {stage.sentence}") for stage in stages if stage is not None]
    if after.continued is not None:
        blocks.append(Text(f"  continued pretraining takes {_machines(after.continued.machines)}"))
    if after.feedback is not None:
        factor = after.feedback.serving_factor
        more = f"; an answer costs {factor:.3g} times as much to serve" if factor != 1.0 else ""
        blocks.append(Text(f"  feedback takes {_machines(after.feedback.machines)} beside its labels{more}"))
    return blocks + [Text(f"  {note}", style="dim") for note in after.notes]


def _continued_rows(table: Table, found: ContinuedOutlook) -> None:
    add_row(table, f"loss on {found.domain}, nats per token", *quantity_cells(found.domain_loss_nats, _three))
    if found.generalist_loss_nats is not None:
        add_row(table, "  a generalist's, at equal cost", *quantity_cells(found.generalist_loss_nats, _three))
    add_row(table, "general loss, nats per token", *quantity_cells(found.general_loss_nats, _three))
    label = f"largest share with a rise of {100 * found.most_general_rise:g} % at most"
    add_row(table, label, *quantity_cells(found.largest_share, _share))


def _feedback_rows(table: Table, found: FeedbackOutlook) -> None:
    add_row(table, f"gain by feedback at KL {found.kl_nats:.3g} nats", *quantity_cells(found.gain, _signed))
    if found.preferred is not None:
        add_row(table, "  preferred to the start", *quantity_cells(found.preferred, _share))
    add_row(table, "  KL at which the gain is largest, nats", *quantity_cells(found.best_kl_nats, _kl))
    add_row(table, "labels, USD", *quantity_cells(found.label_usd, format_count))
    add_row(table, "labels, hours of work", *quantity_cells(found.label_hours, format_count))
    if found.label_days is not None:
        add_row(table, "labels, days", *quantity_cells(found.label_days, _days))


def _machines(machines: MachineTime) -> str:
    """What a stage takes of the machines."""
    said = format_flops(machines.flops)
    if machines.gpu_hours is not None and machines.days is not None:
        said += f", {format_count(machines.gpu_hours)} accelerator hours, {_days(machines.days)} days"
    return said if machines.usd is None else f"{said}, ${format_count(machines.usd)}"


def feedback_view(laws: Mapping[str, FeedbackSummary], out: str | None) -> RenderableType:
    """Fitted laws of feedback: α, β, where the gain turns and how large it is there."""
    blocks: list[RenderableType] = []
    for method, law in laws.items():
        blocks.append(Text(f"{method}: gain = {law.form}, d = √KL; {law.source}", style="bold"))
        table = plain_table("", "median", "50 % interval", "90 % interval")
        for name, quantity in law.quantities.items():
            form = _kl if "KL" in name else _share if "chance" in name else _three
            add_row(table, name, *quantity_cells(quantity, form))
        blocks.append(table)
        blocks += [Text(f"  {note}", style="dim") for note in law.notes]
    if out is not None:
        blocks.append(Text(f"written to {out}: a plan names it as post_training.law"))
    return Group(*blocks)


def continued_view(found: ContinuedSummary, out: str | None) -> RenderableType:
    """Fitted laws of continued pretraining: both losses by share, and the largest share for a rise."""
    blocks: list[RenderableType] = [Text(f"{found.domain}: {found.source}", style="bold")]
    for size, rows in found.by_size.items():
        table = plain_table("share", f"loss on {found.domain}", "90 % interval", "general loss", "90 % interval")
        for row in rows:
            own, general = row.domain, row.general
            add_row(
                table,
                f"{100 * row.share:.0f} %",
                _three(own.median),
                _ends(own),
                _three(general.median),
                _ends(general),
            )
        title = f"{format_count(size)} parameters, {format_count(found.tokens)} tokens more"
        before = found.before[size]
        blocks.append(Text(f"{title}: before {before[0]:.3f} on {found.domain}, {before[1]:.3f} in general"))
        blocks.append(table)
        for rise, share in found.largest[size].items():
            low, high = share.intervals[0.9]
            blocks.append(
                Text(
                    f"  general loss up by {100 * rise:g} % at most: share {100 * share.median:.0f} % (90 %: "
                    f"{100 * low:.0f} to {100 * high:.0f})"
                )
            )
    if out is not None:
        blocks.append(Text(f"written to {out}: a plan names it as continued_pretraining.law"))
    return Group(*blocks)


def _ends(quantity: Quantity) -> str:
    low, high = quantity.intervals[0.9]
    return f"{low:.3f} to {high:.3f}"


def _three(number: float) -> str:
    return format_decimals(number, 3)


def _signed(number: float) -> str:
    return f"{number:+.2f}"


def _share(number: float) -> str:
    return f"{100 * number:.0f} %"


def _kl(number: float) -> str:
    return "never" if math.isinf(number) else f"{number:.3g}"


def _days(number: float) -> str:
    return format_decimals(number, 1) if number > _FEW_DAYS else f"{number:.2g}"
