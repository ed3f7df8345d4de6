"""What a plan's strategies change in the year in which its stocks are used up: each alone, and all together.

A strategy is a section of the plan. The text as it is draws mᵢ·D real tokens of domain i's stock Sᵢ, mᵢ its share of
the mix and D the plan's tokens; then

- a selection leaves keep·Sᵢ of the stock;
- synthetic text of share s leaves mᵢ·D·(1 - s) to be drawn, unless it was found on the web, where it is of the stock;
- continued pretraining on C tokens, a share r of domain j, draws r·C more of j and (1 - r)·C·mᵢ/(1 - mⱼ) of others.

Dates are compared draw by draw: both have the same stock, the same growth, and the same data of the largest runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import ConfigError
from ...core.units import format_count, shown
from ...datasets.facts.data_stock import PublicStock, find
from ...datasets.facts.synthetic import synthetic_facts
from ..config.after_pretraining.continued import ContinuedConfig
from ..config.run_config import RunConfig
from .exhaustion import YearsLater
from .token_budget import TokenBudget

__all__ = [
    "ALL",
    "AS_IT_IS",
    "CONTINUED",
    "SELECTION",
    "SYNTHETIC",
    "TOGETHER",
    "DomainDates",
    "StrategyDates",
    "TextDate",
    "continued_tokens",
    "is_of_public_text",
    "is_whole",
    "shown_domains",
    "texts",
]

ALL = "all"
"""The whole of a plan, beside its domains."""
AS_IT_IS, SELECTION, SYNTHETIC, CONTINUED, TOGETHER = (
    "as_it_is", "selection", "synthetic", "continued_pretraining", "together"
)  # fmt: skip
_FOUND = "web"  # the kind of synthetic text that was found in public text, and not written for a plan
_LEFT_OPEN = 1.0  # a share of continued pretraining that isn't stated: the most that a domain can be drawn on


@dataclass(frozen=True)
class TextDate:
    """When one domain's stock is used up under one strategy."""

    budget: TokenBudget
    """Its public stock is known; its epochs and most tokens are those of pretraining alone."""
    years_later: YearsLater | None
    """Than with the text as it is; None of that itself, and where nothing is drawn."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        public = self.budget.public
        assert public is not None  # by StrategyDates.of
        return {
            "drawn_tokens": public.drawn_tokens,
            "stock_tokens": public.tokens,
            "share": public.share,
            "epochs": self.budget.epochs,
            "max_tokens": self.budget.max_tokens,
            "used_up": None if public.used_up is None else public.used_up.to_dict(),
            "years_later": None if self.years_later is None else self.years_later.to_dict(),
        }


@dataclass(frozen=True)
class DomainDates:
    """When a domain's public stock is used up, by strategy: the text as it is first, then in the plan's order."""

    name: str
    stock: PublicStock
    texts: Mapping[str, TextDate]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"stock": self.stock.name, "texts": {key: one.to_dict() for key, one in self.texts.items()}}


@dataclass(frozen=True)
class StrategyDates:
    """The strategies that a plan states, and when its public stocks are used up under each."""

    stated: tuple[str, ...]
    """`selection`, `synthetic`, `continued_pretraining`; `together` where it is several."""
    domains: tuple[DomainDates, ...]
    keep: float
    synthetic_share: float
    continued: ContinuedConfig | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, config: RunConfig, budgets: Mapping[str, tuple[TokenBudget, ...]]) -> StrategyDates:
        """Compare a plan's budgets by domain, under the keys of `texts`."""
        planned = list(budgets.values())[-1]
        domains = tuple(
            _domain(one.public.stock, {key: _named(of, one.name) for key, of in budgets.items()})
            for one in planned
            if one.public is not None
        )
        return cls(
            stated=tuple(key for key in budgets if key != AS_IT_IS),
            domains=domains,
            keep=config.data.keep,
            synthetic_share=config.data.synthetic_share,
            continued=config.continued_pretraining,
            notes=tuple(_notes(config, [one.name for one in domains])),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys, for JSON."""
        continued = self.continued
        return {
            "stated": list(self.stated),
            "keep": self.keep,
            "synthetic_share": self.synthetic_share,
            "continued_pretraining": None
            if continued is None
            else {
                "domain": continued.domain,
                "tokens": continued.tokens,
                "share": _share(continued),
                "share_stated": continued.share is not None,
            },
            "domains": {one.name: one.to_dict() for one in self.domains},
            "notes": list(self.notes),
        }


def texts(config: RunConfig) -> dict[str, RunConfig]:
    """The plan with its text as it is, with each strategy that it states alone, and with all where it is several.

    >>> data = {"tokens": "2T", "selection": {"kind": "judge", "keep": 0.5}, "synthetic": {"share": 0.3}}
    >>> list(texts(RunConfig.from_mapping({"model": {"params": "7B"}, "data": data})))
    ['as_it_is', 'selection', 'synthetic', 'together']
    """
    data = config.data
    plain = data.model_copy(update={"selection": None, "synthetic": None})
    bare = config.model_copy(update={"data": plain, "continued_pretraining": None})
    found = {AS_IT_IS: bare}
    if data.keep < 1.0:
        found[SELECTION] = bare.model_copy(update={"data": plain.model_copy(update={"selection": data.selection})})
    if data.synthetic_share > 0.0:
        found[SYNTHETIC] = bare.model_copy(update={"data": plain.model_copy(update={"synthetic": data.synthetic})})
    if config.continued_pretraining is not None:
        found[CONTINUED] = bare.model_copy(update={"continued_pretraining": config.continued_pretraining})
    return found if len(found) <= 2 else {**found, TOGETHER: config}


def is_whole(domains: Sequence[TokenBudget]) -> bool:
    """Whether a plan has one domain, which is all of it, so that the whole needs no row of its own."""
    return len(domains) == 1 and domains[0].share == 1.0


def shown_domains(domains: Sequence[TokenBudget], dates: StrategyDates) -> list[DomainDates]:
    """What a reader is shown of the dates of a plan of these domains: the whole too, unless it is one domain."""
    return [one for one in dates.domains if one.name != ALL or not is_whole(domains)]


def is_of_public_text(config: RunConfig) -> bool:
    """Whether a plan's synthetic text was found in public text, so that it is drawn from the public stocks."""
    synthetic = config.data.synthetic
    return synthetic is not None and synthetic_facts().kind_of(synthetic.generator) == _FOUND


def continued_tokens(config: RunConfig, stocks: Mapping[str, PublicStock]) -> dict[str, float]:
    """Tokens of continued pretraining by domain, and of `all`; empty without it. Those of domains sum to all of them.

    The domain's share is 1 where it is left open; where the mix has no other domain, the rest is of it too. Of a plan
    whose whole text is one corpus, `all` holds what is drawn from that corpus.

    Raises:
        ConfigError: The domain is called `all`, as the whole is, and isn't of the mix.
    """
    stage, mix = config.continued_pretraining, config.data.mix or {}
    if stage is None:
        return {}
    if stage.domain == ALL and ALL not in mix:
        raise ConfigError(f"continued_pretraining.domain: got {shown(ALL)}, the plan's whole text; expected a domain")
    share = _share(stage)
    others = {name: part for name, part in mix.items() if name != stage.domain and part > 0}
    rest = math.fsum(others.values())
    if mix and not others:
        share = 1.0
    found = {stage.domain: share * stage.tokens}
    found |= {name: (1.0 - share) * stage.tokens * part / rest for name, part in others.items()}
    return {**found, ALL: (1.0 - share if _is_another_corpus(config, stocks) else 1.0) * stage.tokens}


def _is_another_corpus(config: RunConfig, stocks: Mapping[str, PublicStock]) -> bool:
    """Whether the stock of the whole is one corpus that the domain of continued pretraining isn't of."""
    stage, corpus = config.continued_pretraining, config.data.corpus_text
    if stage is None or config.data.mix or corpus is None or (known := find(corpus)) is None:
        return False
    return stocks[ALL] == known != stocks.get(stage.domain)


def _share(stage: ContinuedConfig) -> float:
    return _LEFT_OPEN if stage.share is None else stage.share


def _named(budgets: tuple[TokenBudget, ...], name: str) -> TokenBudget | None:
    return next((one for one in budgets if one.name == name), None)


def _domain(stock: PublicStock, budgets: Mapping[str, TokenBudget | None]) -> DomainDates:
    """One domain's dates; strategies that have nothing of the domain, which the mix may lack, are left out."""
    there = {key: one for key, one in budgets.items() if one is not None and one.public is not None}
    before = there.get(AS_IT_IS)
    name = next(iter(there.values())).name
    return DomainDates(name, stock, {key: TextDate(one, _later(before, one)) for key, one in there.items()})


def _later(before: TokenBudget | None, after: TokenBudget) -> YearsLater | None:
    ends = [one.public.used_up for one in (before, after) if one is not None and one.public is not None]
    if before is after or len(ends) < 2 or ends[0] is None or ends[1] is None:
        return None
    return YearsLater.between(ends[0], ends[1])


def _notes(config: RunConfig, known: list[str]) -> Iterator[str]:
    """What the dates of strategies rest on."""
    data, stage = config.data, config.continued_pretraining
    if data.synthetic_share > 0 and is_of_public_text(config):
        yield (
            "data.synthetic.generator: text of models that was found on the web is of the public stocks, so their "
            "dates stay"
        )
    if stage is None:
        return
    if stage.share is None:
        yield (
            "continued_pretraining.share is left open: the dates count all of its "
            f"{format_count(stage.tokens)} tokens as {stage.domain}, the most that it can be drawn on"
        )
    if stage.domain not in known:
        yield (
            f"continued_pretraining.domain: no public figure is known for {stage.domain}, so when it is used up isn't "
            f"said; one that you state is taken: --public {stage.domain}=TOKENS"
        )
    elif stage.domain not in (data.mix or {}):
        yield (
            f"continued_pretraining.domain: the mix has nothing of {stage.domain}, so that only continued pretraining "
            "draws on its stock, and there is no date without it"
        )
    if data.keep < 1.0 or data.synthetic_share > 0.0:
        yield "all together: continued pretraining draws real text, of stocks that the selection has left"
