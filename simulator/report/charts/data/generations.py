"""How the loss goes on over generations: a panel a chain, its seeds as dots; and the rise of each by the last one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ... import words
from ...generations import CONTROL, ChainKey, Generations, chain_name
from ..marks import bars, label, line, points, rule, steps
from ..picture import WHOLE, Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, short
from ..plain import at_px, plain_view

__all__ = ["losses_picture", "rises_picture"]

_MOST_CHAINS = 12
_PANEL_PX, _PANEL_HIGH_PX = 290, 150
_HEAD_PX, _FOOT_PX, _SIDE_PX, _GAP_PX = 24, 22, 44, 26
_DOTS_PX = 160  # room for what stands beside each row
_ROW_PX = 30
_TICKS = 4
_COLUMNS = 8  # of the table behind a picture


def losses_picture(found: Generations) -> Picture:
    """Loss by generation, a panel for each chain: its mean, its seeds as dots, the other chains behind."""
    chains = found.chains[:_MOST_CHAINS]
    worst = found.worst
    title = "No generation after the first is done"
    if worst is not None:
        first = _mean([one.loss_nats for one in found.of(worst).get(0, {}).values()])
        last = first + found.mean_rise(worst, found.last)
        title = f"{words.capital(chain_name(worst))}: {first:.2f} to {last:.2f} in {found.last} generations"
    headings, rows = found.loss_rows(_COLUMNS)
    return Picture(
        name="generations",
        title=title,
        subtitle=f"Loss on real validation text, {found.unit}, by generation: the mean, and each seed with its dots",
        caption="Grey: the other chains. All chains of a seed share generation 0, which is trained on real text, "
        "and draw from the same seeds.",
        numbers=Numbers(headings, tuple(rows)),
        draw=lambda width: _panels(found, chains, width),
        widths=WHOLE,
    )


def rises_picture(found: Generations) -> Picture:
    """The rise of each chain over generation 0 by the last generation, seeds as dots."""
    chains = sorted(found.chains, key=lambda chain: -_or_zero(found.mean_rise(chain, found.last)))[:_MOST_CHAINS]
    headings, rows = found.rise_rows(_COLUMNS)
    return Picture(
        name="rises",
        title=_title(found, chains),
        subtitle=f"Rise of the loss from generation 0 to {found.last}, {found.unit}: mean, and seeds as dots",
        caption="Compare chains within a seed: an unlucky generation 0 lifts all of them.",
        numbers=Numbers(headings, tuple(rows)),
        draw=lambda width: _rises(found, chains, width),
        widths=WHOLE,
    )


def _title(found: Generations, chains: Sequence[ChainKey]) -> str:
    """Which chain rises least."""
    if not chains or found.worst is None:
        return "No generation after the first is done"
    of_models = [chain for chain in chains if chain.regime != CONTROL] or list(chains)
    least = of_models[-1]
    of = "" if len(of_models) == len(chains) else " of what models wrote"
    return f"{words.capital(chain_name(least))} rises least{of}, by {found.mean_rise(least, found.last):.2f} nats"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _curve(found: Generations, chain: ChainKey) -> list[tuple[int, float]]:
    """Generations of a chain and the mean of its losses, of the seeds that all of them have."""
    runs = {number: by_seed for number, by_seed in found.of(chain).items() if by_seed}
    common = set.intersection(*(set(by_seed) for by_seed in runs.values())) if runs else set[int]()
    curve = [(number, _mean([by_seed[seed].loss_nats for seed in common])) for number, by_seed in runs.items()]
    return [(number, loss) for number, loss in curve if math.isfinite(loss)]


def _panels(found: Generations, chains: Sequence[ChainKey], width: int) -> Spec:
    across = max(1, min(len(chains), (width - _SIDE_PX) // _PANEL_PX))
    panel = (width - _SIDE_PX - (across - 1) * _GAP_PX - 8) / across
    down = math.ceil(len(chains) / across)
    each = _HEAD_PX + _PANEL_HIGH_PX + _FOOT_PX
    height = down * (each + _GAP_PX) - _GAP_PX + LINE_PX
    place = at_px(width, height)
    every = [one.loss_nats for one in found.losses if math.isfinite(one.loss_nats)] or [0.0, 1.0]
    up = Scale.around(every, 0.05, log=False)
    to = Scale(0.0, max(found.last, 1), False).wider(0.03, 0.03)
    at = up.options("", most=_TICKS)["axis"]["values"]
    digits = max(len(f"{tick:g}".partition(".")[2]) for tick in at)
    curves = {number: _curve(found, chain) for number, chain in enumerate(chains)}
    layers: list[dict[str, Any]] = []
    for number, chain in enumerate(chains):
        left = _SIDE_PX + (number % across) * (panel + _GAP_PX)
        top = (number // across) * (each + _GAP_PX)
        floor = top + _HEAD_PX + _PANEL_HIGH_PX

        def spot(generation: float, loss: float, left: float = left, floor: float = floor) -> dict[str, float]:
            return {"x": left + to.place(generation, panel), "y": floor - up.place(loss, _PANEL_HIGH_PX)}

        for tick in at:
            y = spot(0, tick)["y"]
            layers.append(rule([{"x": left, "to": left + panel, "y": y}], "line", width=1, x2={"field": "to"}, **place))
            if not number % across:
                said = [{"x": left - 8, "y": y, "text": f"{tick:.{digits}f}"}]
                layers += label(said, "text", ink="muted", align="right", **place)
        for tick in (tick for tick in steps(0, max(found.last, 1), max(3, int(panel // 30))) if tick.is_integer()):
            said = [{"x": left + to.place(tick, panel), "y": floor + _FOOT_PX / 2, "text": f"{tick:g}"}]
            layers += label(said, "text", ink="muted", align="center", **place)
        for other, curve in curves.items():
            if other != number and curve:
                layers.append(line([spot(*one) for one in curve], "baseline-50", "y", **_only(place)))
        for seed in found.seeds:
            own = [
                spot(generation, by_seed[seed].loss_nats)
                for generation, by_seed in found.of(chain).items()
                if seed in by_seed and math.isfinite(by_seed[seed].loss_nats)
            ]
            if len(own) > 1:
                layers.append(line(own, "plan-50", "y", **_only(place)))
        if curves[number]:
            layers.append(line([spot(*one) for one in curves[number]], "plan", "y", **_only(place)))
        dots = [
            spot(generation, one.loss_nats)
            for generation, by_seed in found.of(chain).items()
            for one in by_seed.values()
            if math.isfinite(one.loss_nats)
        ]
        layers.append(points(dots, "plan", size=26, **place))
        rise = found.mean_rise(chain, found.last)
        more = f" {rise:+.2f}".replace("-", "−") if math.isfinite(rise) else ""
        said = short(chain_name(chain), max(8, int(panel // 8) - len(more)))
        head = [{"x": left, "y": top + _HEAD_PX / 2, "text": f"{said}{more}"}]
        layers += label(head, "text", ink="plan", bold=True, **place)
    foot = [{"x": width - 4, "y": height - LINE_PX / 2, "text": "generation"}]
    layers += label(foot, "text", ink="muted", align="right", **place)
    return plain_view(width, height, layers)


def _only(place: dict[str, Any]) -> dict[str, Any]:
    """What `line` takes: x, and how y is placed."""
    return {"x": place["x"], **{key: value for key, value in place["y"].items() if key not in ("field", "type")}}


def _rises(found: Generations, chains: Sequence[ChainKey], width: int) -> Spec:
    height = len(chains) * _ROW_PX * 2
    place = at_px(width, height)
    rises = {
        number: [one.rise_nats for one in found.of(chain).get(found.last, {}).values() if math.isfinite(one.rise_nats)]
        for number, chain in enumerate(chains)
    }
    scale = Scale.around([0.0, *(rise for them in rises.values() for rise in them)], 0.04, log=False)
    length = width - _DOTS_PX / 2 - 4
    zero = 2 + scale.place(0.0, length)
    layers: list[dict[str, Any]] = []
    for number, chain in enumerate(chains):
        top = number * _ROW_PX * 2
        layers += label([{"x": 2, "y": top + _ROW_PX / 2, "text": short(chain_name(chain), 40)}], "text", **place)
        if not rises[number]:
            continue
        mean, middle = _mean(rises[number]), top + 1.4 * _ROW_PX
        end = 2 + scale.place(mean, length)
        bar = [{"x": min(zero, end), "to": max(zero, end, min(zero, end) + 1.0), "y": middle}]
        layers.append(bars(bar, "plan-50", 12, x2={"field": "to"}, **place))
        dots = [{"x": 2 + scale.place(rise, length), "y": middle} for rise in rises[number]]
        layers.append(points(dots, "plan", size=40, **place))
        edge = [{"x": zero, "y": middle - 12, "to": middle + 12}]
        layers.append(rule(edge, "muted", width=1, y2={"field": "to"}, **place))
        furthest = max(end, *(dot["x"] for dot in dots))
        said = [{"x": furthest + 10, "y": middle, "text": f"{mean:+.3f}".replace("-", "−")}]
        layers += label(said, "text", ink="plan", bold=True, **place)
    return plain_view(width, height, layers)
