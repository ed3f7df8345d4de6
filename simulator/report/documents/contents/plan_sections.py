"""The pictures of a plan, section by section, in the order in which a meeting asks."""

from __future__ import annotations

from collections.abc import Sequence

from ....cluster.operations.waterfall import Waterfall
from ... import words
from ...charts.picture import Picture
from ...charts.plans.dots import Outcomes, chance_picture, difference_picture
from ...charts.plans.forecast import forecast_picture
from ...charts.plans.memory import memory_picture
from ...charts.plans.waterfall import Whole, waterfall_picture
from ..document import Section
from .after_pretraining import stage_pictures
from .judged import Judged

__all__ = ["loss_section", "machine_pictures", "money_section", "plan_pictures"]

_DOTS = 20
_DAY_S = 86_400.0


def loss_section(judged: Judged) -> Section:
    """What loss to expect, with the chance of the target and of being better than the baseline."""
    return Section("What loss to expect", tuple(loss_pictures(judged)))


def loss_pictures(judged: Judged) -> list[Picture]:
    """The forecast; the target's chance; how sure the plan is better."""
    found = [forecast_picture(judged.plan, judged.predictor, judged.baseline if judged.comparable else None)]
    wanted = judged.plan.config.targets
    if judged.plan.p_target is not None and wanted.perplexity_wanted is not None:
        found.append(_chance(judged, wanted.perplexity_wanted, judged.plan.p_target))
    quality = judged.quality
    if quality is not None and judged.comparable:
        plan, baseline = judged.names
        ends = quality.intervals[0.9]
        found.append(difference_picture(quality.equally_likely, quality.chance_lower, ends, plan, baseline))
    return found


def _chance(judged: Judged, wanted: float, p_target: float) -> Picture:
    plans = [("plan", judged.plan)]
    if judged.baseline is not None and judged.comparable:
        plans.append(("baseline", judged.baseline))
    outcomes = [Outcomes(role, one.equally_likely(_DOTS).perplexity, role) for role, one in plans]
    return chance_picture(outcomes, wanted, f"perplexity {words.plain(wanted)}", p_target, words.PERPLEXITY)


def money_section(judged: Judged) -> Section:
    """Where money and time go; without machines, what to state."""
    title = "Where money and time go"
    if judged.plan.cluster is None:
        lacking = words.listed(judged.plan.cluster_missing)
        return Section(title, text=f"No times, memory or cost: state {lacking} in the plan.")
    return Section(title, money_pictures(judged))


def money_pictures(judged: Judged) -> list[Picture]:
    """Waterfalls of cost, where a price is known, and of the wall clock."""
    own = judged.plan.waterfall
    if own is None:
        return []
    plans = [
        ("plan", own),
        *([("baseline", other)] if judged.baseline and (other := judged.baseline.waterfall) else []),
    ]
    found = []
    if own.cost_usd is not None and own.cost_usd.median > 0:  # machines of one's own may be stated to cost nothing
        found.append(_cost(judged, [(role, one) for role, one in plans if one.cost_usd is not None]))
    return [*found, _time(judged, plans)]


def _cost(judged: Judged, plans: Sequence[tuple[str, Waterfall]]) -> Picture:
    budget, price = judged.plan.config.targets.budget_usd, judged.plan.config.usd_per_hour
    wholes = [
        Whole(role, [(part.title, part.usd or 0.0) for part in one.parts], one.cost_usd, role)
        for role, one in plans
        if one.cost_usd is not None
    ]
    whole = wholes[0]
    unit = words.money_unit(whole.total.median)
    left_out = [one.sentence for one in plans[0][1].not_stated if not one.counted]
    caption = "" if price is None else f"At ${price:,.2f} per accelerator-hour as stated. "
    return waterfall_picture(
        "cost",
        _largest(whole, f"the {unit.text(whole.total.median, words.width_of(whole.total))}"),
        "Cost of the plan by part; pale ends: 50 % and 90 %",
        wholes,
        unit,
        None if budget is None else ("budget", budget),
        caption + " ".join(words.sentence(text) for text in left_out),
    )


def _time(judged: Judged, plans: Sequence[tuple[str, Waterfall]]) -> Picture:
    deadline_s = judged.plan.config.deadline_s
    wholes = [
        Whole(role, [(part.title, part.days) for part in one.parts if part.days > 0], one.wall_clock_days, role)
        for role, one in plans
    ]
    whole = wholes[0]
    unit = words.days_unit(whole.total.median)
    taken = [one.sentence for one in plans[0][1].not_stated if one.counted]
    return waterfall_picture(
        "time",
        _largest(whole, f"the {unit.text(whole.total.median, words.width_of(whole.total))}"),
        f"Wall clock of the plan by part, in {unit.after.strip()}; pale ends: 50 % and 90 %",
        wholes,
        unit,
        None if deadline_s is None else ("deadline", deadline_s / _DAY_S),
        " ".join(["Taken, not stated:", *(words.sentence(text) for text in taken)]) if taken else "",
    )


def _largest(whole: Whole, of_what: str) -> str:
    """A title that says which part is the largest."""
    part, value = max(whole.parts, key=lambda pair: pair[1])
    share = words.share_in_words(value / whole.total.median)
    return f"{words.capital(share)} of {of_what} {'are' if part.endswith('s') else 'is'} {part}"


def machine_pictures(judged: Judged) -> list[Picture]:
    """Whether the plan fits in memory."""
    plan, baseline = judged.plan.cluster, judged.baseline.cluster if judged.baseline else None
    if plan is None:
        return []
    return [memory_picture([("plan", plan), *([("baseline", baseline)] if baseline is not None else [])])]


def plan_pictures(judged: Judged) -> list[Picture]:
    """All pictures of a plan, as the page shows them."""
    return [
        *loss_pictures(judged),
        *money_pictures(judged),
        *machine_pictures(judged),
        *stage_pictures(judged),
    ]
