"""What the page shows of a plan: its report against the baseline, worked out anew for every change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...forecast.compare import differences
from ...predictor.predictor import Predictor
from ...report.charts.picture import Picture
from ...report.documents.contents.judged import Judged
from ...report.documents.contents.plan_sections import plan_pictures
from ...report.documents.contents.plans import answer_document
from ...report.documents.document import Document
from .forecasts import Forecasts
from .stated import Asked

__all__ = ["Shown", "judge", "show"]


@dataclass(frozen=True)
class Shown:
    """One answer of the page."""

    asked: Asked
    judged: Judged
    document: Document
    """The decision, the numbers, the warnings; the pictures stand beside it."""
    pictures: tuple[Picture, ...]

    def specs(self, half_px: int, whole_px: int) -> dict[str, Any]:
        """What a browser draws, by the pictures' names, at the widths that it has room for."""
        return {one.name: one.spec(whole_px if len(one.widths) > 2 else half_px) for one in self.pictures}


def judge(asked: Asked, predictor: Predictor, known: Forecasts) -> Judged:
    """The page's plan against its baseline, both held to the plan's targets; alone where they are the same.

    Raises:
        ConfigError: Something is wrong with a plan.
        InputError: The predictor doesn't apply to it.
        InfeasibleError: Its machines can't run it.
    """
    config, base = asked.own.config(), asked.base.config()
    base = base.model_copy(update={"targets": config.targets, "start": config.start, "name": config.name})
    own = known.of(config, predictor)
    if config == base:
        return Judged(own, predictor)
    other = known.of(base, predictor)
    return Judged(own, predictor, other, differences([other, own], predictor)[1])


def show(asked: Asked, predictor: Predictor, known: Forecasts) -> Shown:
    """The answer to what the page asks. Errors as those of `judge`."""
    judged = judge(asked, predictor, known)
    return Shown(asked, judged, answer_document(judged), tuple(plan_pictures(judged)))
