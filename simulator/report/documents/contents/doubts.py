"""What matters in a plan, whether its size is right, and what would narrow its forecast, ranked by value."""

from __future__ import annotations

from collections.abc import Callable

from .....core.errors import ForetrainError
from ....allocation.compute_optimal.curves import isoflop
from ....allocation.compute_optimal.optimal import compute_optimal
from ....allocation.sensitivity.sensitivity import sensitivity
from ....cluster.step_time.step_model import StepTimeModel
from ....forecast.narrowing.measures import OUTCOMES, Cost, Measure
from ....forecast.narrowing.ranking import what_would_narrow
from ... import words
from ...charts.picture import Picture
from ...charts.planning.isoflop import isoflop_picture
from ...charts.planning.tornado import tornado_picture
from ..document import Section, Worth
from .judged import Judged

__all__ = ["doubts_section"]

_MOST_WORTH = 5
_NOTHING_USD = 0.01


def doubts_section(judged: Judged, step_times: StepTimeModel | None = None) -> Section:
    """What matters, and what to do about what stays in doubt."""
    pictures = [
        picture
        for picture in (_asked(lambda: _size(judged)), _asked(lambda: _what_matters(judged, step_times)))
        if picture is not None
    ]
    found = what_would_narrow(judged.plan, judged.predictor, step_times)
    worth = tuple(_worth(one, found.outcome) for one in found.measures[:_MOST_WORTH])
    text = "" if worth else "Nothing that the plan could state would narrow the forecast."
    return Section("What matters, and what would narrow it", tuple(pictures), worth=worth, text=text)


def _asked(make: Callable[[], Picture]) -> Picture | None:
    """A picture, or None where the predictor or the plan can't say."""
    try:
        return make()
    except ForetrainError:
        return None


def _what_matters(judged: Judged, step_times: StepTimeModel | None) -> Picture:
    return tornado_picture(sensitivity(judged.plan.config, judged.predictor, step_times=step_times))


def _size(judged: Judged) -> Picture:
    """The plan among sizes of the same compute."""
    plan = judged.plan
    # the compute as the law counts it, so that the plan lies on its own curve
    flops = compute_optimal(judged.predictor, config=plan.config).flops
    curves = isoflop(judged.predictor, [flops], config=plan.config)
    return isoflop_picture(curves, plan=(plan.params_fitted, plan.headline.loss_nats.median))


def _worth(one: Measure, outcome: str) -> Worth:
    """A measure in words: what to do, by how much it narrows what, and what it costs."""
    narrowed = [one.of(outcome)] if one.of(outcome) is not None else list(one.narrows)
    by_share: dict[str, list[str]] = {}
    for of in narrowed:
        if of is not None:
            by_share.setdefault(words.percent(of.share), []).append(OUTCOMES[of.outcome][0])
    brings = "; ".join(
        f"the 90 % interval{'s' if len(names) > 1 else ''} of {words.listed(names)} "
        f"{'become' if len(names) > 1 else 'becomes'} about {share} narrower"
        for share, names in by_share.items()
    )
    # what is free is said with its cost, and a sentence's second half is no part of what to do
    what, _, why = one.sentence.removesuffix(": free").partition(": ")
    said = " ".join(words.sentence(text) for text in (why, brings) if text)
    return Worth(words.sentence(what), said, _costs(one.cost))


def _costs(cost: Cost) -> str:
    if cost.free:
        return words.sentence(f"Costs nothing but {cost.how}")
    said = []
    if cost.usd is not None and cost.usd < _NOTHING_USD:
        return words.sentence(f"Costs next to nothing: {cost.how}")
    if cost.usd:
        said.append(f"about {words.money_unit(cost.usd).text(cost.usd)}")
    if cost.gpu_hours:
        said.append(f"{words.plain(cost.gpu_hours)} GPU-hours")
    if cost.minutes:
        said.append(words.days_unit(cost.minutes / 1440.0).text(cost.minutes / 1440.0))
    return words.sentence(f"Costs {', '.join(said)}: {cost.how}" if said else f"Costs: {cost.how}")
