"""What the page shows of a plan: its report against the baseline, worked out anew for every change."""

from __future__ import annotations

from typing import Any

from ...forecast.compare import differences
from ...predictor.predictor import Predictor
from ...report.charts.picture import Picture
from ...report.documents.document import Document
from ...report.documents.judged import Judged
from ...report.documents.plan_sections import plan_pictures
from ...report.documents.plans import judged_document
from .forecasts import Forecasts
from .stated import Asked

__all__ = ["Shown", "show"]


class Shown:
    """One answer of the page."""

    def __init__(self, asked: Asked, judged: Judged, document: Document, pictures: list[Picture]) -> None:
        self.asked, self.judged, self.document, self.pictures = asked, judged, document, pictures

    def specs(self, half_px: int, whole_px: int) -> dict[str, Any]:
        """What a browser draws, by the pictures' names, at the widths that it has room for."""
        return {one.name: one.spec(whole_px if len(one.widths) > 2 else half_px) for one in self.pictures}


def show(asked: Asked, predictor: Predictor, known: Forecasts) -> Shown:
    """The answer to what the page asks.

    Raises:
        ConfigError: Something is wrong with a plan.
        InputError: The predictor doesn't apply to it.
        InfeasibleError: Its machines can't run it.
    """
    config, base = asked.own.config(), asked.base.config()
    own = known.of(config, predictor)
    judged = Judged(own, predictor)
    if config != base:
        other = known.of(base, predictor)
        judged = Judged(own, predictor, other, differences([other, own], predictor)[1])
    pictures = plan_pictures(judged)
    return Shown(asked, judged, judged_document(judged), pictures)
