"""What more buys: the loss with more time, accelerators, money or tokens, of the planned model and of the best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .....core.errors import UsageError
from ....allocation.under_limits.marginal import Change, Marginal
from ... import words
from ..marks import bars, label, rule, ticks
from ..picture import Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, short
from ..plain import at_px, plain_view

__all__ = ["more_picture"]

_ROW_PX, _HEAD_PX, _GAP_PX = 24, 24, 12
_TOP_PX = 26
_BAR_PX = 12
_SAID_PX = 150  # room for what stands beside each bar
_MOST_NOTES = 3
_NAME = 36  # letters of what there is more of


def more_picture(result: Marginal) -> Picture:
    """By how much the loss falls with more of each thing: the plan's own model, and the best of its family.

    Raises:
        UsageError: Nothing that was asked is possible.
    """
    groups = []
    for row in result.rows:
        kinds = (("as planned", row.same_model, "baseline"), ("best size", row.best_model, "plan"))
        moved = [(kind, change, ink) for kind, change, ink in kinds if change is not None and _moves(change)]
        if moved:
            groups.append((short(row.what, _NAME), moved))
    if not groups:
        raise UsageError("chart: nothing more is possible, so there is nothing to draw")

    def draw(width: int) -> Spec:
        return _drawn(groups, width)

    table = []
    for what, moved in groups:
        for kind, change, _ in moved:
            low, high = change.loss_change_nats.intervals[0.9]
            money = change.cost_change_usd
            cells = (
                f"{what}, {kind}",
                f"{words.count(change.params_total)} × {words.count(change.tokens)}",
                words.signed(change.loss_change_nats.median, words.Unit()),
                f"{words.signed(low, words.Unit())} to {words.signed(high, words.Unit())}",
                "" if money is None else words.signed(money, words.money_unit(money)),
            )
            table.append(cells)
    return Picture(
        name="more",
        title=_title(result, groups),
        subtitle="Change of the loss, nats per token, against the plan: median, 50 % and 90 %",
        caption=" ".join([f"Predictor {short(result.predictor)}.", *map(words.sentence, result.notes[:_MOST_NOTES])]),
        numbers=Numbers(("more of", "size × tokens", "loss, nats", "90 %", "cost"), tuple(table)),
        draw=draw,
    )


def _moves(change: Change) -> bool:
    """Whether it is another run than the plan."""
    return not (change.loss_change_nats.median == 0.0 == change.days_change)


_Group = tuple[str, list[tuple[str, Change, str]]]


def _title(result: Marginal, groups: Sequence[_Group]) -> str:
    gains = {(what, kind): change.loss_change_nats.median for what, moved in groups for kind, change, _ in moved}
    same = {what: gain for (what, kind), gain in gains.items() if kind == "as planned"}
    # within the plan's own limits the plan's own model stays as it is, and only another size gains
    free = [row.best_model for row in result.rows if row.same_model is not None and not _moves(row.same_model)]
    for change in free:
        if change is not None and change.loss_change_nats.median < min(same.values(), default=0.0):
            size, own = words.count(change.params_total), words.count(result.params_total)
            return f"{size} instead of {own} gains {words.plain(-change.loss_change_nats.median)} nats for nothing more"
    if not same:
        what, kind = min(gains, key=lambda key: gains[key])
        return f"{what[:1].upper()}{what[1:]}: {words.signed(gains[what, kind], words.LOSS)} at the best size"
    what = min(same, key=lambda name: same[name])
    best = gains.get((what, "best size"))
    more = "" if best is None else f", {words.signed(best, words.Unit())} at best size"
    return f"{what[:1].upper()}{what[1:]}: {words.signed(same[what], words.Unit())} nats as planned{more}"


def _drawn(groups: Sequence[_Group], width: int) -> Spec:
    rows = sum(len(moved) for _, moved in groups)
    height = _TOP_PX + rows * _ROW_PX + len(groups) * (_HEAD_PX + _GAP_PX)
    place = at_px(width, height)
    ends = [0.0] + [end for _, moved in groups for _, one, _ in moved for end in one.loss_change_nats.intervals[0.9]]
    scale = Scale(min(ends), max(ends), False)
    length = width - _SAID_PX - 4

    def px(value: float) -> float:
        return 2 + scale.place(value, length)

    zero = [{"x": px(0.0), "y": _TOP_PX - 6, "to": height, "text": "no change"}]
    layers: list[dict[str, Any]] = [rule(zero, "muted", width=1, y2={"field": "to"}, **place)]
    head = [{"x": px(0.0), "y": LINE_PX / 2, "text": "no change"}]
    layers += label(head, "text", ink="muted", align="right", **place)
    y = float(_TOP_PX)
    for what, moved in groups:
        layers += label([{"x": 2, "y": y + _HEAD_PX / 2, "text": what}], "text", bold=True, **place)
        y += _HEAD_PX
        for kind, change, ink in moved:
            middle, loss = y + _ROW_PX / 2, change.loss_change_nats
            for level in (0.9, 0.5):
                low, high = loss.intervals[level]
                of = [{"x": px(low), "to": px(high), "y": middle}]
                layers.append(bars(of, f"{ink}-{level * 100:.0f}", _BAR_PX, x2={"field": "to"}, **place))
            layers.append(ticks([{"x": px(loss.median), "y": middle}], ink, _BAR_PX + 4, **place))
            said = f"{words.signed(loss.median, words.Unit())} {kind}"
            layers += label([{"x": length + 12, "y": middle, "text": said}], "text", ink=ink, **place)
            y += _ROW_PX
        y += _GAP_PX
    return plain_view(width, height, layers)
