"""A plan's budget of distinct tokens: epochs by domain, the value of repeated tokens, token limits, public stocks."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import ConfigError
from ...core.units import format_count, shown
from ...datasets.facts.data_stock import PublicStock, find, public_stock, repeat_star
from ..config.run_config import RunConfig
from ..predictor.predictor import Predictor
from .exhaustion import Demand
from .public_stocks import most_epochs, public_use
from .strategies import ALL, StrategyDates, continued_tokens, is_of_public_text, texts
from .token_budget import TokenBudget

__all__ = ["PlanStock", "plan_stock"]

_ALL_TEXT = "effective-text"
_STARS = ("log_domain_repeat_star", "log_repeat_star")  # of the mixture terms, of the repetition terms
_MOST_TOKENS = 1e18


@dataclass(frozen=True)
class PlanStock:
    """A plan's tokens against the stocks it draws on; `whole` is all of it, `domains` its parts if it has a mix."""

    name: str | None
    whole: TokenBudget
    domains: tuple[TokenBudget, ...]
    max_epochs: float
    bound_by: str | None
    """The domain whose stock limits the tokens most, or `all`; None where no stock is stated."""
    repeat_star: float
    repeat_star_from: str
    start_year: float
    growth_per_year: float
    """By which factor runs are taken to grow each year."""
    notes: tuple[str, ...] = ()
    seed: int = 0
    keep: float = 1.0
    """Share of the stocks that the plan's selection keeps."""
    synthetic_share: float = 0.0
    """Share of the tokens trained on that models wrote."""
    strategies: StrategyDates | None = None
    """The years in which public stocks are used up, with and without what the plan states of selection, synthetic text
    and continued pretraining."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        return {
            "name": self.name,
            **{key: value for key, value in self.whole.to_dict().items() if key != "share"},
            "domains": {domain.name: domain.to_dict() for domain in self.domains},
            "keep": self.keep,
            "synthetic_share": self.synthetic_share,
            "strategies": None if self.strategies is None else self.strategies.to_dict(),
            "max_epochs": self.max_epochs,
            "bound_by": self.bound_by,
            "repeat_star": self.repeat_star,
            "repeat_star_from": self.repeat_star_from,
            "start_year": self.start_year,
            "growth_per_year": self.growth_per_year,
            "notes": list(self.notes),
            "seed": self.seed,
        }


def plan_stock(
    config: RunConfig,
    predictor: Predictor | None = None,
    *,
    max_epochs: float | None = None,
    growth: float | None = None,
    start_year: float | None = None,
    public: Mapping[str, str | float] | None = None,
) -> PlanStock:
    """Compare a plan's tokens with its own stocks of unique tokens and with the public stocks.

    Args:
        config: The plan.
        predictor: Tells what repeated tokens are worth; by default the published law does.
        max_epochs: How often a token may be seen; by default 4, up to which a repeated token is nearly as good as new.
        growth: Growth of runs per year, such as 1.4 for 140 %; by default that of the largest runs.
        start_year: Year of this run, as a decimal; by default that of `config.start`, otherwise today.
        public: Public stock that a domain draws on, by name or in tokens, where the domain's own name does not tell.

    Returns:
        By domain and for the whole plan: stock, epochs, and the largest number of tokens.

    Raises:
        ConfigError: An argument is out of range, a domain or a public stock is unknown, or the plan's selection keeps
            too little of a stock for `max_epochs`, where that is given.

    >>> data = {"tokens": "2T", "mix": {"web": 0.9, "code": 0.1}, "unique_tokens_by_domain": {"code": "50B"}}
    >>> config = RunConfig.from_mapping({"model": {"params": "7B"}, "data": data, "start": "2026-01-01"})
    >>> stock = plan_stock(config)
    >>> stock.bound_by, stock.domains[1].epochs, stock.whole.max_tokens
    ('code', 4.0, 2000000000000.0)
    """
    most = most_epochs(max_epochs)
    year, notes = _start(config, start_year)
    star = _repeat_star(config, predictor)
    stocks = _public_stocks(config, public or {}, year)
    found = {key: _budgets(text, most, growth, year, star, stocks, notes) for key, text in texts(config).items()}
    plan = list(found.values())[-1]
    if max_epochs is not None:
        _refuse_too_strict(config, (plan.whole, *plan.domains), most)
    rows = {key: (*one.domains, one.whole) for key, one in found.items()}
    return replace(plan, strategies=StrategyDates.of(config, rows))


def _budgets(
    config: RunConfig, most: float, growth: float | None, year: float, repeat_star: tuple[float, str],
    stocks: Mapping[str, PublicStock], notes: Sequence[str],
) -> PlanStock:  # fmt: skip
    """The budget of a plan, whose start and public stocks are known and what repeats are worth."""
    demand = Demand.growing(1.0, year, growth)
    data, (star, star_from) = config.data, repeat_star
    outlook = _Outlook(
        demand, most, star, config.seed, data.keep, data.synthetic_share, is_of_public_text(config),
        continued_tokens(config, stocks),
    )  # fmt: skip
    by_domain, mix = data.unique_tokens_by_domain or {}, _mix(config)
    domains = tuple(
        outlook.budget(name, share, share * data.tokens, by_domain.get(name), stocks.get(name))
        for name, share in mix.items()
    )
    whole = outlook.budget(ALL, 1.0, data.tokens, data.unique_tokens, stocks.get(ALL))
    if by_domain:
        whole = _summed(whole, domains, (data.distinct_tokens() or 0.0) - whole.synthetic_tokens)
    limits = [one for one in (whole, *domains) if one.max_tokens is not None and one.max_tokens == whole.max_tokens]
    return PlanStock(
        name=config.name,
        whole=whole,
        domains=domains,
        max_epochs=most,
        bound_by=limits[-1].name if limits else None,
        repeat_star=star,
        repeat_star_from=star_from,
        start_year=year,
        growth_per_year=math.exp(demand.log_rate),
        notes=(*notes, *_warnings(config, domains, stocks)),
        seed=config.seed,
        keep=data.keep,
        synthetic_share=data.synthetic_share,
    )


def _refuse_too_strict(config: RunConfig, budgets: tuple[TokenBudget, ...], most: float) -> None:
    """ConfigError where a selection leaves fewer tokens than the plan's epochs allow."""
    beyond = [one for one in budgets if one.stock_tokens is not None and one.tokens_beyond > 0]
    if config.data.keep == 1.0 or not beyond:
        return
    one = max(beyond, key=lambda budget: budget.epochs or 0.0)
    needed = math.ceil(1000 * config.data.keep * (one.epochs or 0.0) / most) / 1000
    looser = f"data.selection.keep at least {needed:g}, or " if needed <= 1.0 else ""
    kept, stock = format_count(one.unique_tokens or 0.0), format_count(one.stock_tokens or 0.0)
    raise ConfigError(
        f"data.selection.keep: got {config.data.keep:g}, which leaves {kept} of {stock} distinct tokens of {one.name}; "
        f"{format_count(one.real_tokens)} tokens would be {one.epochs:.3g} epochs of them where max_epochs allows "
        f"{most:g}: expected {looser}data.tokens at most {format_count(one.max_tokens or 0.0)}"
    )


