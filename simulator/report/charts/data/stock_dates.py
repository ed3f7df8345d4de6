"""When the public stocks of a plan's domains are used up, under each strategy that it states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .....core.errors import UsageError
from ....data_budget.data_budget import PlanStock
from ....data_budget.exhaustion import UsedUp
from ....data_budget.strategies import (
    ALL,
    AS_IT_IS,
    CONTINUED,
    SELECTION,
    SYNTHETIC,
    TOGETHER,
    DomainDates,
    TextDate,
    shown_domains,
)
from ... import words
from ...tables.data.years import UNKNOWN, interval, used_up, year, year_shift
from ..marks import bars, label, rule, steps, ticks
from ..picture import WHOLE, Numbers, Picture, Spec
from ..placing import LINE_PX, Scale, short
from ..plain import at_px, plain_view

__all__ = ["stock_dates_picture"]

_ROW_PX, _HEAD_PX, _GAP_PX = 22, 24, 10
_TOP_PX = 26
_BAR_PX = 12
_SAID_PX = 128  # room for what stands beside each bar
_TICK_PX = 60  # of an axis for each of its years
_MOST_DOMAINS, _LEAST_YEARS, _MOST_YEAR = 12, 40.0, 2200.0
_SHORT = {
    AS_IT_IS: "as it is",
    SELECTION: "selection",
    SYNTHETIC: "synthetic",
    CONTINUED: "continued",
    TOGETHER: "together",
}

_Rows = Sequence[tuple[str, UsedUp]]


def stock_dates_picture(plan: PlanStock) -> Picture:
    """By domain the year in which its public stock is used up, one mark for each strategy of the plan.

    Raises:
        UsageError: The plan draws on no stock.
    """
    dates = plan.strategies
    domains = [] if dates is None else shown_domains(plan.domains, dates)
    drawn = [(one, _dated(one)) for one in _largest(plan, domains)]
    groups = [(_head(one), rows) for one, rows in drawn if rows]
    if dates is None or not groups:
        raise UsageError("chart: the plan draws on no public stock, so there is nothing to draw")
    return Picture(
        name="used-up",
        title=_title([one for one, rows in drawn if rows]),
        subtitle=f"Year in which a public stock is used up: median, 50 % and 90 %, from {plan.start_year:.1f} on",
        caption=_caption(plan, len(domains), _cut(groups, plan.start_year), dates.notes),
        numbers=_numbers(domains),
        draw=lambda width: _drawn(groups, plan.start_year, width),
        widths=WHOLE,
    )


def _dated(domain: DomainDates) -> _Rows:
    ends = [(key, _end(date)) for key, date in domain.texts.items()]
    return [(key, end) for key, end in ends if end is not None]


def _end(date: TextDate) -> UsedUp | None:
    return None if date.budget.public is None else date.budget.public.used_up


def _head(domain: DomainDates) -> str:
    stock = "as stated" if domain.stock.evidence == "stated" else domain.stock.name
    return f"{short(domain.name)}: {stock}"


def _largest(plan: PlanStock, domains: Sequence[DomainDates]) -> list[DomainDates]:
    """Those that are drawn, in the plan's order: the domains of the largest shares, and the whole."""
    shares = {one.name: one.share for one in (*plan.domains, plan.whole)}
    kept = sorted(domains, key=lambda one: -shares[one.name])[:_MOST_DOMAINS]
    return [one for one in domains if one in kept]


def _title(domains: Sequence[DomainDates]) -> str:
    """Which stock ends first with all that the plan states, when, and how far that is moved."""
    last = [(one.name, list(one.texts.values())[-1]) for one in domains]
    ends = [(name, date, end) for name, date in last if (end := _end(date)) is not None]
    name, date, end = min(ends or [(*last[0], _dated(domains[0])[0][1])], key=lambda one: one[2].median_year)
    if math.isinf(end.median_year):
        return "No public stock is ever used up"
    text = "public text" if name == ALL else short(name)
    first = f"{text} runs out first" if len(domains) > 1 else f"{text} runs out"
    when = "already" if end.p_already > 0.5 else f"in {year(end.median_year)}"
    later = date.years_later
    if later is None or later.verdict == "no change":
        return words.capital(f"{first}, {when}")
    if later.verdict == "undecided" or math.isinf(later.median):
        return words.capital(
            f"{first}, {when}: {later.verdict if math.isinf(later.median) else 'a change is undecided'}"
        )
    return words.capital(f"{first}, {when}: {year_shift(abs(later.median))[1:]} years {later.verdict}")


