"""The best size for a sum of money or a time: loss over a family's sizes, each with what the limits allow."""

from __future__ import annotations

from typing import Any

from ....allocation.under_limits.money import MoneyOptimal
from ... import words
from ..marks import COUNTS, bars, field, label, line, points
from ..picture import Numbers, Picture, Spec
from ..placing import Scale, Spot, short, sides, thinned

__all__ = ["money_picture"]

_LEFT_PX, _NARROW = 52, 450
_BAR_PX, _BELOW_PX = 9, 34
_TALLEST = 0.12  # above the best loss, as a share, a size is drawn
_SAME = 0.02  # relative difference of sizes that are one
_MOST_NOTES = 2


def money_picture(result: MoneyOptimal) -> Picture:
    """Loss over the sizes of a plan's family within the same limits, with the best one and the plan's own."""

    def draw(width: int) -> Spec:
        return _drawn(result, width)

    rows = []
    usd = words.money_unit(max((one.cost_usd or 0.0 for one in result.sizes), default=0.0) * (1.0 + _TALLEST))
    for one in result.sizes:
        cost = "" if one.cost_usd is None else usd.text(one.cost_usd)
        size, tokens = words.count(one.params_total), words.count(one.tokens)
        days = words.days_unit(one.wall_clock_days).text(one.wall_clock_days)
        rows.append((size, tokens, f"{one.loss_nats:.3f}", cost, days))
    machines = f"{result.cluster.devices:,} × {short(result.cluster.accelerator)}"
    return Picture(
        name="sizes",
        title=_title(result),
        subtitle=f"Loss over size within {_limits(result)} on {machines}, with 50 % and 90 % of the best size",
        caption=" ".join([f"Predictor {result.predictor}.", *map(words.sentence, result.notes[:_MOST_NOTES])]),
        numbers=Numbers(("size", "tokens", "loss, nats", "cost", "wall clock"), tuple(rows)),
        draw=draw,
    )


def _limits(result: MoneyOptimal) -> str:
    usd, days = result.limits.cost_usd, result.limits.wall_clock_days
    said = [] if usd is None else [words.money_unit(usd).text(usd)]
    return words.listed([*said, *([] if days is None else [words.days_unit(days).text(days)])])


def _differs(result: MoneyOptimal) -> bool:
    """Whether the plan's own size is another one than the best."""
    own, best = result.plan, result.config.model.params_total
    return own is not None and abs(own.params_total / best - 1.0) > _SAME


def _title(result: MoneyOptimal) -> str:
    size, tokens = words.count(result.config.model.params_total), words.count(result.config.data.tokens)
    if result.plan is not None and _differs(result):
        less = result.plan.loss_nats - result.loss_nats.median
        own = words.count(result.plan.params_total)
        return f"{size} on {tokens} beats {own} on {words.count(result.plan.tokens)} by {words.plain(less)} nats"
    return f"{_limits(result)} buys at best {size} on {tokens}"


def _drawn(result: MoneyOptimal, width: int) -> Spec:
    narrow = width < _NARROW
    height = 280 if narrow else 320
    plot = width - _LEFT_PX, height - 60
    best = _mark("best", result.config.model.params_total, result.config.data.tokens, result.loss_nats.median)
    marks = [best]
    if result.plan is not None and _differs(result):
        own = result.plan
        marks.append(_mark("the plan’s size", own.params_total, own.tokens, own.loss_nats))
    # what nobody would train would flatten the rest
    tall = max((1.0 + _TALLEST) * best["loss"], marks[-1]["loss"])
    rows = [{"params": one.params_total, "loss": one.loss_nats} for one in result.sizes if one.loss_nats <= tall]
    every = [*rows, *marks]
    across = Scale.around([row["params"] for row in every], 0.04, log=True)
    up = Scale.around([row["loss"] for row in every], 0.06, log=False).wider(below=_BELOW_PX / plot[1])
    x = field("params", **across.options("parameters", COUNTS, 4 if narrow else 7))
    y = up.options("loss, nats per token", grid=True)
    at_y = field("loss", **y)

    def px(row: dict[str, Any]) -> tuple[float, float]:
        return across.place(row["params"], plot[0]), plot[1] - up.place(row["loss"], plot[1])

    ends: dict[str, Any] = {"loss": best["loss"]}
    for level in (90, 50):
        low, high = result.params.intervals[level / 100]
        ends |= {f"low{level}": max(low, rows[0]["params"]), f"high{level}": min(high, rows[-1]["params"])}
    layers = [
        bars([ends], f"plan-{level}", _BAR_PX, x={**x, "field": f"low{level}"}, x2={"field": f"high{level}"}, y=at_y)
        for level in (90, 50)
    ]
    layers.append(line(rows, "plan", "loss", x=x, **y))
    avoid = [px(rows[place]) for place in thinned(len(rows), len(rows))]
    spots = [Spot(*px(row), row["text"], below=row is best) for row in marks]
    for row, side in zip(marks, sides(spots, *plot, avoid), strict=True):
        ink = "plan" if row is best else "baseline"
        shape = {"value": "circle" if row is best else "diamond"}
        layers.append(points([row], ink, x=x, y=at_y, shape=shape))
        layers += label([row], "text", ink=ink, bold=True, x=x, y=at_y, **side)
    return {"height": height, "layer": layers}


def _mark(what: str, params: float, tokens: float, loss: float) -> dict[str, Any]:
    return {"params": params, "loss": loss, "text": [what, f"{words.count(params)} × {words.count(tokens)}"]}
