"""The report of a study: the best plan against the run as it is, and what else the money could buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....search.alternatives import Alternative
from ....search.result import Optimization
from ... import words
from ...charts.picture import Numbers
from ...charts.planning.front import figure
from ...charts.planning.study import study_pictures
from ...charts.planning.tornado import knob_in_words
from ..document import Document, Note, Section
from .judged import Judged
from .plans import judged_document

__all__ = ["study_document"]

_PLAIN = ("loss", "perplexity", "cost", "lifetime cost", "time", "energy")
_IN_PLAN = ("model.params", "data.tokens", "hardware.count")  # what `Alternative.plan` tells
_COUNTED = 10_000.0  # from here on a number is told with a suffix
_SAID = 1  # alternatives beside the best that the sentence below the decision may name


def study_document(found: Optimization, commands: Sequence[str] = ()) -> Document:
    """The report of a search.

    Without a plan that keeps every limit the decision is the smallest relaxation, and the plan is the one that it
    admits; where no plan can be run at all, the report says why and draws nothing.
    """
    alternatives = Section(
        "What else the money could buy",
        pictures=tuple(study_pictures(found)),
        tables=(("", _table(found.alternatives)),) if found.alternatives else (),
    )
    plan = found.alternatives[0].candidate.forecast if found.alternatives else found.best.forecast
    if plan is None:
        return Document(
            kicker=f"study {found.study.name}",
            title=words.sentence(found.why_infeasible or "no plan can be run"),
            lede="None of the plans that were tried can be run on the machines that the study states.",
            sections=(alternatives,) if alternatives.pictures else (),
            warnings=tuple(Note.of(text) for text in found.notes),
            commands=tuple(commands),
        )
    differences = found.alternatives[0].candidate.difference if found.alternatives else found.best.difference
    judged = Judged(
        plan, found.study.predictor, found.baseline.forecast, differences if found.baseline.forecast else {}
    )
    document = judged_document(judged, [alternatives], commands)
    name = found.study.name
    tried = f"{name if 'study' in name.lower() else f'study {name}'}, {found.trials['complete']:,} plans tried"
    document = replace(document, kicker=f"{tried} · {document.kicker.partition(' · ')[2]}")
    if found.feasible:
        return replace(document, lede=" ".join([document.lede, *_said(found.alternatives)]))
    return replace(document, title=_infeasible(found), lede=f"Then {document.title[0].lower()}{document.title[1:]}.")


def _infeasible(found: Optimization) -> str:
    """The smallest relaxation, in the units of a meeting."""
    if found.smallest_relaxation is None:
        return words.sentence(found.why_infeasible or "").removesuffix(".")
    asked = []
    for limit, bound in found.smallest_relaxation.limits:
        of = figure(limit.measure.name)
        name = of.name if of.name in _PLAIN else limit.measure.name.replace("_", " ")
        asked.append(f"{of.text(bound)} of {name}, not {of.text(limit.bound)}")
    return f"No plan keeps every limit; allow {words.listed(asked)}"


def _said(alternatives: Sequence[Alternative]) -> list[str]:
    """What the alternatives beside the best give."""
    return [words.sentence(one.sentence) for one in alternatives[1 : 1 + _SAID] if one.sentence]


def _table(alternatives: Sequence[Alternative]) -> Numbers:
    """A row for each named plan, and one for the run as it is."""
    rows = []
    for one in alternatives:
        rows.append((one.title, ", ".join([one.plan, *_chosen(one)]), *_cells(one.figures), _chance(one)))
    if alternatives and alternatives[0].baseline:
        rows.append(("as it is", "", *_cells(alternatives[0].baseline), ""))
    return Numbers(("", "plan", "loss, nats", "cost", "wall clock", "chance to be better"), tuple(rows))


def _chosen(one: Alternative) -> list[str]:
    """What a plan has of its own beside its size, tokens and machines: `batch 4M`, `learning rate 0.0003`."""
    values = {key: value for key, value in one.candidate.evaluation.values.items() if key not in _IN_PLAN}
    plain = {key: value for key, value in values.items() if isinstance(value, int | float | str)}
    return [f"{knob_in_words(key)} {_value(value)}" for key, value in plain.items()]


def _value(value: float | str) -> str:
    if isinstance(value, str | bool):
        return str(value)
    return words.count(value) if value >= _COUNTED else f"{value:.2g}"


def _cells(figures) -> tuple[str, str, str]:
    loss, cost, days = (figures.get(name) for name in ("loss_nats", "cost_usd", "wall_clock_days"))
    return (
        "" if loss is None else f"{loss.median:.3f}",
        "" if cost is None else words.money_unit(cost.median).text(cost.median, words.width_of(cost)),
        "" if days is None else words.days_unit(days.median).text(days.median, words.width_of(days)),
    )


def _chance(one: Alternative) -> str:
    apart = one.candidate.difference.get("loss_nats")
    return "" if apart is None else words.percent(apart.chance_lower)
