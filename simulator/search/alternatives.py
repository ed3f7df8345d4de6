"""Named alternatives of a study, each against the run as it is: the best, the same money, the same loss, the fastest.

Each is a search of its own: another goal, with a figure of the run as it is as one more limit. It begins with the
plans that were tried, and a local search goes on from the best of them, unless the study turns polish off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.quantity import Quantity
from ...core.summary import percent
from ...core.units import format_amount, format_count
from ..forecast.compare import figures
from .candidate import Candidate, compared, forecast_of
from .evaluate import Evaluator, PlanEvaluation
from .goals.goals import BoundLimit, MeasuredGoal
from .goals.measures import get_measure
from .local_search.fronts import front_of
from .local_search.polish import improve
from .local_search.relaxation import Relaxation
from .study_config import Goal

__all__ = ["TITLES", "Alternative", "loss_for_cost", "named_alternatives", "plan_text", "relaxed_alternative"]

TITLES: Mapping[str, str] = {
    "best": "the best",
    "same_money": "the same money",
    "same_loss": "the same loss",
    "fastest": "the fastest",
    "relaxed": "with the smallest relaxation",
}
"""Alternatives by name, with what they are called."""

_SOUGHT = (
    ("same_money", "loss_nats", "cost_usd"),
    ("same_loss", "cost_usd", "loss_nats"),
    ("fastest", "wall_clock_days", "loss_nats"),
)
"""Name, the figure that is least, and the one in which the plan is no worse than the run as it is."""
_STARTS = 2
_MOST_EVALUATIONS = 150  # of one local search
_SAME = 0.005  # plans whose figures all differ by less are shown as one
_NO_BETTER = 1e-6  # relative; rounding


@dataclass(frozen=True)
class Alternative:
    """A plan that is worth knowing of beside the run as it is, and why."""

    names: tuple[str, ...]
    """What it is, of TITLES; several where one plan is all of them."""
    candidate: Candidate
    """The plan, its forecast, and its differences to the run as it is."""
    figures: Mapping[str, Quantity]
    """Loss, time, cost and energy of the forecast, by `forecast.compare.FIGURES`; empty where it can't be run."""
    baseline: Mapping[str, Quantity]
    """The same of the run as it is; empty where that can't be run."""
    share_of_gain: float | None
    """Its gain in loss over the run as it is, as a share of the best plan's; None where the best gains none."""
    condition: str = ""
    """What has to change first for the plan to be feasible; nothing where every limit is kept."""

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]

    @property
    def title(self) -> str:
        """Its names in words."""
        return ", ".join(TITLES[name] for name in self.names)

    @property
    def plan(self) -> str:
        """Parameters × tokens, and the accelerators: `25.6B × 757B on 384`."""
        return plan_text(self.candidate)

    @property
    def sentence(self) -> str:
        """What it gives against the run as it is."""
        found = dict.fromkeys(_said(name, self) for name in self.names)
        return "; ".join(text for text in found if text) or f"{self.plan}: {self.title}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the whole forecast of the best and of the front stands there."""
        one = self.candidate
        config = one.evaluation.config
        return {
            "names": list(self.names),
            "title": self.title,
            "plan": self.plan,
            "sentence": self.sentence,
            "condition": self.condition or None,
            "share_of_gain": self.share_of_gain,
            "trial": one.number,
            "origin": one.origin,
            "values": dict(one.evaluation.values),
            "figures": {name: value.to_dict() for name, value in self.figures.items()},
            "difference": {name: value.to_dict() for name, value in one.difference.items()},
            "p_target": None if one.forecast is None else one.forecast.p_target,
            "p_all": None if one.forecast is None else one.forecast.p_all,
            "config": None if config is None else config.to_mapping(),
        }


