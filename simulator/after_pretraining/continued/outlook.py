"""`continued_outlook`: what a plan's continued pretraining gives its domain and costs in general."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import InputError
from ....core.quantity import Quantity, spread_normal
from ....core.units import format_count, format_decimals, shown
from ...cluster.cluster_estimate import ClusterEstimate
from ...config.after_pretraining.continued import ContinuedConfig
from ...config.after_pretraining.law_names import PROXIES
from ...config.run_config import RunConfig
from ..machine_time import MachineTime, machine_time
from .storage import ContinuedLaws, laws_of_proxies, load_laws

__all__ = ["ContinuedOutlook", "continued_laws", "continued_outlook", "largest_shares"]

_SHARES = np.linspace(0.0, 1.0, 101)
_FARTHEST_DECADES = 3.0  # beyond the fitted runs; past it a law of its own is no evidence
_BEYOND = 0.05
_PROXY_LOG_SD = 0.4
"""One sd of the log of the factor by which a general change differs at scale from that of proxies (a judgement)."""
_PROXY_GAIN, _PROXY_GAIN_LOG_SD = 0.5, 0.7
"""What weights that met the domain gain of what those did that never had: half, within a factor of 3 (a judgement)."""
_MET, _MET_LOG_SD = 0.01, 1.4
"""The share of the domain in a pretraining that doesn't state its mix: 1 %, within a factor of 10 (a judgement)."""


