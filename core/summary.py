"""Results as a notebook shows them: one line as `repr`, a small table as HTML, both of the same few facts."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from .quantity import Quantity

__all__ = ["Summarised", "with_interval"]


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
        """The facts as a table; names and texts may come from anywhere, so everything is escaped."""
        rows = "".join(
            f'<tr><th style="text-align: left">{html.escape(name)}</th>'
            f'<td style="text-align: left">{html.escape(text)}</td></tr>'
            for name, text in self.summary().items()
        )
        return f"<table><caption>{html.escape(type(self).__name__)}</caption>{rows}</table>"


def with_interval(value: Quantity, shown: Callable[[float], str] = "{:.4g}".format) -> str:
    """`8.34 (4.58 to 19.24)`: the median and the central 90 %, each as `shown` writes it."""
    low, high = value.intervals[0.9]
    return f"{shown(value.median)} ({shown(low)} to {shown(high)})"
