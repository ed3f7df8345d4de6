"""Stages after pretraining as tables for a terminal: those of a forecast, and the laws that were fitted to some."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from ....core.quantity import Quantity
from ....core.units import format_count
from ...after_pretraining.continued.summary import ContinuedSummary
from ...after_pretraining.feedback.summary import FeedbackSummary
from ...forecast.forecast import Forecast
from ..after_pretraining import kl_text, share_text, stage_rows, stage_sentences, three_text
from .cells import add_row, plain_table, quantity_cells

__all__ = ["continued_view", "feedback_view", "stages_view"]


def stages_view(result: Forecast) -> list[RenderableType]:
    """The stages of a forecast: what each gives, what it costs, and what it rests on; nothing without any."""
    if result.after is None:
        return []
    table = plain_table("", "predicted", "50 % interval", "90 % interval")
    for row in stage_rows(result):
        add_row(table, row.label, *row.cells)
    blocks: list[RenderableType] = [Text("after pretraining", style="bold"), table]
    blocks += [Text(f"  {sentence}") for sentence in stage_sentences(result.after)]
    return blocks + [Text(f"  {note}", style="dim") for note in result.after.notes]


def feedback_view(laws: Mapping[str, FeedbackSummary], out: str | None) -> RenderableType:
    """Fitted laws of feedback: α, β, where the gain turns and how large it is there."""
    blocks: list[RenderableType] = []
    for method, law in laws.items():
        blocks.append(Text(f"{method}: gain = {law.form}, d = √KL; {law.source}", style="bold"))
        table = plain_table("", "median", "50 % interval", "90 % interval")
        for name, quantity in law.quantities.items():
            form = kl_text if "KL" in name else share_text if "chance" in name else three_text
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
                three_text(own.median),
                _ends(own),
                three_text(general.median),
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
                    f"  share that costs the general loss {100 * rise:g} % at most: {100 * share.median:.0f} % (90 %: "
                    f"{100 * low:.0f} to {100 * high:.0f})"
                )
            )
    if out is not None:
        blocks.append(Text(f"written to {out}: a plan names it as continued_pretraining.law"))
    return Group(*blocks)


def _ends(quantity: Quantity) -> str:
    low, high = quantity.intervals[0.9]
    return f"{low:.3f} to {high:.3f}"
