"""What comes after pretraining, as a part of a plan's report: pictures, every figure with its source, and the sum."""

from __future__ import annotations

from ....forecast.forecast import Forecast
from ... import words
from ...after_pretraining import SUM_HEADINGS, stage_rows, stage_sentences, sum_rows
from ...charts.after_pretraining.continued import shares_picture
from ...charts.after_pretraining.feedback import gain_picture
from ...charts.picture import Numbers, Picture
from ..document import Section
from .judged import Judged

__all__ = ["stage_pictures", "stages_section", "with_stages"]

_HEADINGS = ("", "predicted", "50 %", "90 %", "rests on")


def stages_section(judged: Judged) -> Section | None:
    """The part about the stages of a plan, and of its baseline; None where neither states any."""
    plans = [("", judged.plan)]
    if judged.baseline is not None:
        plans = [("the plan", judged.plan), ("the baseline", judged.baseline)]
    stated = [(name, one) for name, one in plans if one.after is not None]
    if not stated:
        return None
    own = judged.plan.after
    return Section(
        "After pretraining",
        tuple(stage_pictures(judged)),
        tuple(table for name, one in stated for table in _tables(name, one)),
        text="" if own is not None else "The plan states no stages after pretraining; its baseline does.",
        points=() if own is None else tuple(words.sentence(said) for said in stage_sentences(own)),
    )


def stage_pictures(judged: Judged) -> list[Picture]:
    """Both losses by share, and the gain by KL, of what the plan states."""
    after = judged.plan.after
    if after is None:
        return []
    found = [] if after.continued is None else [shares_picture(after.continued)]
    return found if after.feedback is None else [*found, gain_picture(after.feedback)]


def _tables(name: str, one: Forecast) -> list[tuple[str, Numbers]]:
    """Every figure, then what it comes to with pretraining."""
    rows = tuple((row.label.strip(), *row.cells, row.source) for row in stage_rows(one))
    of = f", {name}" if name else ""
    found = [(f"What the stages give and cost{of}", Numbers(_HEADINGS, rows))]
    sums = sum_rows(one.after) if one.after is not None else []
    if sums:
        found.append(
            (
                f"From pretraining to the end{of} (a dash: nothing known, or no doubt counted)",
                Numbers(SUM_HEADINGS, tuple(sums)),
            )
        )
    return found


def with_stages(plan: Forecast) -> tuple[str, str]:
    """Days and cost of a plan with all its stages, as text; nothing of a plan without any, or of what isn't known."""
    after = plan.after
    if after is None or (after.continued is None and after.feedback is None):
        return "", ""
    days, cost = after.total_days, after.total_cost_usd
    return (
        "" if days is None else words.days_unit(days.median).text(days.median, words.width_of(days)),
        "" if cost is None else words.money_unit(cost.median).text(cost.median, words.width_of(cost)),
    )
