"""Results as a notebook shows them: the pictures of a report, drawn at one width, above the result's table."""

from __future__ import annotations

from html import escape

from ...core.errors import ForetrainError
from ...core.extras import has
from ..forecast.compare import Comparison
from ..forecast.forecast import Forecast
from ..predictor.storage.folder import load, shipped
from ..search.result import Optimization
from ..tracking.result import Tracking
from .theme import resolved

__all__ = ["pictures_of"]

_WIDTH = 560
_MOST = 3
_LIBRARIES = ("vl_convert", "jinja2")


def pictures_of(result: object) -> str:
    """Markup of a result's pictures; nothing for other results, and without `foretrain[charts]`.

    A notebook's own output must never fail: what can't be drawn is left out.
    """
    if not all(has(library) for library in _LIBRARIES):
        return ""
    try:
        return "".join(_figures(result))
    except ForetrainError:
        return ""


def _figures(result: object) -> list[str]:
    from .charts.planning.study import study_pictures
    from .charts.runs.track import track_picture
    from .documents.contents.judged import Judged
    from .documents.contents.plan_sections import plan_pictures
    from .documents.contents.plans import judged_best

    pictures = []
    if isinstance(result, Tracking):
        pictures = [track_picture(result)]
    elif isinstance(result, Optimization):
        pictures = study_pictures(result)
    elif isinstance(result, Forecast | Comparison):
        first = result if isinstance(result, Forecast) else result.forecasts[0]
        name = str(first.predictor["name"])
        if name in shipped():  # a result doesn't hold its predictor
            known = load(name)
            judged = Judged(result, known) if isinstance(result, Forecast) else judged_best(result, known)
            pictures = plan_pictures(judged)
    return [
        '<figure style="margin:0 0 16px;padding:12px;background:#fff;color:#17202a;max-width:600px">'
        f"<strong>{escape(one.title)}</strong><div>{escape(one.subtitle)}</div>{resolved(one.svg(_WIDTH))}"
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
        for one in pictures[:_MOST]
    ]
