"""Stocks of text as tables for a terminal: a plan's budget of distinct tokens, and how long the public's lasts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .....core.units import format_count
from ....data_budget.data_budget import PlanStock
from ....data_budget.exhaustion import UsedUp
from ....data_budget.public_stocks import PublicOutlook
from ....data_budget.strategies import is_whole
from ....data_budget.synthetic_text import SyntheticOutlook
from ....data_budget.token_budget import TokenBudget
from ..cells import add_row, percent, plain_table
from .strategies import strategies_blocks
from .years import UNKNOWN, interval, used_up

__all__ = ["stock_view"]

_LEVEL = 0.8  # of the interval of years, the level at which the figures' authors give theirs
_ALL = "all published stocks: simulate data stock"


def stock_view(plan: PlanStock | None, outlook: PublicOutlook, synthetic: SyntheticOutlook) -> RenderableType:
    """A plan's budget and dates, and what is published of its stocks; without a plan, of all of them.

    With what models may have written of public text where there is no plan, or one with synthetic text.
    """
    if plan is None:
        return Group(*_public(outlook, set(outlook.stocks)), Text(""), *_synthetic(synthetic))
    drawn_on = {one.public.stock.name for one in _rows(plan) if one.public is not None}
    published = _public(outlook, drawn_on) if drawn_on & set(outlook.stocks) else []
    scenario = [*_synthetic(synthetic), Text("")] if plan.synthetic_share > 0 else []
    return Group(*_plan(plan), Text(""), *scenario, *published, Text(_ALL, style="dim"))


def _rows(plan: PlanStock) -> list[TokenBudget]:
    """The domains and the whole; of a single domain, which is the whole, just that."""
    return [*plan.domains] if is_whole(plan.domains) else [*plan.domains, plan.whole]


def _plan(plan: PlanStock) -> list[RenderableType]:
    title = f"{plan.name or 'run'}: {format_count(plan.whole.tokens)} tokens"
    table = plain_table(
        "domain",
        "share",
        "tokens",
        *(["of them synthetic"] if plan.synthetic_share > 0 else []),
        *(["stock"] if plan.keep < 1.0 else []),
        "distinct",
        "epochs",
        f"beyond {plan.max_epochs:g} epochs",
        "worth, fresh tokens",
        f"most tokens at {plan.max_epochs:g} epochs",
    )
    for one in _rows(plan):
        add_row(table, *_budget(one, plan))
    blocks: list[RenderableType] = [Text(title, style="bold"), table]
    if plan.keep < 1.0:
        blocks.append(Text(f"the selection keeps {plan.keep:.1%} of each stock"))
    if plan.bound_by is not None and plan.whole.max_tokens is not None:
        allowed = f"{format_count(plan.whole.max_tokens)} tokens at {plan.max_epochs:g} epochs"
        by = f" with this mix; {plan.bound_by} runs out first" if plan.domains else ""
        blocks.append(Text(f"at most {allowed}{by}"))
        worth = f"what repeats are worth: R* = {plan.repeat_star:.3g} by {plan.repeat_star_from}"
        blocks.append(Text(worth, style="dim"))
    blocks += [Text(""), Text(_growing(plan))]
    dates = plan.strategies
    blocks += [_dates(plan)] if dates is None or not dates.stated else strategies_blocks(plan, dates)
    return [*blocks, *(Text(f"! {note}", style="yellow") for note in plan.notes)]


def _budget(one: TokenBudget, plan: PlanStock) -> list[str]:
    stock = UNKNOWN if one.stock_tokens is None else format_count(one.stock_tokens)
    return [
        one.name,
        f"{one.share:.1%}",
        format_count(one.tokens),
        *([format_count(one.synthetic_tokens)] if plan.synthetic_share > 0 else []),
        *([stock] if plan.keep < 1.0 else []),
        UNKNOWN if one.unique_tokens is None else format_count(one.unique_tokens),
        UNKNOWN if one.epochs is None else f"{one.epochs:.3g}",
        UNKNOWN if one.unique_tokens is None else format_count(one.tokens_beyond),
        format_count(one.effective_tokens),
        UNKNOWN if one.max_tokens is None else format_count(one.max_tokens),
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


def _synthetic(outlook: SyntheticOutlook) -> list[RenderableType]:
    """The scenario of how much of public text models wrote."""
    scenario = outlook.scenario
    table = plain_table(
        "in", "of new text", f"{scenario.level:.0%} interval", "of all there is", "interval", "human tokens"
    )
    for one in outlook.years:
        (new, *of_new), (all_, *of_all) = one.of_new_text, one.of_stock
        add_row(
            table, f"{one.year:.0f}", f"{new:.0%}", _ends(of_new), f"{all_:.1%}", _ends(of_all, 1),
            format_count(one.human_tokens[0]),
        )  # fmt: skip
    title = (
        f"a scenario: what models wrote of public text ({outlook.stock.name}), if their share of new text rose from 0 "
        f"in {scenario.from_year:.1f} to {scenario.share:.0%} in {scenario.level_year:.1f} and stays"
    )
    said = (
        "all there is counts old pages as still there; of pages in use the share is nearer to that of new text. A plan "
        "that takes such text as it is states data.synthetic: {share: …, generator: web}"
    )
    return [Text(title), table, Text(said), *(Text(source, style="dim") for source in scenario.sources)]


def _ends(ends: Sequence[float], decimals: int = 0) -> str:
    """The two ends of an interval of a share."""
    low, high = ends
    return f"{low:.{decimals}%} to {high:.{decimals}%}"


def _years(end: UsedUp | None) -> tuple[str, str]:
    """The median year and the interval, in words."""
    return (UNKNOWN, UNKNOWN) if end is None else (used_up(end), interval(end, _LEVEL))
