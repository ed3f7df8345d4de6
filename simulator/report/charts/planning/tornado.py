"""What matters: each number of a plan 10 % less and more, and what that does to loss, cost and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .....core.errors import UsageError
from ....allocation.sensitivity.sensitivity import Sensitivity, Turned
from ... import words
from ..marks import bars, label, rule
from ..picture import WHOLE, Numbers, Picture, Spec
from ..placing import LINE_PX, short, text_px
from ..plain import at_px, plain_view

__all__ = ["knob_in_words", "tornado_picture"]

_WORDS = {
    "data.selection.keep": "share of text kept",
    "data.synthetic.share": "synthetic share",
    "data.tokens": "training tokens",
    "data.unique_tokens": "distinct tokens",
    "energy.usd_per_kwh": "electricity price",
    "hardware.count": "accelerators",
    "hardware.inter_node_gbps": "network speed",
    "hardware.price_usd_per_hour": "price per hour",
    "model.params": "model size",
    "optim.batch_tokens": "batch",
    "optim.lr": "learning rate",
    "prices.storage_usd_per_gib_month": "storage price",
    "reliability.checkpoint": "checkpoint time",
    "reliability.failures_per_device_hour": "failure rate",
    "reliability.restart": "restart time",
}
_PANELS = (("loss_nats", "loss, nats"), ("cost_usd", "cost"), ("wall_clock_days", "wall clock"))
_LEAST = 0.02  # of the largest change of an outcome; below it in all, a number is named in the caption
_SEEN = 0.005  # of that change, below which no bar can be seen
_UNEVEN = 0.25  # of the step, by which a number may be turned further or less far without its being said
_MOST_ROWS = 8
_ROW_PX, _BAR_PX, _APART_PX = 44, 13, 16
_VALUE_PX = 58  # room for a number beside its bar
_LEAST_PANEL_PX = 170
_HEAD_PX = 30


def knob_in_words(key: str) -> str:
    """A number of a plan in two words: `training tokens` for `data.tokens`; an unknown one by its last part.

    >>> knob_in_words("data.tokens"), knob_in_words("data.mix.code")
    ('training tokens', 'share of code')
    """
    if key in _WORDS:
        return _WORDS[key]
    for section, said in (("data.mix.", "share of "), ("data.unique_tokens_by_domain.", "stock of ")):
        if key.startswith(section):
            return said + short(key.removeprefix(section), 14)
    if key.startswith("prices.") and key.endswith("usd_per_hour"):
        return "price per hour"
    return short(key.rpartition(".")[2].replace("_", " "), 20)


def tornado_picture(result: Sensitivity) -> Picture:
    """What 10 % less and 10 % more of each number does to loss, cost and wall clock, a panel for each.

    Raises:
        UsageError: No number moves anything.
    """
    panels = [
        (name, heading) for name, heading in _PANELS if any(_moved(row, name) not in (None, 0.0) for row in result.rows)
    ]
    if not panels:
        raise UsageError("chart: no number of the plan moves anything, so there is nothing to draw")
    most = {name: max(_moved(row, name) or 0.0 for row in result.rows) for name, _ in panels}
    size = {row.key: max((_moved(row, name) or 0.0) / most[name] for name, _ in panels) for row in result.rows}
    rows = [row for row in sorted(result.rows, key=lambda row: -size[row.key]) if size[row.key] >= _LEAST][:_MOST_ROWS]
    units = {name: _unit(name, most[name]) for name, _ in panels}
    headings = [
        (name, heading + units[name].after if name == "wall_clock_days" else heading) for name, heading in panels
    ]
    headings = [(name, heading.replace("wall clock ", "wall clock, ")) for name, heading in headings]

    def draw(width: int) -> Spec:
        return _drawn(rows, headings, units, most, width)

    step = words.plain(100.0 * result.step)
    points = "; shares of the mix one point" if any(row.key.startswith("data.mix.") for row in rows) else ""
    return Picture(
        name="tornado",
        title=_title(rows, panels, units, step),
        subtitle=f"What {step} % less (upper bar) and more (lower bar) of each number does, all else held{points}",
        caption=_caption(result, rows),
        numbers=_numbers(rows, headings, units, most, step),
        draw=draw,
        widths=WHOLE,
    )


def _moved(row: Turned, outcome: str) -> float | None:
    """The larger of both changes of an outcome, None where neither is known."""
    known = [abs(change) for change in (row.down[outcome], row.up[outcome]) if change is not None]
    return max(known, default=None)


def _unit(outcome: str, most: float) -> words.Unit:
    if outcome == "loss_nats":
        return words.Unit()
    if outcome == "cost_usd":
        return words.money_unit(most)
    return words.days_unit(most)


def _said(outcome: str, change: float, unit: words.Unit, bare: bool) -> str:
    """A change with its sign, and with its unit unless the heading has it."""
    if outcome == "loss_nats" and not bare:
        unit = words.Unit(after=" nats")
    elif outcome == "wall_clock_days" and bare:
        unit = words.Unit(unit.scale)
    elif outcome == "cost_usd":
        unit = words.money_unit(change)
    return words.signed(change, unit)


def _title(rows: Sequence[Turned], panels: Any, units: Any, step: str) -> str:
    names = [name for name, _ in panels]
    top = max(rows, key=lambda row: tuple(_moved(row, name) or 0.0 for name in names))
    side, turned = ("more", top.up) if any(top.up.values()) else ("less", top.down)
    said = [_said(name, change, units[name], False) for name in names if (change := turned[name])]
    by = "One point" if top.key.startswith("data.mix.") else f"{step} %"
    return f"{by} {side} {knob_in_words(top.key)}: {', '.join(said)}"


def _caption(result: Sensitivity, rows: Sequence[Turned]) -> str:
    drawn = {row.key for row in rows}
    little = [knob_in_words(row.key) for row in result.rows if row.read and row.key not in drawn]
    said = f"Predictor {short(result.predictor)}."
    uneven = [row for row in rows if not row.key.startswith("data.mix.") and _uneven(row, result.step)]
    if uneven:
        each = [f"{knob_in_words(row.key)} by {words.listed(_steps_taken(row))}" for row in uneven[:_MOST_ROWS]]
        said += f" Turned as far as whole numbers allow: {'; '.join(each)}."
    if little:
        said += f" Hardly anything: {words.listed(little[:_MOST_ROWS])}."
    if result.not_read:
        names = [knob_in_words(key) for key in result.not_read[:_MOST_ROWS]]
        said += f" Not read by this predictor or estimate: {words.listed(names)}."
    return said


def _steps_taken(row: Turned) -> list[str]:
    """How far a number was turned each way, in percent with its sign."""
    ends = [end for end in (row.value_down, row.value_up) if end is not None]
    return [words.signed(100.0 * (end / row.value - 1.0), words.Unit(after=" %")) for end in ends]


def _uneven(row: Turned, step: float) -> bool:
    """Whether a number couldn't be turned by about as much as all others: a batch that devices share evenly."""
    ends = [end for end in (row.value_down, row.value_up) if end is not None and row.value]
    return any(abs(abs(end / row.value - 1.0) / step - 1.0) > _UNEVEN for end in ends)


