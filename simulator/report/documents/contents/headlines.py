"""The four numbers on top: perplexity, wall clock or the finishing date, cost, and the chance of all targets."""

from __future__ import annotations

from collections.abc import Callable

from .....core.quantity import Difference, Quantity
from ... import words
from ..document import Headline, Strip
from .after_pretraining import with_stages
from .judged import Judged
from .sentences import day, targets

__all__ = ["headlines"]


def headlines(judged: Judged) -> tuple[Headline, ...]:
    """What there is of the four; a plan without machines has no times and no cost, one without targets no chance."""
    found = [_perplexity(judged), _time(judged), _cost(judged), _chance(judged)]
    return tuple(one for one in found if one is not None)


def _perplexity(judged: Judged) -> Headline:
    plan, baseline = judged.plan, judged.baseline
    own = plan.headline.perplexity
    target = plan.config.targets.perplexity_wanted
    limit = None if target is None else (target, f"target {words.plain(target)}")
    said = plan.predictor["main_in_words"]
    label = f"Perplexity per token{f', {said}' if said else ''}"
    value, interval = words.PERPLEXITY.text(own.median, words.width_of(own)), words.interval(own, words.PERPLEXITY)
    if baseline is None or not judged.comparable:
        note = "" if judged.comparable else "not comparable with the baseline’s: other text"
        return Headline(label, value, "", f"90 %: {interval}", Strip.of(own, None, limit), note=note)
    theirs = baseline.headline.perplexity
    apart = judged.differences.get("perplexity")
    note = "" if apart is None or judged.same_loss else f"lower in {words.of_fifty(apart.chance_lower)} cases"
    return Headline(
        label,
        value,
        "",
        f"90 %: {interval}",
        Strip.of(own, theirs, limit),
        difference=_against(apart, theirs, lambda _: words.PERPLEXITY, "lower", "higher"),
        note=note,
    )


def _time(judged: Judged) -> Headline | None:
    cluster, config = judged.plan.cluster, judged.plan.config
    if cluster is None:
        return None
    own = cluster.wall_clock_days
    unit = words.days_unit(own.median)
    theirs = judged.baseline.cluster.wall_clock_days if judged.baseline and judged.baseline.cluster else None
    deadline = None if config.deadline_s is None else config.deadline_s / 86_400.0
    limit = None if deadline is None else (deadline, f"deadline {words.days_unit(deadline).text(deadline)}")
    label, said = "Wall clock", f"90 %: {words.interval(own, unit)}"
    if cluster.finish is not None:
        label = f"Wall clock, to {day(cluster.finish['median'])}"
        said = f"90 %: {words.interval(own, unit)}, by {day(cluster.finish['high_90'])} at the latest"
    return Headline(
        label,
        unit.number(own.median, words.width_of(own)),
        unit.after.strip(),
        said,
        Strip.of(own, theirs, limit),
        difference=_against(judged.differences.get("wall_clock_days"), theirs, words.days_unit, "shorter", "longer"),
        note=_joined(
            "" if cluster.p_deadline is None else f"{words.percent(cluster.p_deadline)} to keep the deadline",
            with_stages(judged.plan)[0],
        ),
    )


def _cost(judged: Judged) -> Headline | None:
    cluster, config = judged.plan.cluster, judged.plan.config
    if cluster is None:
        return None
    own = cluster.cost_usd
    if own is None:
        hours = cluster.gpu_hours
        unit = words.Unit()
        return Headline(
            "GPU-hours",
            words.count(hours.median),
            "",
            f"90 %: {words.interval(hours, unit)}",
            Strip.of(hours),
            note="no cost: state hardware.price_usd_per_hour",
        )
    unit = words.money_unit(own.median)
    theirs = judged.baseline.cluster.cost_usd if judged.baseline and judged.baseline.cluster else None
    budget = config.targets.budget_usd
    limit = None if budget is None else (budget, f"budget {words.money_unit(budget).text(budget)}")
    return Headline(
        "Cost",
        unit.text(own.median, words.width_of(own)),
        "",
        f"90 %: {words.interval(own, unit)}",
        Strip.of(own, theirs, limit),
        difference=_against(judged.differences.get("cost_usd"), theirs, words.money_unit, "less", "more"),
        note=_joined(
            "" if cluster.p_budget is None else f"{words.percent(cluster.p_budget)} to keep the budget",
            with_stages(judged.plan)[1],
        ),
    )


def _joined(kept: str, whole: str) -> str:
    """The chance to keep a limit, and what the run comes to with the stages after it, which the limit isn't about."""
    return "; ".join(part for part in (kept, f"with all stages {whole}" if whole else "") if part)


def _chance(judged: Judged) -> Headline | None:
    plan, baseline = judged.plan, judged.baseline
    if plan.p_all is None:
        return None
    wanted = targets(plan)
    label = "Chance of all targets" if len(wanted) > 1 else "Chance of the target"
    dots = min(max(round(20 * plan.p_all), 1 if plan.p_all > 0.01 else 0), 19 if plan.p_all < 0.99 else 20)
    difference = ""
    if baseline is not None and baseline.p_all is not None:
        theirs = words.percent(baseline.p_all)
        gap = plan.p_all - baseline.p_all
        word = "No better than" if abs(gap) < 0.03 else ("Better than" if gap > 0 else "Worse than")
        same = plan.config.targets == baseline.config.targets
        difference = f"{word} the baseline ({theirs})" if same else f"The baseline meets its own with {theirs}"
    what, least = min(wanted, key=lambda pair: pair[1])
    note = f"{what[0].lower()}{what[1:]} is what decides ({words.percent(least)})" if least < 0.9 else ""
    short, share = words.chance(plan.p_all), words.percent(plan.p_all)
    return Headline(label, short, "", share if share != short else "", dots=dots, difference=difference, note=note)


def _against(
    apart: Difference | None, theirs: Quantity | None, unit_of: Callable[[float], words.Unit], less: str, more: str
) -> str:
    """`$100k more than the baseline ($310k)`."""
    if apart is None or theirs is None:
        return ""
    base = unit_of(theirs.median).text(theirs.median, words.width_of(theirs))
    size = unit_of(apart.median).text(abs(apart.median), words.width_of(apart))
    if words.no_difference(apart) or abs(apart.median) < 1e-9 * max(abs(theirs.median), 1e-12):
        return f"The same as the baseline ({base})"
    return f"{size} {less if apart.median < 0 else more} than the baseline ({base})"