def _caption(plan: PlanStock, domains: int, cut: float | None, notes: Sequence[str]) -> str:
    said = [
        f"If runs grow {plan.growth_per_year:.3g} times a year from this plan and see a token {plan.max_epochs:g} "
        "times; what is used up before the start counts as then."
    ]
    if plan.strategies is not None and plan.strategies.stated:
        said.append("Years sooner or later: than the text as it is, grey.")
    if domains > _MOST_DOMAINS:
        said.append(f"The {_MOST_DOMAINS} largest domains; {domains - _MOST_DOMAINS} more are in the table.")
    if cut is not None:
        said.append(f"What goes on is cut at {year(cut)}.")
    return " ".join([*said, *map(words.sentence, notes)])


def _numbers(domains: Sequence[DomainDates]) -> Numbers:
    rows = []
    for domain in domains:
        for key, date in domain.texts.items():
            end, later = _end(date), date.years_later
            if end is None:
                continue
            shift = (UNKNOWN, UNKNOWN, "")
            if later is not None:
                ends = " to ".join(map(year_shift, later.intervals[0.9]))
                shift = (year_shift(later.median), ends, later.verdict)
            row = (f"{short(domain.name)}, {_SHORT[key]}", used_up(end), interval(end, 0.9), words.share(end.p_already))
            rows.append((*row, *shift))
    return Numbers(("text", "used up", "90 %", "already", "years later", "90 % of it", "verdict"), tuple(rows))


def _drawn(groups: Sequence[tuple[str, _Rows]], start: float, width: int) -> Spec:
    height = _TOP_PX + sum(_HEAD_PX + _GAP_PX + _ROW_PX * len(rows) for _, rows in groups) - _GAP_PX
    place, length = at_px(width, height), width - _SAID_PX - 16
    last = _cut(groups, start) or max(_latest(groups), start + 1.0)
    scale = Scale(start, last, False)

    def px(when: float) -> float:
        return 8 + scale.place(min(when, scale.high), length)

    layers: list[dict[str, Any]] = []
    for when in steps(scale.low, scale.high, max(2, min(int(length / _TICK_PX), 10))):
        line = [{"x": px(when), "y": _TOP_PX - 6, "to": height, "text": f"{when:g}"}]
        layers.append(rule(line, "line", width=1, y2={"field": "to"}, **place))
        text = [{"x": max(px(when), 18), "y": LINE_PX / 2, "text": f"{when:g}"}]
        layers += label(text, "text", ink="muted", align="center", **place)
    y = float(_TOP_PX)
    for head, rows in groups:
        layers += label([{"x": 8, "y": y + _HEAD_PX / 2, "text": head}], "text", bold=True, **place)
        y += _HEAD_PX
        for key, end in rows:
            layers += _row(key, end, y + _ROW_PX / 2, px, length, place)
            y += _ROW_PX
        y += _GAP_PX
    return plain_view(width, height, layers)


def _latest(groups: Sequence[tuple[str, _Rows]]) -> float:
    """The last year that a 90 % interval reaches."""
    return max(one.intervals[0.9][1] for _, rows in groups for _, one in rows)


def _cut(groups: Sequence[tuple[str, _Rows]], start: float) -> float | None:
    """The year at which the axis ends although an interval goes on; None where none does.

    Medians are within it unless they are so far off that no trend speaks.
    """
    medians = [one.median_year for _, rows in groups for _, one in rows]
    years = max((when - start for when in medians if when < _MOST_YEAR), default=0.0)
    last = min(start + max(_LEAST_YEARS, 1.5 * years), _MOST_YEAR)
    return last if _latest(groups) > last else None


def _row(key: str, end: UsedUp, y: float, px: Any, length: float, place: dict[str, Any]) -> list[dict[str, Any]]:
    """One strategy's interval and median, and beside it the year."""
    ink = "baseline" if key == AS_IT_IS else "plan"
    layers = []
    for level in (0.9, 0.5):
        low, high = (px(one) for one in end.intervals[level])
        bar = [{"x": low, "to": max(high, low + 1.0), "y": y}]
        layers.append(bars(bar, f"{ink}-{level * 100:.0f}", _BAR_PX, x2={"field": "to"}, **place))
    if end.median_year < _MOST_YEAR:
        layers.append(ticks([{"x": px(end.median_year), "y": y}], ink, _BAR_PX + 4, **place))
    said = [{"x": length + 20, "y": y, "text": f"{used_up(end)} {_SHORT[key]}"}]
    return layers + label(said, "text", ink=ink, bold=key == TOGETHER, **place)
