"""A report as one HTML file: nothing is loaded from elsewhere, no script is needed, and every name is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from ....core.extras import require
from ....core.output.plain import visible
from ....core.version import __version__
from ..charts.picture import Picture
from ..theme import style_variables
from .document import Document

if TYPE_CHECKING:
    import jinja2

__all__ = ["drawings", "environment", "html_page", "pictures_page", "style_sheet"]


def html_page(document: Document) -> str:
    """The report as a page that stands alone: offline, as an attachment, on paper.

    Raises:
        MissingExtraError: Without `foretrain[charts]`.
    """
    drawn = {name: drawings(picture) for name, picture in document.pictures.items()}
    return (
        environment()
        .get_template("report.html")
        .render(
            document=document,
            drawn=drawn,
            style=_safe(style_sheet()),
            version=__version__,
        )
    )


def pictures_page(pictures: Sequence[Picture]) -> str:
    """Pictures alone as a page, below each other, each with its title, source, warnings and numbers."""
    return (
        environment()
        .get_template("pictures.html")
        .render(
            pictures=pictures,
            drawn={picture.name: drawings(picture) for picture in pictures},
            style=_safe(style_sheet()),
            version=__version__,
        )
    )


def drawings(picture: Picture) -> list[str]:
    """A picture at each of its widths, as markup; the page shows the one that there is room for."""
    return [_safe(picture.svg(width)) for width in picture.widths]


def style_sheet() -> str:
    """The theme's variables and the page's rules."""
    return style_variables() + _template("style.css")


@cache
def environment() -> jinja2.Environment:
    """The templates of pages, which escape what they are given."""
    require("a report", "jinja2", "vl_convert")
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_seen,
    )


def _seen(value: object) -> object:
    """A value to show: in text, characters that turn the direction of writing around are spelled out."""
    return visible(value, lines=True) if type(value) is str else value


def _template(name: str) -> str:
    return (
        resources.files("foretrain.simulator.report.documents").joinpath("templates", name).read_text(encoding="utf-8")
    )


def _safe(markup: str) -> str:
    """Markup of our own making, which must not be escaped again."""
    from markupsafe import Markup

    return Markup(markup)