@dataclass(frozen=True)
class _Outlook:
    """What is the same for all domains of a plan; `demand` holds the growth, for one token."""

    demand: Demand
    max_epochs: float
    star: float
    seed: int
    keep: float
    synthetic: float
    of_public_text: bool
    """Whether the synthetic text was found in public text."""
    continued: Mapping[str, float]
    """Tokens of continued pretraining by domain."""

    def budget(
        self, name: str, share: float, tokens: float, stated: float | None, stock: PublicStock | None
    ) -> TokenBudget:
        """The budget of one domain: `stated` are its distinct tokens before the selection, `stock` is the public one it
        draws on."""
        written = tokens * self.synthetic
        real = tokens - written
        drawn = (tokens if self.of_public_text else real) + self.continued.get(name, 0.0)
        demand = replace(self.demand, tokens=drawn)
        use = None if stock is None else public_use(demand, stock, self.max_epochs, self.seed, name, self.keep)
        if stated is None:
            return TokenBudget(name, share, tokens, None, tokens, 0.0, None, use, synthetic_tokens=written)
        unique = stated * self.keep
        repeats = max(real / unique - 1.0, 0.0)
        worth = min(unique, real) - unique * self.star * math.expm1(-repeats / self.star)
        most = self.max_epochs * unique
        real_share = share * (1.0 - self.synthetic)
        return TokenBudget(
            name=name,
            share=share,
            tokens=tokens,
            unique_tokens=unique,
            effective_tokens=worth + written,
            tokens_beyond=max(real - most, 0.0),
            max_tokens=most / real_share if real_share > 0 else None,
            public=use,
            stock_tokens=stated,
            synthetic_tokens=written,
        )


