"""How pictures and pages look: colours by what they mean, type, and the defaults of every picture. One theme, here.

A picture names colours as CSS variables, `colour("plan")` is `var(--plan)`: in a page the same drawing follows light,
dark and print. Where no style sheet reads it, in a file of its own, `resolved` puts the light colours in.

Contrasts are checked by tests: text 4.5 to 1 on both grounds, marks 3 to 1. The palette keeps apart what red-green and
blue-yellow blindness mix up: blue for the plan, a warm grey for the baseline, orange for limits, each also told by
position, dash or word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["DARK", "FONT", "LIGHT", "TEXT_PX", "colour", "resolved", "style_variables", "vega_config"]

LIGHT = {
    "ground": "#ffffff",
    "surface": "#f5f7f9",
    "ink": "#17202a",
    "muted": "#55616e",
    "line": "#d6dce2",
    "fitted": "#eef1f4",
    "plan": "#0b5fa5",
    "plan-50": "#a3c8e8",
    "plan-90": "#dceaf6",
    "part": "#4a8cc4",
    "part-2": "#8fbce2",
    "part-3": "#bcd8ef",
    "part-4": "#dfe5ea",
    "baseline": "#6a6258",
    "baseline-50": "#b3aca2",
    "baseline-90": "#dedad4",
    "limit": "#a8440a",
    "warning": "#fdf4e3",
}
"""The colours on light ground, by meaning; `-50` and `-90` are the tints of intervals."""

DARK = {
    "ground": "#11161b",
    "surface": "#1a2128",
    "ink": "#e9edf1",
    "muted": "#a5b1bd",
    "line": "#323d48",
    "fitted": "#1a2229",
    "plan": "#79b8f3",
    "plan-50": "#2f5f8a",
    "plan-90": "#1c3449",
    "part": "#3f78ab",
    "part-2": "#3b6d99",
    "part-3": "#2b4e6d",
    "part-4": "#39424b",
    "baseline": "#c3b8a8",
    "baseline-50": "#6d665c",
    "baseline-90": "#403c37",
    "limit": "#f2a46c",
    "warning": "#2b2416",
}
"""The same on dark ground."""

FONT = '-apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif'
TEXT_PX = 13
"""Size of the text in pictures; never under 12 as drawn."""

_DRAWN_FONT = "Liberation Sans, Arial, sans-serif"  # that text is measured with where no browser does
_VARIABLE = re.compile(r"var\(--([a-z0-9-]+)\)")


def colour(meaning: str) -> str:
    """The CSS variable of a meaning.

    >>> colour("plan")
    'var(--plan)'

    Raises:
        KeyError: No such meaning.
    """
    LIGHT[meaning]
    return f"var(--{meaning})"


def resolved(text: str, palette: Mapping[str, str] = LIGHT) -> str:
    """Text, an SVG say, with a palette's colours in place of the variables.

    >>> resolved('<path fill="var(--plan)"/>')
    '<path fill="#0b5fa5"/>'
    """
    return _VARIABLE.sub(lambda found: palette[found[1]], text)


def style_variables() -> str:
    """The style sheet's first rules: the variables on light ground, on dark where that is preferred, and in print."""
    light, dark = (";".join(f"--{name}:{value}" for name, value in colours.items()) for colours in (LIGHT, DARK))
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
        f":root[data-theme=light]{{color-scheme:light}}\n"
        f"@media print{{:root,:root:not([data-theme=light]),:root[data-theme=dark]{{{light}}}}}\n"
    )


def vega_config() -> dict[str, Any]:
    """What every picture has in common, as Vega-Lite's `config`."""
    axis = {
        "labelFontSize": TEXT_PX,
        "titleFontSize": TEXT_PX,
        "titleFontWeight": "normal",
        "labelColor": colour("muted"),
        "titleColor": colour("muted"),
        "domainColor": colour("line"),
        "tickColor": colour("line"),
        "gridColor": colour("line"),
        "gridWidth": 0.7,
        "labelPadding": 5,
        "titlePadding": 8,
        "labelOverlap": "greedy",
        "labelSeparation": 8,
    }
    return {
        "background": "transparent",
        "font": _DRAWN_FONT,
        "padding": {"left": 2, "right": 4, "top": 4, "bottom": 2},
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False, "tickSize": 4},
        # the title of the vertical axis lies on top of it, to be read without turning the head
        "axisY": {
            "titleAngle": 0,
            "titleAlign": "left",
            "titleAnchor": "end",
            "titleBaseline": "bottom",
            "titleX": 0,
            "titleY": -10,
            "domain": False,
            "ticks": False,
        },
        "text": {"fontSize": TEXT_PX, "color": colour("ink"), "font": _DRAWN_FONT},
        "legend": {"disable": True},
        "header": {
            "labelFontSize": TEXT_PX,
            "labelColor": colour("ink"),
            "labelFontWeight": "bold",
            "titleFontSize": TEXT_PX,
        },
        "line": {"strokeWidth": 2.25},
        "rule": {"strokeWidth": 1.5},
    }
