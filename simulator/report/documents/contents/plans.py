"""The report of one plan, or of several against the first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from .....core.reading.yaml_reader import dumps_yaml
from .....core.units import format_count
from .....core.version import __version__
from ....cluster.step_time.step_model import StepTimeModel
from ....config.stages.in_words import stages_in_words
from ....forecast.compare import Comparison
from ....forecast.forecast import Forecast
from ....forecast.stages.branches import BranchForecast
from ....predictor.predictor import Predictor
from ... import words
from ...charts.picture import Numbers
from ..document import Document, Note, Section
from .after_pretraining import stages_section, with_stages
from .doubts import doubts_section
from .headlines import headlines
from .judged import Judged, model_and_tokens
from .plan_sections import loss_section, machine_pictures, money_section
from .sentences import decision, doubt, lede

__all__ = ["answer_document", "judged_best", "judged_document", "plan_document", "plans_document"]


_DECADES = re.compile(r"(?<=beyond the fitted runs )by [\d.]+ decades")


def plan_document(
    plan: Forecast, predictor: Predictor, commands: Sequence[str] = (), step_times: StepTimeModel | None = None
) -> Document:
    """The report of one plan. `step_times` is what predicted its step; by default the shipped model."""
    return judged_document(Judged(plan, predictor), commands=commands, step_times=step_times)


def plans_document(
    comparison: Comparison,
    predictor: Predictor,
    commands: Sequence[str] = (),
    step_times: StepTimeModel | None = None,
) -> Document:
    """The report of several plans: the best of them against the first, and all side by side."""
    judged = judged_best(comparison, predictor)
    side_by_side = Section("The plans side by side", tables=(("", _table(comparison)),))
    return judged_document(
        judged, [side_by_side] if len(comparison.forecasts) > 2 else [], commands, comparison, step_times
    )


def judged_best(comparison: Comparison, predictor: Predictor) -> Judged:
    """Of several plans the one with the least loss, but for the first, against the first."""
    first, *others = comparison.forecasts
    place = 1 + min(range(len(others)), key=lambda number: others[number].headline.loss_nats.median)
    return Judged(comparison.forecasts[place], predictor, first, comparison.differences[place])


def judged_document(
    judged: Judged,
    more: Sequence[Section] = (),
    commands: Sequence[str] = (),
    comparison: Comparison | None = None,
    step_times: StepTimeModel | None = None,
) -> Document:
    """The report of a plan, against its baseline if it has one.

    Args:
        judged: The plan.
        more: Sections that come after the loss.
        commands: What makes the report again.
        comparison: All plans, where there are more than these.
        step_times: What predicted the steps; by default the shipped model.
    """
    sections = [loss_section(judged), *more, money_section(judged)]
    pictures = machine_pictures(judged)
    if pictures:
        sections.append(Section("Does it fit in memory", tuple(pictures)))
    after = stages_section(judged)
    if after is not None:
        sections.append(after)
    sections.append(doubts_section(judged, step_times))
    names, plans = _plans(judged, comparison)
    return replace(
        answer_document(judged, comparison),
        sections=tuple(sections),
        commands=tuple(commands),
        plans=tuple((name, dumps_yaml(one.config.to_mapping())) for name, one in zip(names, plans, strict=True)),
    )


def answer_document(judged: Judged, comparison: Comparison | None = None) -> Document:
    """The same without its sections and exact plans: the decision, the numbers on top, warnings and assumptions."""
    plan = judged.plan
    warnings, assumptions = notes(plan)
    names, _ = _plans(judged, comparison)
    return Document(
        kicker=_kicker(judged, names),
        title=decision(judged),
        lede=lede(judged),
        doubt=doubt(judged),
        headlines=headlines(judged),
        compared=judged.baseline is not None,
        warnings=warnings,
        assumptions=assumptions,
        facts=facts(plan),
    )


def _plans(judged: Judged, comparison: Comparison | None) -> tuple[Sequence[str], Sequence[Forecast]]:
    """All plans of a report, by name."""
    if comparison is not None:
        return comparison.names, comparison.forecasts
    return (judged.plan.config.name or "plan",), (judged.plan,)


def _kicker(judged: Judged, names: Sequence[str]) -> str:
    if judged.baseline is not None:
        names = list(dict.fromkeys((_name(judged.plan), _name(judged.baseline))))
    return f"{' against '.join(names[:2])} · predictor {judged.predictor.name} · foretrain {__version__}"


def _name(plan: Forecast) -> str:
    return plan.config.name or model_and_tokens(plan.config)


def _table(comparison: Comparison) -> Numbers:
    """A column for each plan: levels, and differences to the first."""
    plans = comparison.forecasts
    rows = [
        ("parameters", *(words.count(one.config.model.params_total) for one in plans)),
        ("tokens", *(words.count(one.config.data.tokens) for one in plans)),
        (
            "perplexity",
            *(
                words.PERPLEXITY.text(q.median, words.width_of(q))
                for q in (one.of(comparison.target).perplexity for one in plans)
            ),
        ),
        ("loss, nats", *(f"{one.of(comparison.target).loss_nats.median:.3f}" for one in plans)),
        (
            "loss against the first",
            *(
                "" if not found else words.signed(found["loss_nats"].median, words.Unit(digits=2))
                for found in comparison.differences
            ),
        ),
        (
            "chance to be better",
            *("" if not found else words.percent(found["loss_nats"].chance_lower) for found in comparison.differences),
        ),
    ]
    for title, cell in (
        ("wall clock", _days),
        ("cost", _usd),
        ("wall clock with all stages", lambda one: with_stages(one)[0]),
        ("cost with all stages", lambda one: with_stages(one)[1]),
        ("chance of its targets", _met),
        ("fits in memory", _fits),
    ):
        cells = [cell(one) for one in plans]
        if any(cells):
            rows.append((title, *cells))
    return Numbers(("", *comparison.names), tuple(rows))


def _days(plan: Forecast) -> str:
    if plan.cluster is None:
        return ""
    days = plan.cluster.wall_clock_days
    return words.days_unit(days.median).text(days.median, words.width_of(days))


def _usd(plan: Forecast) -> str:
    cost = None if plan.cluster is None else plan.cluster.cost_usd
    return "" if cost is None else words.money_unit(cost.median).text(cost.median, words.width_of(cost))


def _met(plan: Forecast) -> str:
    return "" if plan.p_all is None else words.percent(plan.p_all)


def _fits(plan: Forecast) -> str:
    return "" if plan.cluster is None else words.percent(plan.cluster.p_fit)


def notes(plan: Forecast) -> tuple[tuple[Note, ...], tuple[Note, ...]]:
    """Warnings of a plan, and what it rests on: its strategies, its stages, and what was taken without being stated."""
    taken = [one.sentence for one in plan.strategies]
    taken += [] if plan.cluster is None else plan.cluster.notes
    taken += [] if plan.after is None else plan.after.notes
    times = f"by a factor of {words.plain(10**plan.extrapolation_gap_decades)}"
    warnings = [_DECADES.sub(times, text) for text in plan.warnings]
    return tuple(Note.of(text) for text in warnings), tuple(Note.of(text) for text in taken)


def facts(plan: Forecast) -> tuple[tuple[str, str], ...]:
    """What the numbers rest on, exactly."""
    about = plan.predictor
    found = [
        *(line.split(": ", 1) for line in stages_in_words(plan.config.data, plan.config.optim)),
        *((one.name, _branch_end(one)) for one in plan.branches),
        ("predictor", f"{about['name']}: {about['title'] or about['table']}"),
        ("digest of its runs", str(about["digest"])),
        ("law", str(about["law"])),
        ("fitted parameters", " to ".join(format_count(end) for end in about["fitted_params"])),
        ("fitted tokens", " to ".join(format_count(end) for end in about["fitted_tokens"])),
        ("seed", str(plan.config.seed)),
        ("foretrain", __version__),
    ]
    return tuple((name, text) for name, text in found if text != "None")


def _branch_end(one: BranchForecast) -> str:
    loss = one.loss_nats
    return (
        f"ends after {format_count(one.tokens)} tokens at {loss.median:.3f} nats per token "
        f"(90 %: {words.interval(loss, words.LOSS)})"
    )