def _summed(whole: TokenBudget, domains: tuple[TokenBudget, ...], unique: float | None) -> TokenBudget:
    """All of a plan whose stocks are stated by domain; distinct tokens count only as far as they are seen."""
    limits = [one.max_tokens for one in domains if one.max_tokens is not None]
    return TokenBudget(
        name=whole.name,
        share=1.0,
        tokens=whole.tokens,
        unique_tokens=unique,
        effective_tokens=math.fsum(one.effective_tokens for one in domains),
        tokens_beyond=math.fsum(one.tokens_beyond for one in domains),
        max_tokens=min(limits, default=None),
        public=whole.public,
        synthetic_tokens=whole.synthetic_tokens,
    )


def _mix(config: RunConfig) -> dict[str, float]:
    """Shares by domain; that of continued pretraining is one of them, of no share where the mix hasn't it."""
    mix, stage = config.data.mix or {}, config.continued_pretraining
    return mix if stage is None else {**mix, stage.domain: mix.get(stage.domain, 0.0)}


def _start(config: RunConfig, start_year: float | None) -> tuple[float, list[str]]:
    """The year in which the run starts, and what to say of it."""
    if start_year is not None:
        if not 2000 <= start_year <= 2200:
            raise ConfigError(f"start_year: got {start_year:g}; expected a year, 2000 to 2200")
        return start_year, []
    if config.start is not None:
        return _decimal(config.start), []
    today = _decimal(datetime.date.today())
    return today, [f"start isn't stated: years count from today, {today:.1f}"]


def _decimal(day: datetime.date) -> float:
    first = datetime.date(day.year, 1, 1)
    return day.year + (day - first).days / (datetime.date(day.year + 1, 1, 1) - first).days


def _repeat_star(config: RunConfig, predictor: Predictor | None) -> tuple[float, str]:
    """R* of the predictor's main target, by domain if the plan's stocks are; else the published one."""
    known = [] if predictor is None else [one.parameters for one in predictor.parts(predictor.main_loss).values()]
    names = _STARS if config.data.unique_tokens_by_domain else _STARS[::-1]
    for name in names:
        if predictor is not None and all(name in one for one in known):
            return math.exp(sum(one[name] for one in known) / len(known)), f"predictor {predictor.name}"
    published = "Muennighoff et al. 2023"
    return repeat_star(), published if predictor is None else f"{published} (predictor {predictor.name} has no repeats)"


def _public_stocks(config: RunConfig, stated: Mapping[str, str | float], year: float) -> dict[str, PublicStock]:
    """The public stock of each domain that has one, and of `all`."""
    mix = _mix(config)
    unknown = [name for name in stated if name not in mix and name != ALL]
    if unknown:
        expected = ", ".join([*mix, ALL])
        raise ConfigError(f"public: got {shown(unknown[0])}, which is no domain of the mix; expected one of {expected}")
    corpus = None if config.data.mix or config.data.corpus_text is None else find(config.data.corpus_text)
    found = {name: find(name) for name in mix} | {ALL: corpus or public_stock(_ALL_TEXT)}
    for name, value in stated.items():
        if not isinstance(value, str) and not 0 < value <= _MOST_TOKENS:
            raise ConfigError(f"public: {name}: got {value:g}; expected tokens above 0, at most {_MOST_TOKENS:g}")
        found[name] = public_stock(value) if isinstance(value, str) else PublicStock.stated(name, value, year)
    return {name: stock for name, stock in found.items() if stock is not None}


def _warnings(config: RunConfig, domains: tuple[TokenBudget, ...], stocks: Mapping[str, PublicStock]) -> list[str]:
    """Caveats of the numbers."""
    notes = []
    if config.data.unique_tokens is None and config.data.unique_tokens_by_domain is None:
        notes.append("no stock is stated, so every token counts as new: state data.unique_tokens(_by_domain)")
    for one in domains:
        public = one.public
        if public is None or one.stock_tokens is None or not one.stock_tokens > public.stock.interval[1]:
            continue
        low, high = map(format_count, public.stock.interval)
        notes.append(
            f"{one.name}: the plan states {format_count(one.stock_tokens)} distinct tokens; "
            f"published for {public.stock.name} are {low} to {high}"
        )
    without = [one.name for one in domains if one.name not in stocks and one.name in (config.data.mix or {})]
    if without:
        notes.append(f"no public figure is known for {', '.join(without)}")
    return notes