def named_alternatives(
    evaluator: Evaluator,
    known: Sequence[PlanEvaluation],
    baseline: Candidate,
    best: Candidate,
    others: Sequence[Candidate],
) -> tuple[Alternative, ...]:
    """The best plan of a study and what else is worth knowing, each plan once.

    Args:
        evaluator: Judges and forecasts plans of the study.
        known: The feasible plans that were tried.
        baseline: The run as it is.
        best: The best plan.
        others: Plans with their forecasts and differences, the front's, which needn't be forecast again.

    Returns:
        The best first. Without machines or prices, and where the run as it is can't be run, fewer; none that is no
        better than the run as it is.
    """
    ready = {_key(one.evaluation): one for one in (best, *others)}
    found = [("best", best)]
    if baseline.forecast is not None:
        target, own = baseline.forecast.main, figures(baseline.forecast, baseline.forecast.main)
        wanted = [(name, one) for name, one in _sought(evaluator, known, own) if one is not None]
        new = [one for _, one in wanted if _key(one) not in ready]
        made = [_candidate(evaluator, one) for one in {_key(one): one for one in new}.values()]
        ready |= {_key(one.evaluation): one for one in compared(evaluator.study, baseline, made)}
        found += [(name, ready[_key(one)]) for name, one in wanted]
    else:
        target, own = "", {}
    merged: list[tuple[tuple[str, ...], Candidate, dict[str, Quantity]]] = []
    for name, one in found:
        its = {} if one.forecast is None else figures(one.forecast, target or one.forecast.main)
        same = [place for place, (_, _, others_) in enumerate(merged) if _alike(its, others_)]
        if same:
            names, first, first_figures = merged[same[0]]
            merged[same[0]] = ((*names, name), first, first_figures)
        elif name == "best" or not _alike(its, own):
            merged.append(((name,), one, its))
    gain = _gain(own, merged[0][2])
    return tuple(
        Alternative(names, one, its, own, None if not gain else (_gain(own, its) or 0.0) / gain)
        for names, one, its in merged
    )


def loss_for_cost(evaluator: Evaluator, known: Sequence[PlanEvaluation]) -> tuple[tuple[float, float], ...]:
    """Cost in US dollars and loss in nats of the plans that no other beats in both, medians, by rising cost.

    Args:
        evaluator: Judges plans of the study.
        known: The feasible plans that were tried.

    Returns:
        Nothing where the plans have no cost.
    """
    study = evaluator.study
    main = study.predictor.main_loss_on(study.run.data.evaluated_on, study.run.data.corpus_text)
    goals = tuple(
        MeasuredGoal(Goal(minimise=name), get_measure(name, study.predictor, main, "alternatives"))
        for name in ("cost_usd", "loss_nats")
    )
    judged = evaluator.judging(replace(study, goals=goals, limits=())).many([one.values for one in known])
    possible = [one for one in judged if one.why is None and all(map(math.isfinite, one.goals))]
    return tuple((one.goals[0], one.goals[1]) for one in front_of(possible, ("minimize", "minimize")))


def plan_text(one: Candidate) -> str:
    """A plan in short: parameters × tokens, and the number of accelerators; a dash for one that can't be read."""
    config = one.evaluation.config
    if config is None:
        return "–"
    size = f"{format_count(config.model.params_total)} × {format_count(config.data.tokens)}"
    return size if config.hardware.count is None else f"{size} on {config.hardware.count:,}"


def relaxed_alternative(evaluator: Evaluator, baseline: Candidate, relaxation: Relaxation) -> Alternative:
    """The plan that the smallest relaxation admits, where no plan keeps every limit."""
    (one,) = compared(evaluator.study, baseline, [_candidate(evaluator, relaxation.plan)])
    own: Mapping[str, Quantity] = {}
    its: Mapping[str, Quantity] = {}
    if one.forecast is not None:
        target = one.forecast.main if baseline.forecast is None else baseline.forecast.main
        its = figures(one.forecast, target)
        own = {} if baseline.forecast is None else figures(baseline.forecast, target)
    return Alternative(("relaxed",), one, its, own, None, relaxation.text)


def _sought(
    evaluator: Evaluator, known: Sequence[PlanEvaluation], own: Mapping[str, Quantity]
) -> list[tuple[str, PlanEvaluation | None]]:
    """The plan of each name, None where none is better than the run as it is; without those that can't be asked for."""
    return [
        (name, _least(evaluator, known, least, kept, own))
        for name, least, kept in _SOUGHT
        if least in own and kept in own
    ]


