"""Where things go in a picture: the scale of an axis, labels off each other, and names of any length and content."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ....core.output.plain import visible
from ..theme import TEXT_PX
from .marks import PLAIN, log_ticks, steps

__all__ = ["LINE_PX", "Scale", "Spot", "short", "sides", "text_px", "thinned"]

LINE_PX = TEXT_PX + 3
"""Height of a line of text."""

_LETTER_PX = 0.58 * TEXT_PX  # of a wide font: a reader's may be wider than the one that was measured
_DECADE = 10.0
_SAME = 1e-3  # share of a number that an axis spans at least
_NAME, _UNNAMED = 24, "unnamed"
_GAP_PX, _ABOVE_PX = 9, 13
_OUTSIDE, _ON_LABEL, _ON_MARK, _FAR = 1e6, 10.0, 1.0, 1.5


def text_px(text: str) -> float:
    """About how wide a line of text is drawn."""
    return _LETTER_PX * len(text)


def short(name: str, most: int = _NAME) -> str:
    """A name of any length and content as one short line.

    >>> short("web"), short(""), short("a" * 40, 9), short("two\\nlines")
    ('web', 'unnamed', 'aaaaaaaa…', 'two lines')
    """
    plain = visible(" ".join(name.split()))
    if not plain:
        return _UNNAMED
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


def thinned(count: int, most: int) -> list[int]:
    """Places of at most `most` of `count` rows, evenly, the first and the last among them.

    >>> thinned(3, 5), thinned(100, 3)
    ([0, 1, 2], [0, 50, 99])
    """
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


@dataclass(frozen=True)
class Scale:
    """The scale of one axis; logarithmic where numbers span a decade.

    >>> Scale.around([40.0, 600.0]).log, Scale.around([2.1, 2.4]).log
    (True, False)
    """

    low: float
    high: float
    log: bool

    @classmethod
    def around(cls, values: Iterable[float], room: float = 0.06, log: bool | None = None) -> Scale:
        """A scale that holds all values, with a share of its length as room at either end."""
        values = list(values)
        low, high = min(values), max(values)
        if log is None:
            log = low > 0 and high / low >= _DECADE
        if log:
            ends = math.log(low), math.log(high)
            by = room * max(ends[1] - ends[0], _SAME)
            return cls(math.exp(ends[0] - by), math.exp(ends[1] + by), True)
        by = room * max(high - low, _SAME * max(abs(low), abs(high)), 1e-12)
        return cls(low - by, high + by, False)

    def wider(self, below: float = 0.0, above: float = 0.0) -> Scale:
        """The same with shares of its length more at its ends."""
        if self.log:
            span = math.log(self.high / self.low)
            return Scale(self.low * math.exp(-below * span), self.high * math.exp(above * span), True)
        span = self.high - self.low
        return Scale(self.low - below * span, self.high + above * span, False)

    def place(self, value: float, length: float) -> float:
        """How far along an axis of this length, px, a value lies."""
        if self.log:
            return length * math.log(value / self.low) / math.log(self.high / self.low)
        return length * (value - self.low) / (self.high - self.low)

    def options(self, title: str, labels: str = PLAIN, most: int = 6, **axis: Any) -> dict[str, Any]:
        """What `field` takes: scale, title, ticks."""
        kind = {"type": "log"} if self.log else {"type": "linear", "zero": False}
        at = log_ticks(self.low, self.high, most) if self.log else steps(self.low, self.high, most)
        if labels == PLAIN and not self.log:
            labels = f"format(datum.value, ',.{_decimals(at)}f')"
        return {
            "scale": {**kind, "domain": [self.low, self.high], "nice": False},
            "title": f"{title}, log scale" if self.log else title,
            "axis": {"values": at, "labelExpr": labels, **axis},
        }


def _decimals(numbers: Sequence[float]) -> int:
    """Digits behind the point that all numbers need."""
    return max(len(f"{number:.6f}".rstrip("0").partition(".")[2]) for number in numbers)


@dataclass(frozen=True)
class Spot:
    """A label and the place of its mark, px from the plot's upper left corner."""

    x: float
    y: float
    lines: Sequence[str]
    below: bool = False
    """Whether it would rather stand below its mark."""


def sides(
    spots: Sequence[Spot],
    width: float,
    height: float,
    avoid: Sequence[tuple[float, float]] = (),
    taken: Sequence[tuple[float, float, float, float]] = (),
) -> list[dict[str, Any]]:
    """On which side of its mark each label goes: off other labels and marks as far as can be, and inside.

    Args:
        spots: The labels; the first ones choose first.
        width: The plot's, px.
        height: The plot's, px.
        avoid: Further places, px, that labels should leave free.
        taken: Boxes of other labels, px: left, right, top, bottom.

    Returns:
        What `label` takes: align, dx and dy.

    >>> sides([Spot(5.0, 50.0, ["first"]), Spot(295.0, 50.0, ["last"])], 300, 100)
    [{'align': 'left', 'dx': 9, 'dy': -13}, {'align': 'right', 'dx': -9, 'dy': -13}]
    """
    marks = [*((spot.x, spot.y) for spot in spots), *avoid]
    boxes = list(taken)
    found = []
    for spot in spots:
        more = LINE_PX * (len(spot.lines) - 1)
        long = max(text_px(line) for line in spot.lines)
        above, below, beside = -_ABOVE_PX - more, _ABOVE_PX, -more / 2
        across = [("left", _GAP_PX), ("right", -_GAP_PX)]
        across.insert(0 if spot.below else 2, ("center", 0))
        best: tuple[float, dict[str, Any], tuple[float, float, float, float]] | None = None
        near = (below, above, beside) if spot.below else (above, below, beside)
        for far, dy in enumerate((*near, *(side + way * LINE_PX for side, way in ((above, -1), (below, 1))))):
            for align, dx in across:
                if align == "center" and dy == beside:
                    continue
                left = spot.x + dx - {"left": 0.0, "right": long, "center": long / 2}[align]
                top = spot.y + dy - LINE_PX / 2
                box = (left, left + long, top, top + LINE_PX + more)
                cost = _FAR * (far >= len(near)) + _OUTSIDE * (
                    max(-box[0], 0) + max(box[1] - width, 0) + max(-box[2], 0) + max(box[3] - height, 0)
                )
                cost += _ON_LABEL * sum(_overlap(box, other) for other in boxes)
                cost += _ON_MARK * sum(box[0] < px < box[1] and box[2] < py < box[3] for px, py in marks)
                if best is None or cost < best[0] - 1e-9:
                    best = (cost, {"align": align, "dx": dx, "dy": dy}, box)
        assert best is not None
        boxes.append(best[2])
        found.append(best[1])
    return found


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """The area, px², that two boxes share."""
    across = min(one[1], other[1]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[2], other[2])
    return max(across, 0.0) * max(down, 0.0)
