"""The sentences on top of a report, made from its numbers: the decision, what it costs, what stays in doubt."""

from __future__ import annotations

import datetime

from .....core.quantity import Difference, Quantity
from ....forecast.forecast import Forecast
from ... import words
from .after_pretraining import with_stages
from .judged import Judged, model_and_tokens

__all__ = ["day", "decision", "doubt", "in_short", "lede", "money_clause", "targets"]

_SAME_MONEY = 0.02  # of the baseline's cost, below which two costs are told as the same
_SURE, _UNSURE, _IN_DOUBT, _ALMOST = 0.75, 0.25, 0.9, 0.95
_S_PER_DAY = 86_400.0
_FAR_DECADES = 1.0  # beyond the fitted runs, from which on that is said on top


def decision(judged: Judged) -> str:
    """What to train, in one sentence: the plan, or which of two."""
    plan, baseline = judged.plan, judged.baseline
    if baseline is None:
        return _alone(plan)
    ours, theirs = model_and_tokens(plan.config), model_and_tokens(baseline.config)
    if ours == theirs and judged.same_loss:
        return f"{ours}: the same model{_time_clause(judged)}{money_clause(judged)}"
    if ours == theirs:
        ours, theirs = plan.config.name, baseline.config.name
    if ours == theirs or not (ours and theirs):
        ours, theirs = "the plan", "the baseline"
    quality = judged.quality
    money = money_clause(judged)
    if quality is None or not judged.same_corpus:
        return f"{ours} or {theirs}: which is better can’t be told from different text"
    chance, short = quality.chance_lower, theirs.removesuffix(" tokens")
    if chance >= _SURE:
        return f"Train {ours} instead of {short}: {words.likely(chance)} a better model{money}"
    if chance <= _UNSURE:
        return f"Keep {theirs}: {ours} is {words.likely(1.0 - chance)} the worse model{money}"
    return f"{ours} or {short}: no telling which is better{money}"


def _alone(plan: Forecast) -> str:
    """A plan without a baseline: whether it meets what is wanted, or what comes of it where nothing is wanted."""
    size, chance = model_and_tokens(plan.config), plan.p_all
    if chance is None:
        return f"Train {size}: {in_short(plan)}"
    every, any_of = ("every target", "a target") if len(targets(plan)) > 1 else ("its target", "its target")
    if chance >= _SURE:
        return f"Train {size}: {words.likely(chance)} meets {every}"
    if chance < 1.0 - _ALMOST:
        return f"Think again: {size} almost surely misses {any_of}"
    if chance <= _UNSURE:
        return f"Think again: {size} is unlikely to meet {every}"
    return f"{size}: {words.chance_in_words(chance)} to meet {every}"


def in_short(plan: Forecast) -> str:
    """Perplexity, time and money of a plan: `perplexity 5.6 after 13 days for $310k`."""
    perplexity = plan.headline.perplexity
    said = f"perplexity {words.PERPLEXITY.text(perplexity.median, words.width_of(perplexity))}"
    cluster = plan.cluster
    if cluster is None:
        return said
    days = cluster.wall_clock_days
    said += f" after {words.days_unit(days.median).text(days.median, words.width_of(days))}"
    if cluster.cost_usd is not None:
        cost = cluster.cost_usd
        said += f" for {words.money_unit(cost.median).text(cost.median, words.width_of(cost))}"
    return said


def _time_clause(judged: Judged) -> str:
    """`, 11 days later`, where the money is told beside it; nothing where the time is the same or told there."""
    days, cost = judged.differences.get("wall_clock_days"), judged.differences.get("cost_usd")
    baseline = judged.baseline.cluster if judged.baseline is not None else None
    if days is None or cost is None or baseline is None:
        return ""
    if abs(days.median) < _SAME_MONEY * baseline.wall_clock_days.median:
        return ""
    return f", {_apart(days, words.days_unit(days.median))} {'later' if days.median > 0 else 'earlier'}"


def money_clause(judged: Judged) -> str:
    """`, for $100k more`, or in time where no prices are stated; nothing where neither is known."""
    cost, days = judged.differences.get("cost_usd"), judged.differences.get("wall_clock_days")
    baseline = judged.baseline.cluster if judged.baseline is not None else None
    if baseline is None:
        return ""
    if cost is not None and baseline.cost_usd is not None:
        if abs(cost.median) < _SAME_MONEY * baseline.cost_usd.median:
            return ", for the same money"
        return f", for {_apart(cost, words.money_unit(cost.median))} {'more' if cost.median > 0 else 'less'}"
    if days is not None and abs(days.median) >= _SAME_MONEY * baseline.wall_clock_days.median:
        return f", {_apart(days, words.days_unit(days.median))} {'later' if days.median > 0 else 'earlier'}"
    return ""


def _apart(difference: Difference, unit: words.Unit) -> str:
    return unit.text(abs(difference.median), words.width_of(difference))


def lede(judged: Judged) -> str:
    """What stands behind the decision: how far the models lie apart, or the plan's numbers with their intervals.

    Behind it what the plan comes to with the stages after pretraining, if it states any.
    """
    whole = [part for part in with_stages(judged.plan) if part]
    return _lede(judged) + (f" With all stages after it: {words.listed(whole)}." if whole else "")


