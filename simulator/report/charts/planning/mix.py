"""What to train on: each domain's share today and in the best plan, the largest changes at the ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....core.errors import UsageError
from ..marks import label, line, points
from ..picture import Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, short, text_px
from ..plain import at_px, plain_view

__all__ = ["mix_picture"]

_MOST_ROWS = 16
_ROW_PX, _HEAD_PX = 30, 34
_VALUE_PX = 44
_LEAST = 0.005  # a change of share that is worth a word
_TITLE_NAME = 16


def mix_picture(best: Mapping[str, float], today: Mapping[str, float] | None = None, caption: str = "") -> Picture:
    """Each domain's share of the training tokens, today's and the best plan's, by how much it rises.

    Args:
        best: Shares of the best plan, by domain.
        today: Shares of the run as it is; None where it states none.
        caption: What else should be known.

    Raises:
        UsageError: There is no domain.
    """
    if not best:
        raise UsageError("chart: there is no mix to draw; expected domains with their shares")
    before = dict(today or {})
    names = list(dict.fromkeys([*best, *before]))
    change = {name: best.get(name, 0.0) - before.get(name, 0.0) for name in names}
    ordered = sorted(names, key=lambda name: -change[name] if before else -best.get(name, 0.0))
    shown = ordered
    if len(ordered) > _MOST_ROWS:
        kept = set(sorted(names, key=lambda name: -abs(change[name]))[:_MOST_ROWS])
        shown = [name for name in ordered if name in kept]

    def draw(width: int) -> Spec:
        return _drawn(shown, best, before, width)

    left_out = len(ordered) - len(shown)
    more = f"{left_out} domains that change less are left out." if left_out else ""
    rows = []
    for name in ordered:
        cells = [short(name), _percent(best.get(name, 0.0))]
        if before:
            cells[1:1] = [_percent(before.get(name, 0.0))]
            cells.append(f"{'+' if change[name] > 0 else '−'}{100 * abs(change[name]):.1f}")
        rows.append(tuple(cells))
    columns = ("domain", "today", "best", "points") if before else ("domain", "best")
    against = "today’s (hollow) to the best plan’s, by how much it rises" if before else "in the best plan"
    return Picture(
        name="mix",
        title=_title(best, before, change),
        subtitle=f"Share of the training tokens of each domain, {against}",
        caption=" ".join(text for text in (more, caption) if text),
        numbers=Numbers(columns, tuple(rows)),
        draw=draw,
    )


def _percent(share: float) -> str:
    """A share as it is, 0 and 100 % too: it is chosen, and no chance."""
    digits = 0 if share >= 0.0995 or share == 0.0 else 1
    return f"{100 * share:.{digits}f} %"


def _name(name: str) -> str:
    """A name within a title, of one word."""
    return short(name, _TITLE_NAME).replace(" ", "_")


def _title(best: Mapping[str, float], before: Mapping[str, float], change: Mapping[str, float]) -> str:
    if not before:
        first = max(best, key=lambda name: best[name])
        return f"{_name(first)} gets the most, {_percent(best[first])} of the tokens"
    up, down = max(change, key=lambda name: change[name]), min(change, key=lambda name: change[name])
    if max(change[up], -change[down]) < _LEAST:
        return "The best mix is today’s, within half a point"
    rises = f"{_name(up)} rises from {_bare(before.get(up, 0.0))} to {_percent(best.get(up, 0.0))}"
    if change[down] >= -_LEAST:
        return rises
    return f"{rises}, {_name(down)} falls to {_percent(best.get(down, 0.0))}"


def _bare(share: float) -> str:
    return _percent(share).removesuffix(" %")


def _drawn(names: list[str], best: Mapping[str, float], before: Mapping[str, float], width: int) -> Spec:
    left = min(max(text_px(short(name)) for name in names) + 10, 0.42 * width)
    letters = int((left - 10) / text_px("x"))
    most = max([best.get(name, 0.0) for name in names] + [before.get(name, 0.0) for name in names])
    scale = Scale(0.0, max(most, _LEAST), False)
    start, length = left + _VALUE_PX + 8, width - left - 2 * _VALUE_PX - 16
    height = _HEAD_PX + _ROW_PX * len(names)
    place = at_px(width, height)
    layers: list[dict[str, Any]] = []
    old, new, texts = [], [], {"left": [], "right": []}
    for number, name in enumerate(names):
        y = _HEAD_PX + _ROW_PX * (number + 0.5)
        at_new = start + scale.place(best.get(name, 0.0), length)
        layers += label([{"x": left, "y": y, "text": short(name, letters)}], "text", align="right", **place)
        new.append({"x": at_new, "y": y})
        if not before:
            texts["left"].append({"x": at_new + 9, "y": y, "text": _percent(best[name]), "ink": "plan"})
            continue
        at_old = start + scale.place(before.get(name, 0.0), length)
        old.append({"x": at_old, "y": y})
        layers.append(line([{"x": at_old, "y": y}, {"x": at_new, "y": y}], "line", "y", **_line(place)))
        side, other = ("left", "right") if at_new >= at_old else ("right", "left")
        by = 9 if side == "left" else -9
        texts[side].append({"x": at_new + by, "y": y, "text": _percent(best.get(name, 0.0)), "ink": "plan"})
        texts[other].append({"x": at_old - by, "y": y, "text": _percent(before.get(name, 0.0)), "ink": "baseline"})
    layers += [points(old, "baseline", hollow=True, **place), points(new, "plan", **place)]
    for align, rows in texts.items():
        for ink in ("plan", "baseline"):
            of = [row for row in rows if row["ink"] == ink]
            layers += label(of, "text", ink=ink, align=align, bold=ink == "plan", **place)
    return plain_view(width, height, [*layers, *_heads(old, new, place)])


def _line(place: dict[str, Any]) -> dict[str, Any]:
    """Encodings of `line`, which takes those of `y` one by one."""
    return {"x": place["x"], "axis": None, "scale": place["y"]["scale"]}


def _heads(old: list[dict[str, Any]], new: list[dict[str, Any]], place: dict[str, Any]) -> list[dict[str, Any]]:
    """What the dots of the first row are, above them."""
    y = _HEAD_PX - LINE_PX / 2
    if not old:
        return label([{"x": new[0]["x"], "y": y, "text": "best"}], "text", ink="plan", align="center", **place)
    right = new[0]["x"] >= old[0]["x"]
    heads = ((new[0]["x"], "best", "plan", right), (old[0]["x"], "today", "baseline", not right))
    drawn: list[dict[str, Any]] = []
    for x, text, ink, to_the_right in heads:
        align, by = ("left", -4) if to_the_right else ("right", 4)
        drawn += label([{"x": x + by, "y": y, "text": text}], "text", ink=ink, bold=ink == "plan", align=align, **place)
    return drawn
