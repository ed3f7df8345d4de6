"""Stocks of text as tables for a terminal: a plan's budget of distinct tokens, and how long the public's lasts."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .....core.units import format_count
from ....data_budget.data_budget import PlanStock, TokenBudget
from ....data_budget.exhaustion import UsedUp
from ....data_budget.public_stocks import PublicOutlook
from ..cells import add_row, percent, plain_table

__all__ = ["stock_view"]

_LEVEL = 0.8  # of the interval of years, the level at which the figures' authors give theirs
_UNKNOWN = "–"
_FAR = 2200.0  # a year past which no trend speaks
_ALL = "all published stocks: simulate data stock"


def stock_view(plan: PlanStock | None, outlook: PublicOutlook) -> RenderableType:
    """A plan's budget and dates, and what is published of its stocks; without a plan, of all of them."""
    if plan is None:
        return Group(*_public(outlook, set(outlook.stocks)))
    drawn_on = {one.public.stock.name for one in _rows(plan) if one.public is not None}
    published = _public(outlook, drawn_on) if drawn_on & set(outlook.stocks) else []
    return Group(*_plan(plan), Text(""), *published, Text(_ALL, style="dim"))


def _rows(plan: PlanStock) -> list[TokenBudget]:
    """The domains and the whole; of a single domain, which is the whole, just that."""
    return list(plan.domains) if len(plan.domains) == 1 else [*plan.domains, plan.whole]


def _plan(plan: PlanStock) -> list[RenderableType]:
    title = f"{plan.name or 'run'}: {format_count(plan.whole.tokens)} tokens"
    table = plain_table(
        "domain",
        "share",
        "tokens",
        *(["stock"] if plan.keep < 1.0 else []),
        "distinct",
        "epochs",
        f"beyond {plan.max_epochs:g} epochs",
        "worth, fresh tokens",
        f"most tokens at {plan.max_epochs:g} epochs",
    )
    for one in _rows(plan):
        add_row(table, *_budget(one, plan.keep < 1.0))
    blocks: list[RenderableType] = [Text(title, style="bold"), table]
    if plan.keep < 1.0:
        blocks.append(Text(f"the selection keeps {plan.keep:.1%} of each stock"))
    if plan.bound_by is not None and plan.whole.max_tokens is not None:
        allowed = f"{format_count(plan.whole.max_tokens)} tokens at {plan.max_epochs:g} epochs"
        by = f" with this mix; {plan.bound_by} runs out first" if plan.domains else ""
        blocks.append(Text(f"at most {allowed}{by}"))
        worth = f"what repeats are worth: R* = {plan.repeat_star:.3g} by {plan.repeat_star_from}"
        blocks.append(Text(worth, style="dim"))
    blocks += [Text(""), Text(_growing(plan)), _dates(plan)]
    return [*blocks, *(Text(f"! {note}", style="yellow") for note in plan.notes)]


def _budget(one: TokenBudget, selected: bool) -> list[str]:
    stock = _UNKNOWN if one.stock_tokens is None else format_count(one.stock_tokens)
    return [
        one.name,
        f"{one.share:.1%}",
        format_count(one.tokens),
        *([stock] if selected else []),
        _UNKNOWN if one.unique_tokens is None else format_count(one.unique_tokens),
        _UNKNOWN if one.epochs is None else f"{one.epochs:.3g}",
        _UNKNOWN if one.unique_tokens is None else format_count(one.tokens_beyond),
        format_count(one.effective_tokens),
        _UNKNOWN if one.max_tokens is None else format_count(one.max_tokens),
    ]


def _growing(plan: PlanStock) -> str:
    return (
        f"public stocks, if runs grow {plan.growth_per_year:.3g} times a year from this one of {plan.start_year:.1f} "
        f"and see a token {plan.max_epochs:g} times:"
    )


def _dates(plan: PlanStock) -> Table:
    table = plain_table("domain", "public stock", "tokens", "seen by the plan", "used up", f"{_LEVEL:.0%} interval")
    for one in _rows(plan):
        public = one.public
        if public is not None:
            years = _years(public.used_up)
            add_row(table, one.name, public.stock.name, format_count(public.tokens), _share(public.share), *years)
    return table


def _share(share: float) -> str:
    return f"{share:.0%}" if share > 1 else percent(share)


def _public(outlook: PublicOutlook, names: set[str]) -> list[RenderableType]:
    """The published figures of some stocks, and where these come from."""
    shown = {name: use for name, use in outlook.stocks.items() if name in names}
    table = plain_table("published stock", "tokens", "interval", "in", "used up", f"{_LEVEL:.0%} interval", "figures")
    for name, use in shown.items():
        stock = use.stock
        low, high = map(format_count, stock.interval)
        interval = f"{low} to {high} ({stock.level:.0%})"
        years = _years(use.used_up)
        add_row(table, name, format_count(stock.tokens), interval, f"{stock.year:.0f}", *years, stock.evidence)
    demand = outlook.to_dict()
    title = (
        f"the largest runs: {format_count(demand['largest_runs']['tokens'])} tokens in "
        f"{demand['largest_runs']['year']:.0f}, {demand['growth_per_year']:.3g} times as many each year; "
        f"a token seen {outlook.max_epochs:g} times, but in stocks that count repeats already"
    )
    cited = {key for use in shown.values() for key in use.stock.sources}
    known = [Text(f"{key}: {text}", style="dim") for key, text in demand["sources"].items() if key in cited]
    return [Text(title), table, *known]


def _years(end: UsedUp | None) -> tuple[str, str]:
    """The median year and the interval, in words."""
    if end is None:
        return _UNKNOWN, _UNKNOWN
    low, high = (_year(year) for year in end.intervals[_LEVEL])
    used = "already" if end.p_already > 0.5 else _year(end.median_year)
    return used, low if low == high else f"{low} to {high}"


def _year(year: float) -> str:
    if math.isinf(year):
        return "never"
    return f"{year:.1f}" if year < _FAR else f"after {_FAR:.0f}"