def _least(
    evaluator: Evaluator, known: Sequence[PlanEvaluation], least: str, kept: str, own: Mapping[str, Quantity]
) -> PlanEvaluation | None:
    """The feasible plan with the least of one figure that is no worse than the run as it is in another."""
    study = evaluator.study
    main = study.predictor.main_loss_on(study.run.data.evaluated_on, study.run.data.corpus_text)
    of_least, of_kept = (get_measure(name, study.predictor, main, "alternatives") for name in (least, kept))
    # under a name of its own: the study may limit the same figure at another chance
    beside = BoundLimit(replace(of_kept, name=f"{kept} as it is"), "at_most", own[kept].median, 0.5, "the run as it is")
    goal = MeasuredGoal(Goal(minimise=least), of_least)
    judge = evaluator.judging(replace(study, goals=(goal,), limits=(*study.limits, beside)))
    tried = judge.many([study.space.current(), *(one.values for one in known)])
    tried = [one for one in tried if one.why is None]
    ordered = sorted(tried, key=lambda one: (sum(max(value, 0.0) for value in one.excess.values()), one.goals))
    ends = ordered[:1]
    if study.options.polish:  # a search of few trials isn't outlasted by what it says on the side
        budget = min(_MOST_EVALUATIONS, len(tried))
        ends = [improve(judge, one, lambda plan: plan.goals[0], budget=budget) for one in ordered[:_STARTS]]
    better = [one for one in ends if one.feasible and one.goals[0] < own[least].median * (1.0 - _NO_BETTER)]
    return min(better, key=lambda one: one.goals, default=None)


def _candidate(evaluator: Evaluator, one: PlanEvaluation) -> Candidate:
    """A plan that may have been no trial, judged by the study's own goals, with its full forecast."""
    judged = evaluator(one.values)
    forecast = forecast_of(evaluator, judged)
    config = judged.config if forecast is None else forecast.config
    return Candidate(None, "alternative", replace(judged, config=config), forecast)


def _key(one: PlanEvaluation) -> str:
    return repr(sorted(one.values.items()))


def _alike(its: Mapping[str, Quantity], others: Mapping[str, Quantity]) -> bool:
    """Whether two plans would be shown with the same numbers."""
    return its.keys() == others.keys() and all(
        abs(value.median - others[name].median) <= _SAME * abs(others[name].median) for name, value in its.items()
    )


def _gain(own: Mapping[str, Quantity], its: Mapping[str, Quantity]) -> float | None:
    """By how much the loss of a plan is below that of the run as it is, nats; None where it isn't."""
    if "loss_nats" not in own or "loss_nats" not in its:
        return None
    gain = own["loss_nats"].median - its["loss_nats"].median
    return gain if gain > 0 else None


def _said(name: str, one: Alternative) -> str:
    """What an alternative of this name gives, from its own numbers; nothing where they aren't there."""
    its, own = one.figures, one.baseline
    if name == "relaxed":
        return f"no plan keeps every limit; the smallest relaxation is {one.condition}"
    if "loss_nats" not in its or "loss_nats" not in own:
        return ""
    if name == "same_money":
        gets = f"{-_beyond(one, 'loss_nats'):.3f} nats" if one.share_of_gain is None else percent(one.share_of_gain)
        return f"{one.plan} gets {gets} of the gain for no more than the run as it is costs"
    if name == "same_loss":
        share = its["cost_usd"].median / own["cost_usd"].median
        return f"{one.plan} has the loss of the run as it is for {percent(share)} of its cost"
    if name == "fastest":
        days, instead = (format_amount(of["wall_clock_days"].median) for of in (its, own))
        return f"{one.plan} has the loss of the run as it is in {days} days instead of {instead}"
    return f"{one.plan}: {', '.join(_changes(one))}"


def _changes(one: Alternative) -> list[str]:
    """How loss, cost and time differ from the run as it is, in words."""
    nats = _beyond(one, "loss_nats")
    said = [f"{abs(nats):.3f} nats {'lower' if nats < 0 else 'higher'} than the run as it is"]
    if "cost_usd" in one.figures and "cost_usd" in one.baseline:
        usd = _beyond(one, "cost_usd")
        said.append(f"{format_count(abs(usd))} USD {'less' if usd < 0 else 'more'}")
    if "wall_clock_days" in one.figures and "wall_clock_days" in one.baseline:
        days = _beyond(one, "wall_clock_days")
        said.append(f"{format_amount(abs(days))} days {'shorter' if days < 0 else 'longer'}")
    return said


def _beyond(one: Alternative, figure: str) -> float:
    """The median of a figure minus that of the run as it is."""
    return one.figures[figure].median - one.baseline[figure].median
