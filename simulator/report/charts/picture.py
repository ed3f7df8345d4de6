"""A picture: its finding, how it is drawn at a width, and the numbers behind it. What shows it is elsewhere.

`draw` gives a Vega-Lite specification whose colours are those of the theme, as variables. The same picture becomes a
file of its own, a drawing within a report, or one that a browser draws.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..theme import vega_config

__all__ = ["HALF", "SCHEMA", "WHOLE", "Numbers", "Picture", "Spec"]

Spec = dict[str, Any]
"""A Vega-Lite specification."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_VERSION = "6.4"
HALF = (320, 500)
"""Widths, px, of a picture that stands beside another where there is room."""
WHOLE = (320, 560, 1040)
"""Widths, px, of a picture that takes the page's whole width."""

_IDS = re.compile(r"""(\bid="|url\(#|href="#)([\w-]+)""")


@dataclass(frozen=True)
class Numbers:
    """The numbers behind a picture, as a table of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """What a picture says and how it is drawn.

    >>> from foretrain.simulator.report.charts.marks import field, layer
    >>> def draw(width):
    ...     return {"height": 100, "layer": [layer([{"a": 1.0}], "point", x=field("a"))]}
    >>> one = Picture("dot", "One dot at 1", "A dot", "Made up.", Numbers(("a",), (("1",),)), draw)
    >>> one.svg(320).startswith('<svg role="img" aria-label="One dot at 1. A dot"')
    True
    """

    name: str
    """Names it within a page: lower-case letters, digits and hyphens."""
    title: str
    """The finding, a sentence of at most 12 words made from the numbers."""
    subtitle: str
    """What is drawn, in which unit."""
    caption: str
    """Source, and warnings that this picture rests on."""
    numbers: Numbers
    draw: Callable[[int], Spec]
    """The specification at a width in pixels, without schema, width and config."""
    widths: tuple[int, ...] = HALF
    """Widths at which it is drawn where it can't be drawn anew, px, rising."""

    def spec(self, width: int) -> Spec:
        """The whole specification at a width, px, labels included."""
        drawn = self.draw(width)
        fitted = {} if "hconcat" in drawn or "vconcat" in drawn else {"width": width, "autosize": _FIT}
        return {"$schema": SCHEMA, "config": vega_config() | _UNLABELLED, **fitted, **drawn}

    def svg(self, width: int) -> str:
        """The drawing at a width, px, as an `<svg>` element with the theme's variables for colours.

        It is labelled with the finding, and its ids are its own, so that several can stand in one page.
        """
        import vl_convert as vlc

        drawn = vlc.vegalite_to_svg(self.spec(width), vl_version=_VERSION, allowed_base_urls=[])
        inner = _IDS.sub(rf"\g<1>{self.name}-{width}-\g<2>", drawn.removeprefix("<svg"))
        return f'<svg role="img" aria-label="{_attribute(f"{self.title}. {self.subtitle}")}"{inner}'


_FIT = {"type": "fit", "contains": "padding"}
# a drawing is one image, labelled as a whole: no mark of it is announced by itself
_UNLABELLED = {"aria": False, "mark": {"aria": False}}


def _attribute(text: str) -> str:
    """Text as the value of an attribute."""
    from html import escape

    return escape(text, quote=True)
