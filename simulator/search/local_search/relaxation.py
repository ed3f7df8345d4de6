"""The smallest relaxations of a study's limits that make a plan feasible, where none is.

For each limit that the best plans violate, a local search keeps all others and minimises the excess over this one; the
smallest change of one limit comes first. Where relaxing a single limit isn't enough, several are relaxed together, by
the least sum of logarithms, which leaves most limits unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..evaluate import MACHINES, Evaluator, PlanEvaluation
from ..study import BoundLimit, Study
from .polish import improve

__all__ = ["Relaxation", "relaxations", "why_impossible"]

_STARTS = 3
_EVALUATIONS = 150
_DIGITS = 3


@dataclass(frozen=True)
class Relaxation:
    """Bounds that would make a plan feasible."""

    limits: tuple[tuple[BoundLimit, float], ...]
    """Each relaxed limit with the bound that it needs."""
    plan: PlanEvaluation
    """A plan that is feasible under those bounds."""

    @property
    def factor(self) -> float:
        """The largest ratio of a needed bound to the one stated; 1 for a plan that needs none."""
        return max((math.exp(abs(math.log(bound / limit.bound))) for limit, bound in self.limits), default=1.0)

    @property
    def text(self) -> str:
        """In words, as it would stand in the study."""
        parts = [
            f"{limit.measure.name} {limit.side} {bound:g} instead of {limit.bound:g} ({bound / limit.bound - 1:+.1%})"
            for limit, bound in self.limits
        ]
        return " and ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        limits = [
            {"measure": limit.measure.name, "side": limit.side, "stated": limit.bound, "needed": bound}
            for limit, bound in self.limits
        ]
        return {"limits": limits, "factor": self.factor, "plan": dict(self.plan.values)}


def relaxations(evaluator: Evaluator, known: Sequence[PlanEvaluation]) -> list[Relaxation]:
    """The relaxations that make a plan feasible, smallest change first; empty if no change of a limit does."""
    possible = [one for one in known if one.why is None]
    if not possible:
        return []
    found = [one for limit in evaluator.study.limits if (one := _single(evaluator, limit, possible)) is not None]
    if not found:
        together = _together(evaluator, possible)
        found = [] if together is None else [together]
    return sorted(found, key=lambda one: one.factor)


def _single(evaluator: Evaluator, limit: BoundLimit, known: Sequence[PlanEvaluation]) -> Relaxation | None:
    """The relaxation of this limit alone; None if that isn't enough."""

    def others(one: PlanEvaluation) -> float:
        return sum(max(value, 0.0) for name, value in one.excess.items() if name != limit.name)

    starts = sorted(known, key=lambda one: (others(one), one.excess[limit.name]))[:_STARTS]
    ends = [
        improve(evaluator, start, lambda one: math.exp(one.excess[limit.name]), budget=_EVALUATIONS, free=(limit.name,))
        for start in starts
    ]
    # a limit on a quantity that is 0 has no relaxed bound
    kept = [one for one in ends if others(one) <= 0 and one.measured[limit.name] > 0]
    if not kept:
        return None
    best = min(kept, key=lambda one: one.excess[limit.name])
    return Relaxation(((limit, _rounded(limit, best)),), best)


def _together(evaluator: Evaluator, known: Sequence[PlanEvaluation]) -> Relaxation | None:
    """The least joint relaxation of several limits; None if one of them is on a quantity that is 0."""

    def missed(one: PlanEvaluation) -> float:
        return sum(max(value, 0.0) for value in one.excess.values())

    names = [name for name in known[0].excess if name != MACHINES]
    starts = sorted(known, key=missed)[:_STARTS]
    ends = [
        improve(evaluator, start, lambda one: math.exp(missed(one)), budget=_EVALUATIONS, free=names)
        for start in starts
    ]
    best = min(ends, key=missed)
    giving = [limit for limit in evaluator.study.limits if best.excess[limit.name] > 0]
    if any(best.measured[limit.name] <= 0 for limit in giving):
        return None
    return Relaxation(tuple((limit, _rounded(limit, best)) for limit in giving), best)


def _rounded(limit: BoundLimit, plan: PlanEvaluation) -> float:
    """The bound that a plan needs, rounded to the side that still admits it."""
    value = plan.measured[limit.name]
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    turned = math.ceil(value / unit) if limit.side == "at_most" else math.floor(value / unit)
    return float(f"{turned * unit:.{_DIGITS}g}")


def why_impossible(study: Study, known: Sequence[PlanEvaluation]) -> str:
    """Why no plan can be run on its machines: the reason for the last plan that was tried."""
    reasons = [one.why for one in known if one.why is not None]
    return reasons[-1] if reasons else f"study {study.name}: no plan was tried"
