"""Small pictures of text: an interval as a strip, an amount as a bar. Off a terminal they draw nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ...core.output.plain import visible
from ...core.quantity import Quantity

__all__ = ["Amount", "Bars", "Interval", "Strips", "bar_text", "strip_text"]

_LEAST_CELLS, _MOST_CELLS = 16, 48
_NAME_CELLS = 28
_DECADE = 10.0


@dataclass(frozen=True)
class Interval:
    """One row of strips: a forecast number, what it is called, and the number that is wanted."""

    name: str
    quantity: Quantity
    said: str
    """The number in words, to the right of its strip."""
    target: float | None = None


@dataclass(frozen=True)
class Amount:
    """One row of bars."""

    name: str
    value: float
    said: str


@dataclass(frozen=True)
class Strips:
    """Intervals as strips of cells, 50 % ▓, 90 % ░, median │, target ┊, each on a scale of its own or all on one."""

    rows: Sequence[Interval]
    together: bool = False
    wanted: str = "target"
    """What the targets are."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The strips, where there is a terminal to see them and room for them."""
        names = _names(row.name for row in self.rows)
        cells = _cells(options.max_width, names, [row.said for row in self.rows])
        if not console.is_terminal or not self.rows or cells < _LEAST_CELLS:
            return
        common = _ends(self.rows) if self.together else None
        for name, row in zip(names, self.rows, strict=True):
            low, high = common or _ends([row])
            strip = strip_text(row.quantity, low, high, cells, row.target, options.ascii_only)
            yield Text.assemble(name, "  ", strip, "  ", row.said)
        half, most, median, target = _SIGNS[options.ascii_only]
        wanted = f", {target} {self.wanted}" if any(row.target is not None for row in self.rows) else ""
        yield Text(f"{most} 90 %, {half} 50 %, {median} median{wanted}", style="dim")


@dataclass(frozen=True)
class Bars:
    """Amounts as bars from nothing on, the largest as long as there is room."""

    rows: Sequence[Amount]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The bars, where there is a terminal to see them and room for them."""
        names = _names(row.name for row in self.rows)
        cells = _cells(options.max_width, names, [row.said for row in self.rows])
        if not console.is_terminal or not self.rows or cells < _LEAST_CELLS:
            return
        most = max(row.value for row in self.rows)
        for name, row in zip(names, self.rows, strict=True):
            yield Text.assemble(name, "  ", bar_text(row.value, most, cells, options.ascii_only), "  ", row.said)


_SIGNS = {False: ("▓", "░", "│", "┊"), True: ("=", "-", "|", ":")}
"""Signs of 50 %, 90 %, median and target; those of ASCII where the terminal's encoding has no others."""


def strip_text(
    quantity: Quantity, low: float, high: float, cells: int, target: float | None = None, ascii_only: bool = False
) -> str:
    """A number's intervals on a scale from `low` to `high`, logarithmic where that spans a decade.

    >>> print(strip_text(Quantity(5.0, {0.5: (4.0, 6.0), 0.9: (2.0, 8.0)}), 0.0, 10.0, 21, target=9.5).rstrip())
        ░░░░▓▓│▓▓░░░░  ┊
    >>> print(strip_text(Quantity(5.0, {0.5: (4.0, 6.0), 0.9: (2.0, 8.0)}), 0.0, 10.0, 21, ascii_only=True).rstrip())
        ----==|==----
    """
    half, most, median, wanted = _SIGNS[ascii_only]
    line = [" "] * cells

    def place(value: float) -> int:
        share = _share(value, low, high)
        return min(max(round(share * (cells - 1)), 0), cells - 1)

    for level, sign in ((0.9, most), (0.5, half)):
        first, last = (place(end) for end in quantity.intervals[level])
        line[first : last + 1] = sign * (last + 1 - first)
    if target is not None:
        line[place(target)] = wanted
    line[place(quantity.median)] = median
    return "".join(line).ljust(cells)


def bar_text(value: float, most: float, cells: int, ascii_only: bool = False) -> str:
    """A bar of at most `cells`, as long as its share of `most`; something for anything above nothing.

    >>> bar_text(5.0, 10.0, 8), bar_text(1e-9, 10.0, 4, ascii_only=True), bar_text(0.0, 0.0, 3)
    ('████    ', '#   ', '   ')
    """
    share = value / most if most > 0 and math.isfinite(value) else 0.0
    length = min(cells, max(1, round(share * cells))) if share > 0 else 0
    return (("#" if ascii_only else "█") * length).ljust(cells)


def _share(value: float, low: float, high: float) -> float:
    """How far between two ends a value lies."""
    if high <= low:
        return 0.5
    if low > 0 and high / low >= _DECADE and value > 0:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _ends(rows: Sequence[Interval]) -> tuple[float, float]:
    """The ends of a scale that holds all of some rows."""
    every = [end for row in rows for end in row.quantity.intervals[0.9]]
    every += [row.target for row in rows if row.target is not None]
    return min(every), max(every)


def _names(names: Iterable[str]) -> list[str]:
    """Names of one width, each one line that steers no terminal."""
    plain = [visible(" ".join(name.split())) for name in names]
    width = min(max((cell_len(name) for name in plain), default=0), _NAME_CELLS)
    return [set_cell_size(name, width) for name in plain]


def _cells(width: int, names: Sequence[str], said: Sequence[str]) -> int:
    """How many cells are left for the pictures."""
    beside = max(map(cell_len, names), default=0) + max(map(cell_len, said), default=0) + 4
    return min(width - beside, _MOST_CELLS)