@dataclass(frozen=True)
class ContinuedOutlook:
    """What continued pretraining changes. Ratios are of losses after to before it."""

    domain: str
    tokens: float
    share: float
    share_stated: bool
    """Whether the plan states it; else it is the largest that keeps the general loss within its limit."""
    domain_ratio: Quantity
    general_ratio: Quantity
    domain_loss_nats: Quantity
    """The plan's own loss on the domain, or its main one where the predictor has none of it, times the ratio."""
    general_loss_nats: Quantity
    domain_loss_known: bool
    """Whether the predictor has a loss of this domain."""
    most_general_rise: float
    largest_share: Quantity
    """The largest share that costs the general loss no more than `most_general_rise` over a share of 0."""
    p_within_limit: float
    """Chance that the plan's share does."""
    generalist_loss_nats: Quantity | None
    """The domain's loss of the plan trained on as many tokens more of its own mix, at equal cost; None if unknown."""
    machines: MachineTime
    beyond_decades: Mapping[str, float]
    source: str
    curve: tuple[tuple[float, ...], ...]
    """Share, then median and ends of the 90 % interval of the domain's ratio, and of the general one."""
    notes: tuple[str, ...]

    @property
    def against_generalist(self) -> str | None:
        """Whether the specialist is better on the domain at equal cost: better, worse, undecided; None if unknown."""
        if self.generalist_loss_nats is None:
            return None
        low, high = self.domain_loss_nats.intervals[0.9]
        middle = self.generalist_loss_nats.median
        return "better" if high < middle else "worse" if low > middle else "undecided"

    @property
    def sentence(self) -> str:
        """What changes, in one sentence."""
        chosen = "" if self.share_stated else f" (the largest that costs at most {100 * self.most_general_rise:g} %)"
        return (
            f"{format_count(self.tokens)} tokens more, {100 * self.share:.0f} % of them {self.domain}{chosen}: loss on "
            f"{self.domain} {_percent(self.domain_ratio)}, in general {_percent(self.general_ratio)}; "
            f"{100 * self.p_within_limit:.0f} % chance that the share costs the general loss "
            f"no more than {100 * self.most_general_rise:g} %"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        generalist = self.generalist_loss_nats
        keys = ("share", "domain_ratio", "domain_low", "domain_high", "general_ratio", "general_low", "general_high")
        return {
            "domain": self.domain,
            "tokens": self.tokens,
            "share": self.share,
            "share_stated": self.share_stated,
            "domain_ratio": self.domain_ratio.to_dict(),
            "general_ratio": self.general_ratio.to_dict(),
            "domain_loss_nats": self.domain_loss_nats.to_dict(),
            "general_loss_nats": self.general_loss_nats.to_dict(),
            "domain_loss_known": self.domain_loss_known,
            "most_general_rise": self.most_general_rise,
            "largest_share": self.largest_share.to_dict(),
            "p_within_limit": self.p_within_limit,
            "generalist_loss_nats": None if generalist is None else generalist.to_dict(),
            "against_generalist": self.against_generalist,
            "machines": self.machines.to_dict(),
            "beyond_decades": dict(self.beyond_decades),
            "source": self.source,
            "curve": [dict(zip(keys, one, strict=True)) for one in self.curve],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Changes:
    """Logs of the ratios of both losses by share `(shares, draws)`, at the plan's size and tokens."""

    domain: np.ndarray
    general: np.ndarray

    def at(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Both at one share `(draws,)`, along the nearest shares."""
        place = share * (len(_SHARES) - 1)
        below = min(int(place), len(_SHARES) - 2)
        part = place - below
        domain, general = ((1 - part) * one[below] + part * one[below + 1] for one in (self.domain, self.general))
        return domain, general


def continued_laws(config: RunConfig) -> ContinuedLaws:
    """The laws of a plan's continued pretraining, of its file or of our proxies. Raises InputError, ConfigError."""
    stage = _stage(config)
    if stage.law == PROXIES:
        return laws_of_proxies()
    found = load_laws(config.path_of("continued_pretraining.law", stage.law))
    if found.domain_name != stage.domain:
        raise InputError(
            f"continued_pretraining.law: {stage.law} is of the domain {shown(found.domain_name)}, the plan's is "
            f"{shown(stage.domain)}; expected a law of the same one"
        )
    return found


def largest_shares(general: np.ndarray, most_rise: float) -> np.ndarray:
    """The largest share `(draws,)` that costs the general loss no more than a rise over going on without the domain.

    Args:
        general: Logs of the general loss by share, `(101, draws)`, from a share of 0 to 1.
        most_rise: The rise, as a share of the loss.

    >>> largest_shares(np.linspace(-0.05, 0.05, 101)[:, None], 0.0501).round(2).tolist()
    [0.48]
    """
    kept = np.logical_and.accumulate(general - general[0] <= math.log1p(most_rise) + 1e-12, axis=0)
    return _SHARES[np.maximum(kept.sum(axis=0) - 1, 0)]


def continued_outlook(
    config: RunConfig,
    general: Quantity,
    domain: Quantity | None,
    generalist: Quantity | None,
    cluster: ClusterEstimate | None,
) -> ContinuedOutlook | None:
    """What a plan's continued pretraining changes; None for a plan without it.

    Args:
        config: The plan.
        general: Its loss before, nats per token.
        domain: Its loss on the domain before; None where the predictor has none.
        generalist: The domain's loss of a run of as many tokens in all, of the plan's own mix.
        cluster: Its machines; None where it states too little of them.

    Raises:
        InputError: The plan lies too far beyond the runs of its law.
    """
    if config.continued_pretraining is None:
        return None
    stage, laws = config.continued_pretraining, continued_laws(config)
    rng = np.random.default_rng([config.seed, 27])
    params, tokens = _where(config, laws)
    beyond = _beyond(stage, laws, params, tokens)
    changes = (
        _proxy_changes(config, laws, params, tokens, rng)
        if stage.law == PROXIES
        else _changes(laws, params, tokens, rng)
    )
    within = largest_shares(changes.general, stage.most_general_rise)
    share = float(np.median(within)) if stage.share is None else stage.share
    of_domain, of_general = changes.at(share)
    before = general if domain is None else domain
    flops = stage.tokens * config.training_flops / config.data.tokens
    return ContinuedOutlook(
        domain=stage.domain,
        tokens=stage.tokens,
        share=share,
        share_stated=stage.share is not None,
        domain_ratio=Quantity.of_draws(np.exp(of_domain)),
        general_ratio=Quantity.of_draws(np.exp(of_general)),
        domain_loss_nats=_times(before, of_domain, rng),
        general_loss_nats=_times(general, of_general, rng),
        domain_loss_known=domain is not None,
        most_general_rise=stage.most_general_rise,
        largest_share=Quantity.of_draws(within),
        p_within_limit=float(np.mean(of_general - changes.general[0] <= math.log1p(stage.most_general_rise))),
        generalist_loss_nats=None if domain is None else generalist,
        machines=machine_time(flops, None, cluster),
        beyond_decades=beyond,
        source=laws.source,
        curve=_curve(changes),
        notes=tuple(_notes(config, laws, beyond, domain is not None, params, tokens)),
    )


def _stage(config: RunConfig) -> ContinuedConfig:
    if config.continued_pretraining is None:
        raise ValueError("the plan has no continued pretraining")
    return config.continued_pretraining


def _where(config: RunConfig, laws: ContinuedLaws) -> tuple[float, float]:
    """Size and tokens at which the law is read: the plan's own, but those of proxies at the same ratio of tokens.

    Proxies say what a few percent more tokens do to a model of their largest size, not what billions of tokens do.
    """
    stage = _stage(config)
    if stage.law != PROXIES:
        return config.model.params_total, stage.tokens
    return laws.domain.measured["params"][1], stage.tokens / config.data.tokens * laws.tokens_before


def _beyond(stage: ContinuedConfig, laws: ContinuedLaws, params: float, tokens: float) -> dict[str, float]:
    """How far it lies outside the fitted runs, in decades. Raises InputError where that is too far."""
    found = laws.domain.beyond_decades(params, tokens)
    for name, decades in found.items():
        if decades > _FARTHEST_DECADES:
            (least, most), value = laws.domain.measured[name], {"params": params, "tokens": tokens}[name]
            where = " (at the same ratio to data.tokens)" if stage.law == PROXIES else ""
            raise InputError(
                f"continued_pretraining: {format_count(value)} {name}{where} lie {decades:.1f} decades outside the "
                f"runs of its law ({format_count(least)} to {format_count(most)}); expected at most "
                f"{_FARTHEST_DECADES:g}: fit the law to larger runs (`simulate continued fit`)"
            )
    return {name: decades for name, decades in found.items() if decades > _BEYOND}


def _changes(laws: ContinuedLaws, params: float, tokens: float, rng: np.random.Generator) -> _Changes:
    """Logs of both ratios by share, with what is open of the law and of one run's luck."""
    domain = laws.domain.one_run(params, tokens, _SHARES, rng) / laws.domain_over_general(params)
    return _Changes(np.log(domain), np.log(laws.general.one_run(params, tokens, _SHARES, rng)))


def _proxy_changes(
    config: RunConfig, laws: ContinuedLaws, params: float, tokens: float, rng: np.random.Generator
) -> _Changes:
    """The same of our proxies, whose weights had never met the domain.

    A plan's have: what they gain is held against going on with as large a share of it as pretraining had, and is less.
    """
    own = _changes(laws, params, tokens, rng)
    n = own.general.shape[-1]
    share, log_sd = _met_before(config)
    met = np.minimum(share * np.exp(log_sd * spread_normal(n, rng)), 1.0)
    start = np.diagonal(laws.domain.ratio(params, tokens, met))
    gained = np.log(laws.domain.ratio(params, tokens, _SHARES) / start)
    less = _PROXY_GAIN * np.exp(_PROXY_GAIN_LOG_SD * spread_normal(n, rng))
    return _Changes(gained * less, own.general * np.exp(_PROXY_LOG_SD * spread_normal(n, rng)))


def _met_before(config: RunConfig) -> tuple[float, float]:
    """The share of the domain in pretraining, and one sd of its log; 0 where the plan states its mix."""
    mix = config.data.mix_of_tokens
    return (_MET, _MET_LOG_SD) if mix is None else (mix.get(_stage(config).domain, 0.0), 0.0)


def _curve(changes: _Changes) -> tuple[tuple[float, ...], ...]:
    """Every fifth share with both ratios, for a picture."""
    edges = [np.exp(np.quantile(one[::5], [0.5, 0.05, 0.95], axis=1)) for one in (changes.domain, changes.general)]
    return tuple(tuple(float(x) for x in row) for row in np.column_stack([_SHARES[::5], *edges[0], *edges[1]]))


def _times(before: Quantity, log_ratio: np.ndarray, rng: np.random.Generator) -> Quantity:
    """A loss times its change, which errs by itself; the median is the product of both medians."""
    shares = rng.permutation((np.arange(len(log_ratio)) + 0.5) / len(log_ratio))
    losses = np.array([before.quantile(float(share)) for share in shares])
    draws = losses * np.exp(log_ratio)
    centre = before.median * float(np.exp(np.median(log_ratio)))
    return Quantity.of_draws(draws * centre / float(np.median(draws)))


def _percent(ratio: Quantity) -> str:
    """A ratio as a change in percent with its 90 % interval."""
    low, high = ratio.intervals[0.9]
    middle, low, high = (100 * (one - 1) for one in (ratio.median, low, high))
    return f"{middle:+.1f} % (90 %: {low:+.1f} to {high:+.1f})"


def _notes(
    config: RunConfig, laws: ContinuedLaws, beyond: Mapping[str, float], known: bool, params: float, tokens: float
) -> list[str]:
    """What the figures rest on."""
    stage, stated = _stage(config), config.data.mix_of_tokens is not None
    said = [f"continued_pretraining.law {stage.law}: {laws.source}"]
    if stage.law == PROXIES:
        said.append(
            f"changes are those of proxies of {format_count(params)} parameters that went on for as large a part of "
            f"their pretraining ({format_count(tokens)} tokens) on {laws.domain_name}, which they had never met: what "
            "they gained is held against going on with as large a share of the domain as pretraining has, and halved, "
            "within a factor of 3 (a judgement); fit your own runs (`simulate continued fit`)"
        )
        if not stated:
            said.append("data.mix isn't stated: 1 % of pretraining is taken to be of the domain, within a factor of 10")
    if not known:
        said.append(f"the predictor has no loss on {stage.domain}: its main loss stands in for it before continuing")
    for name, decades in beyond.items():
        said.append(
            f"continued pretraining lies {format_decimals(decades, 1)} decades of {name} outside its law's runs"
        )
    return said