def _numbers(rows: Sequence[Turned], headings: Any, units: Any, most: Any, step: str) -> Numbers:
    columns = [f"{heading}, {step} % {side}" for _, heading in headings for side in ("less", "more")]
    table = []
    for row in rows:
        cells = [knob_in_words(row.key)]
        for name, _ in headings:
            for change in (row.down[name], row.up[name]):
                if change is None:
                    cells.append("–")
                elif abs(change) < _SEEN * most[name]:
                    cells.append("hardly any" if change else "no effect")
                else:
                    cells.append(_said(name, change, units[name], True))
        table.append(tuple(cells))
    return Numbers(("number", *columns), tuple(table))


def _drawn(rows: Sequence[Turned], headings: Any, units: Any, most: Any, width: int) -> Spec:
    names = [knob_in_words(row.key) for row in rows]
    left = min(max(text_px(name) for name in names) + 10, 0.4 * width)
    panel = (width - left) / len(headings)
    beside = panel >= _LEAST_PANEL_PX
    if not beside:
        panel = width - left
    tall = _HEAD_PX + _ROW_PX * len(rows)
    height = tall if beside else tall * len(headings)
    layers: list[dict[str, Any]] = []
    for number, (outcome, heading) in enumerate(headings):
        x = left + (panel * number if beside else 0)
        y = 0 if beside else tall * number
        if number == 0 or not beside:
            at = [
                {"x": left - 8, "y": y + _HEAD_PX + _ROW_PX * (place + 0.5), "text": name}
                for place, name in enumerate(names)
            ]
            layers += label(at, "text", align="right", **at_px(width, height))
        layers += _panel(rows, outcome, heading, units[outcome], most[outcome], (x, y, panel), (width, height))
    return plain_view(width, height, layers)


def _panel(
    rows: Sequence[Turned],
    outcome: str,
    heading: str,
    unit: words.Unit,
    most: float,
    at: tuple[float, float, float],
    size: tuple[float, float],
) -> list[dict[str, Any]]:
    """One outcome: heading, zero line, a light and a dark bar for each number, their values beside them."""
    x, y, width = at
    zero, half = x + width / 2, width / 2 - _VALUE_PX - 4
    place = at_px(*size)
    layers = label([{"x": x + 4, "y": y + LINE_PX / 2, "text": heading}], "text", bold=True, **place)
    drawn: dict[str, list[dict[str, Any]]] = {"part": [], "plan": []}
    values: dict[str, list[dict[str, Any]]] = {"left": [], "right": []}
    nothing = []
    for number, row in enumerate(rows):
        middle = y + _HEAD_PX + _ROW_PX * (number + 0.5)
        moved = _moved(row, outcome)
        if moved is None or moved < _SEEN * most:
            text = "not known" if moved is None else ("hardly any" if moved else "no effect")
            nothing.append({"x": zero + 7, "y": middle, "text": text})
            continue
        for change, ink, by in ((row.down[outcome], "part", -1), (row.up[outcome], "plan", 1)):
            if change and abs(change) >= _SEEN * most:
                end = zero + half * change / most
                one = {"x": zero, "to": end, "y": middle + by * _APART_PX / 2}
                drawn[ink].append(one)
                side = "right" if change < 0 else "left"
                text = _said(outcome, change, unit, True)
                values[side].append({"x": end + (-5 if change < 0 else 5), "y": one["y"], "text": text})
    for ink, of in drawn.items():
        layers.append(bars(of, ink, _BAR_PX, x2={"field": "to"}, **place))
    ends = [{"x": zero, "y": y + _HEAD_PX - 4, "to": y + _HEAD_PX + _ROW_PX * len(rows)}]
    layers.append(rule(ends, "muted", width=1, y2={"field": "to"}, **place))
    for align, of in values.items():
        layers += label(of, "text", align=align, **place)
    return layers + label(nothing, "text", ink="muted", **place)
