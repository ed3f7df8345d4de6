"""When a plan's public stocks are used up under each strategy that it states, as a table for a terminal."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from .....core.units import format_count
from ....data_budget.data_budget import PlanStock
from ....data_budget.exhaustion import UsedUp, YearsLater
from ....data_budget.strategies import (
    AS_IT_IS,
    CONTINUED,
    SELECTION,
    SYNTHETIC,
    TOGETHER,
    DomainDates,
    StrategyDates,
    TextDate,
    shown_domains,
)
from ..cells import add_row, percent, plain_table
from .years import UNKNOWN, interval, used_up, year_shift

__all__ = ["strategies_blocks"]

_LEVEL = 0.9


def strategies_blocks(plan: PlanStock, dates: StrategyDates) -> list[RenderableType]:
    """By domain a row for the text as it is and for each strategy; then what the columns say, and notes."""
    own = plan.whole.max_tokens is not None or any(one.unique_tokens is not None for one in plan.domains)
    table = plain_table(
        "stock, and text",
        "drawn",
        "left of it",
        "seen",
        "used up",
        f"{_LEVEL:.0%} interval",
        "already",
        "years later",
        f"{_LEVEL:.0%} interval",
        "",
        *(["epochs", "most tokens"] if own else []),
    )
    for domain in shown_domains(plan.domains, dates):
        _add_domain(table, domain, dates, own)
    said = (
        f"seen: drawn over what {plan.max_epochs:g} epochs of what is left give, or over that where it counts repeats; "
        f"years later: than as it is, draw by draw, undecided where the {_LEVEL:.0%} interval holds 0; already: by "
        f"{plan.start_year:.1f}, from which years count"
    )
    blocks: list[RenderableType] = [table, Text(said, style="dim")]
    if own:
        of_own = f"epochs and most tokens at {plan.max_epochs:g} of them: of the plan's own stocks, in pretraining"
        blocks.append(Text(of_own, style="dim"))
    return blocks + [Text(f"! {note}", style="yellow") for note in dates.notes]


def _in_words(key: str, dates: StrategyDates) -> str:
    """A strategy of the plan, in a few words."""
    return {
        AS_IT_IS: "as it is",
        SELECTION: f"selection, {percent(dates.keep)} kept",
        SYNTHETIC: f"{percent(dates.synthetic_share)} synthetic",
        CONTINUED: "continued pretraining",
        TOGETHER: "all together",
    }[key]


def _add_domain(table: Table, domain: DomainDates, dates: StrategyDates, own: bool) -> None:
    repeats = ", repeats counted" if domain.stock.counts_repeats else ""
    blank = [""] * (len(table.columns) - 1)
    stock = "as stated" if domain.stock.evidence == "stated" else domain.stock.name
    add_row(table, f"{domain.name}: {stock}{repeats}", *blank)
    for key, date in domain.texts.items():
        add_row(table, f"  {_in_words(key, dates)}", *_cells(date), *(_own(date) if own else []))


def _cells(date: TextDate) -> list[str]:
    public = date.budget.public
    assert public is not None  # by StrategyDates.of
    amounts = [format_count(public.drawn_tokens), format_count(public.tokens), _seen(public.share)]
    return [*amounts, *_ends(public.used_up), *_shift(date.years_later)]


def _ends(end: UsedUp | None) -> list[str]:
    if end is None:
        return [UNKNOWN] * 3
    return [used_up(end), interval(end, _LEVEL), percent(end.p_already)]


def _shift(shift: YearsLater | None) -> list[str]:
    if shift is None:
        return [UNKNOWN, UNKNOWN, ""]
    low, high = (year_shift(years) for years in shift.intervals[_LEVEL])
    return [year_shift(shift.median), low if low == high else f"{low} to {high}", shift.verdict]


def _own(date: TextDate) -> list[str]:
    budget = date.budget
    epochs = UNKNOWN if budget.epochs is None else f"{budget.epochs:.3g}"
    return [epochs, UNKNOWN if budget.max_tokens is None else format_count(budget.max_tokens)]


def _seen(share: float) -> str:
    """A share of which two digits count, so that it is what drawn over left gives."""
    return f"{100 * share:#.2g}".removesuffix(".") + "%" if share < 0.995 else f"{100 * share:.0f}%"
