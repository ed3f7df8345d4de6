"""Results as a notebook shows them: one line as `repr`, a small table as HTML, both of the same few facts."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from .output.notebook import picture_makers
from .quantity import Difference, Quantity

__all__ = ["Summarised", "difference_text", "percent", "with_interval"]


class Summarised(ABC):
    """What says a few facts of itself; all there is to know is in its attributes and `to_dict`.

    Dataclasses take it as a base with `repr=False`.
    """

    @abstractmethod
    def summary(self) -> Mapping[str, str]:
        """The facts, by a name of one or two words."""

    def __repr__(self) -> str:
        facts = "; ".join(f"{name} {text}" for name, text in self.summary().items())
        return f"<{type(self).__name__}: {facts}>"

    def _repr_html_(self) -> str:
        """The facts as a table, below the pictures if there are any; names may come from anywhere: all is escaped."""
        rows = "".join(
            f'<tr><th style="text-align: left">{html.escape(name)}</th>'
            f'<td style="text-align: left">{html.escape(text)}</td></tr>'
            for name, text in self.summary().items()
        )
        table = f"<table><caption>{html.escape(type(self).__name__)}</caption>{rows}</table>"
        return "".join(make(self) for make in picture_makers) + table


def with_interval(value: Quantity, shown: Callable[[float], str] = "{:.4g}".format) -> str:
    """`8.34 (4.58 to 19.24)`: the median and the central 90 %, each as `shown` writes it."""
    low, high = value.intervals[0.9]
    return f"{shown(value.median)} ({shown(low)} to {shown(high)})"


def percent(share: float) -> str:
    """A chance as a reader wants it: never 0 % or 100 %."""
    return f"{share:.0%}" if 0.01 <= share <= 0.99 else ("under 1 %" if share < 0.01 else "over 99 %")


def difference_text(value: Difference, shown: Callable[[float], str] = "{:+.4g}".format, unit: str = "") -> str:
    """`-0.074 nats (90 %: -0.110 to -0.040), better with 99 %`, where less is better; `shown` writes the sign too."""
    low, high = value.intervals[0.9]
    named = f" {unit}" if unit else ""
    return (
        f"{shown(value.median)}{named} (90 %: {shown(low)} to {shown(high)}), better with {percent(value.chance_lower)}"
    )