def _lede(judged: Judged) -> str:
    plan = judged.plan
    quality = judged.quality
    if judged.baseline is not None and not judged.comparable:
        said = (
            "The plans differ in corpus or tokenizer: losses and perplexities per token can’t be compared between them."
        )
        if quality is None:
            return said + " State data.corpus and data.tokenizer of both, and bits per byte will be."
        if not judged.same_corpus:
            return f"{said} Bits per byte are {_side(quality, words.BITS)}, each on its own text."
        return f"{said} Bits per byte can: {_side(quality, words.BITS)}."
    if judged.same_loss:
        return f"The same loss is expected. The plan reaches {in_short(plan)}{_when(plan)}."
    if quality is not None:
        return f"Loss is {_side(quality, words.NATS_APART)}. The plan reaches {in_short(plan)}{_when(plan)}."
    loss = plan.headline.loss_nats
    said = (
        f"Loss {words.plain(loss.median, words.width_of(loss), 3)} nats per token "
        f"(90 %: {words.interval(loss, words.LOSS)})"
    )
    if plan.p_all is not None:
        said = f"{words.capital(in_short(plan))}. {said}"
    if plan.cluster is None:
        return f"{said}. No times or cost: the plan doesn’t state {words.listed(plan.cluster_missing)}."
    cluster = plan.cluster
    return f"{said}, on {cluster.devices:,} × {cluster.accelerator}{_when(plan)}."


def _side(difference: Difference, unit: words.Unit) -> str:
    """`lower by 0.07 nats (90 %: 0.03 lower to 0.14 lower)`, with the sides said where the interval holds both."""
    low, high = difference.intervals[0.9]
    width = high - low
    side = "lower" if difference.median < 0 else "higher"
    size = unit.text(abs(difference.median), width)
    ends = sorted((abs(low), abs(high)))
    if words.no_difference(difference):
        return f"the same (90 %: {unit.number(-low, width)} lower to {unit.text(high, width)} higher)"
    if low < 0 < high:
        return f"{side} by {size} (90 %: {unit.number(-low, width)} lower to {unit.number(high, width)} higher)"
    return f"{side} by {size} (90 %: {unit.number(ends[0], width)} to {unit.number(ends[1], width)})"


def _when(plan: Forecast) -> str:
    finish = None if plan.cluster is None else plan.cluster.finish
    return (
        ""
        if finish is None
        else f", by {day(finish['median'])} (90 %: {day(finish['low_90'])} to {day(finish['high_90'])})"
    )


def day(date: datetime.date) -> str:
    """A date that no country reads the other way round: `3 Jan 2027`."""
    return f"{date.day} {date:%b %Y}"


def doubt(judged: Judged) -> str:
    """What could change the decision: the least likely target, memory that may not do, runs that are far away."""
    plan, said = judged.plan, [_target_in_doubt(judged)]
    if plan.cluster is not None and plan.cluster.p_fit < _IN_DOUBT:
        said.append(f"It may not fit in memory: {words.chance_in_words(plan.cluster.p_fit)} that it does.")
    said += _over_limits(plan)
    gap = plan.extrapolation_gap_decades
    if gap >= _FAR_DECADES:
        said.append(f"The plan lies outside the runs that this rests on by a factor of {words.plain(10**gap)}.")
    return " ".join(part for part in said if part)


def _over_limits(plan: Forecast) -> list[str]:
    """Which limits, that are held against the run alone, are exceeded with the stages after it."""
    after = plan.after
    if after is None:
        return []
    days, cost = with_stages(plan)
    found = []
    budget, deadline_s = plan.config.targets.budget_usd, plan.config.deadline_s
    if cost and _over(after.total_cost_usd, budget):
        found.append(f"With all stages after it: {cost}, over the budget, which is held against the run alone.")
    if days and _over(after.total_days, None if deadline_s is None else deadline_s / _S_PER_DAY):
        found.append(f"With all stages after it: {days}, past the deadline, which is held against the run alone.")
    return found


def _over(total: Quantity | None, limit: float | None) -> bool:
    return total is not None and limit is not None and total.median > limit


def _target_in_doubt(judged: Judged) -> str:
    """The target that is least likely to be met, unless all are likely enough."""
    plan = judged.plan
    chances = targets(plan)
    if not chances:
        return ""
    what, chance = min(chances, key=lambda pair: pair[1])
    if chance >= _IN_DOUBT:
        return ""
    if chance < 1.0 - _ALMOST:
        return f"{what} is almost surely missed: {words.percent(chance)}."
    if judged.baseline is not None and judged.comparable:
        theirs = dict(targets(judged.baseline)).get(what)
        if theirs is not None and theirs < _IN_DOUBT:
            both = f"{words.chance_in_words(chance)}, {words.chance_in_words(theirs)} with the baseline"
            return f"{what} stays in doubt with both: {both}."
    return f"{what} stays in doubt: {words.chance_in_words(chance)}."


def targets(plan: Forecast) -> list[tuple[str, float]]:
    """What is wanted, in words, with the chance of each."""
    wanted = plan.config.targets
    found = []
    if plan.p_target is not None:
        if wanted.perplexity is not None:
            found.append((f"Perplexity {words.plain(wanted.perplexity)}", plan.p_target))
        else:
            found.append((f"Loss {words.plain(wanted.loss_nats or 0.0, digits=3)}", plan.p_target))
    cluster = plan.cluster
    if cluster is not None and cluster.p_deadline is not None and plan.config.deadline_s is not None:
        days = plan.config.deadline_s / 86_400.0
        found.append((f"The deadline of {words.days_unit(days).text(days)}", cluster.p_deadline))
    if cluster is not None and cluster.p_budget is not None and wanted.budget_usd is not None:
        found.append((f"The budget of {words.money_unit(wanted.budget_usd).text(wanted.budget_usd)}", cluster.p_budget))
    return found
