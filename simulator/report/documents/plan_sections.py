"""The pictures of a plan, section by section, in the order in which a meeting asks."""

from __future__ import annotations

from .. import words
from ..charts.dots import Outcomes, chance_picture, difference_picture
from ..charts.forecast import forecast_picture
from ..charts.memory import memory_picture
from ..charts.picture import Picture
from .document import Section
from .judged import Judged

__all__ = ["loss_section", "machine_pictures", "plan_pictures"]

_DOTS, _CASES = 20, 50


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
        cases = [quality.quantile((place + 0.5) / _CASES) for place in range(_CASES)]
        found.append(difference_picture(cases, quality.chance_lower, quality.intervals[0.9], plan, baseline))
    return found


def _chance(judged: Judged, wanted: float, p_target: float) -> Picture:
    plans = [("plan", judged.plan)]
    if judged.baseline is not None and judged.comparable:
        plans.append(("baseline", judged.baseline))
    outcomes = [
        Outcomes(role, [one.headline.perplexity.quantile((place + 0.5) / _DOTS) for place in range(_DOTS)], role)
        for role, one in plans
    ]
    return chance_picture(outcomes, wanted, f"perplexity {words.plain(wanted)}", p_target, words.PERPLEXITY)


def machine_pictures(judged: Judged) -> list[Picture]:
    """Whether the plan fits in memory."""
    plan, baseline = judged.plan.cluster, judged.baseline.cluster if judged.baseline else None
    if plan is None:
        return []
    return [memory_picture([("plan", plan), *([("baseline", baseline)] if baseline is not None else [])])]


def plan_pictures(judged: Judged) -> list[Picture]:
    """All pictures of a plan, as the page shows them."""
    return [*loss_pictures(judged), *machine_pictures(judged)]
