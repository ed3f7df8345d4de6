"""Batch size, learning rate and optimizer where no law of the predictor reads them, by published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from ....core.columns import level_column, level_of
from ....core.units import format_count
from ....datasets.facts.optimisation import Cost, SettingCosts, plain_optimizer, setting_costs, takes_adam_rates
from ....datasets.facts.optimizers import ADAMW
from ...config.run_config import RunConfig
from ...laws import Columns
from ...predictor.loss_model import LossModel
from .effect import Adjustment, Effect, effect_of_cost

__all__ = ["Batch", "LearningRate", "Optimizer"]

_BATCH, _LR, _OPTIMIZER = "optim.batch_tokens", "optim.lr", "optim.optimizer"
_LR_PARAMS = f"{_LR}.params"
_OF_RUNS = ".of_runs"
"""Follows the name of a column: the value that the predictor's own runs had, and that was nearest to the plan's."""
_PUBLISHED = "(published figures, no run of this predictor)"
_WORTH_SAYING = 0.2
"""Percent of loss."""


def _in_words(effect: Effect) -> str:
    middle, low, high = (f"{'+' * (value > 0)}{_plain(value)}" for value in effect.percent())
    return f"{middle} % of loss ({low} to {high})"


def _plain(value: float) -> str:
    """Two figures, and never an exponent for a large number."""
    return f"{value:.2g}" if abs(value) < 99.5 else f"{value:,.0f}"


class _Setting(Adjustment):
    """One of the settings, by published figures."""

    read_as: tuple[str, ...]
    """Columns of laws that are about it."""

    def __init__(self, costs: SettingCosts | None = None) -> None:
        self.costs = setting_costs() if costs is None else costs

    @override
    def is_read(self, model: LossModel) -> bool:
        law = model.fit.law
        return not {*law.columns, *law.optional, *law.levels}.isdisjoint(self.read_as)


def _number(value: float | None, place: str, of_runs: Any) -> dict[str, float]:
    """The columns of a number, given the lowest and the highest of the predictor's own runs; none if it is theirs."""
    if value is None:
        return {}
    if not isinstance(of_runs, Sequence):
        return {place: float(value)}
    low, high = (float(end) for end in of_runs)
    nearest = min(max(float(value), low), high)
    return {} if nearest == value else {place: float(value), place + _OF_RUNS: nearest}


class Batch(_Setting):
    """Tokens per step: beyond the critical batch tokens are wasted; far below the usual one steps are too noisy."""

    name = "batch"
    places = (_BATCH,)
    read_as = ("batch_tokens", "steps")

    @override
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        return _number(config.optim.batch_tokens, _BATCH, of_runs.get("batch_tokens"))

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        if _BATCH not in stated or self.is_read(model):
            return None
        known = np.isfinite(stated[_BATCH])
        batch = np.where(known, stated[_BATCH], 1.0)
        tokens = columns["tokens"]
        cost = self.costs.batch(batch, tokens)
        if _BATCH + _OF_RUNS in stated:
            own = np.where(known, stated[_BATCH + _OF_RUNS], 1.0)
            cost = cost.against(self.costs.batch(own, tokens))
        cost = cost.where(known)
        facts = {
            "batch_tokens": float(batch[0]),
            "recommended_batch_tokens": float(self.costs.usual_batch(tokens)[0]),
            "critical_batch_tokens": float(self.costs.critical_batch(tokens)[0]),
        }
        return effect_of_cost(
            model, columns, cost, self.name, self.places, self.costs.sources("batch"), one_sided=True, facts=facts
        )

    @override
    def sentence(self, effect: Effect) -> str | None:
        facts = effect.facts or {}
        if effect.percent()[0] < _WORTH_SAYING:
            return None
        batch, usual, critical = (
            facts[name] for name in ("batch_tokens", "recommended_batch_tokens", "critical_batch_tokens")
        )
        where = f"{_plain(batch / critical)} × the critical batch of such a run"
        if batch < usual:
            where = f"{batch / usual:.2g} × what such runs usually take"
        return (
            f"optim.batch_tokens: a batch of {format_count(batch)} tokens is {where}: {_in_words(effect)} against "
            f"about {format_count(usual)} {_PUBLISHED}"
        )


class LearningRate(_Setting):
    """The peak learning rate of AdamW and its kin: a flat basin around an optimum that moves with size and data."""

    name = "learning_rate"
    places = (_LR,)
    read_as = ("lr",)

    @override
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        if not takes_adam_rates(config.optim.optimizer):
            return {}
        found = _number(config.optim.lr, _LR, of_runs.get("lr"))
        model = config.model
        if found and model.num_experts is not None and model.num_experts > 1:
            found[_LR_PARAMS] = model.params_total - (model.params_embedding or 0.0)
        return found

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        if _LR not in stated or self.is_read(model):
            return None
        known = np.isfinite(stated[_LR])
        lr = np.where(known, stated[_LR], 1.0)
        best, share = self._best(columns, stated), self._share(columns, stated)
        facts = {
            "lr": float(lr[0]),
            "recommended_lr": float(best[0]),
            "may_diverge": float(self.costs.may_diverge(lr, best)[0]),
        }
        cost = self.costs.learning_rate(lr, best, share)
        if _LR + _OF_RUNS in stated:
            own = np.where(known, stated[_LR + _OF_RUNS], 1.0)
            cost = cost.against(self.costs.learning_rate(own, best, share))
        cost = cost.where(known)
        return effect_of_cost(
            model, columns, cost, self.name, self.places, self.costs.sources("lr"),
            one_sided=True, facts=facts,
        )  # fmt: skip

    @override
    def carried(self, own: Columns, columns: Columns) -> dict[str, np.ndarray]:
        """Rates that move with the size as the best one does; what the tokens would ask for is the plan's to say."""
        if _LR not in own:
            return {}
        size = columns["params"] / own["params"]
        sizes = {name: own[name] * size for name in (_LR_PARAMS,) if name in own}
        there = {"params": columns["params"], "tokens": np.broadcast_to(own["tokens"], size.shape)}
        factor = self._best(there, {**own, **sizes}) / self._best(own, own)
        return sizes | {name: own[name] * factor for name in (_LR, _LR + _OF_RUNS) if name in own}

    def _batch(self, columns: Columns, stated: Columns) -> np.ndarray:
        """The batch that runs state, or else the usual one, `(n,)`."""
        batch = self.costs.usual_batch(columns["tokens"])
        return np.where(np.isfinite(stated[_BATCH]), stated[_BATCH], batch) if _BATCH in stated else batch

    def _best(self, columns: Columns, stated: Columns) -> np.ndarray:
        """The recommended rate of runs, `(n,)`; that of experts goes by all of their parameters (Li et al. 2025)."""
        params = columns["params"]
        if _LR_PARAMS in stated:
            params = np.where(np.isfinite(stated[_LR_PARAMS]), stated[_LR_PARAMS], params)
        return self.costs.best_lr(params, columns["tokens"], self._batch(columns, stated))

    def _share(self, columns: Columns, stated: Columns) -> np.ndarray:
        """Their batch over the critical one, `(n,)`."""
        return self._batch(columns, stated) / self.costs.critical_batch(columns["tokens"])

    @override
    def sentence(self, effect: Effect) -> str | None:
        facts = effect.facts or {}
        if effect.percent()[0] < _WORTH_SAYING:
            return None
        lr, best = facts["lr"], facts["recommended_lr"]
        often = "; many runs diverge that far above it" if facts["may_diverge"] else ""
        return (
            f"optim.lr: {lr:.2g} is {_plain(lr / best)} × what suits such a run (about {best:.2g} with AdamW, within a "
            f"factor of two): {_in_words(effect)}{often} {_PUBLISHED}"
        )


class Optimizer(_Setting):
    """What another optimizer than AdamW gains in tokens; it shrinks with size."""

    name = "optimizer"
    places = (_OPTIMIZER,)
    read_as = ("optimizer",)

    @override
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        name, own = config.optim.optimizer, str(of_runs.get("optimizer", ADAMW))
        if plain_optimizer(name) == plain_optimizer(own):
            return {}
        named = {_OPTIMIZER: name, _OPTIMIZER + _OF_RUNS: own}
        return {
            level_column(place, other): 1.0
            for place, other in named.items()
            if self.costs.optimizer(other, np.ones(1)) is not None
        }

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        if self.is_read(model):
            return None
        n = len(columns["params"])
        log_tokens, variance, kinds = np.zeros(n), np.zeros(n), []
        for column, values in stated.items():
            place, name = level_of(column) or ("", "")
            found = self.costs.optimizer(name, columns["params"]) if place.startswith(_OPTIMIZER) else None
            if found is None:
                continue
            has = np.asarray(values == 1.0, dtype=float)
            kinds.append(found[0])
            log_tokens += has * found[1].log_tokens * (-1.0 if place.endswith(_OF_RUNS) else 1.0)
            variance += has * found[1].sd ** 2
        if not kinds:
            return None
        facts = {"tokens_factor": float(np.exp(-log_tokens[0]))}
        cost = Cost(log_tokens, np.sqrt(variance))
        return effect_of_cost(model, columns, cost, self.name, self.places, self.costs.sources(kinds[0]), facts=facts)

    @override
    def sentence(self, effect: Effect) -> str | None:
        factor = (effect.facts or {})["tokens_factor"]
        return (
            f"optim.optimizer: its tokens count about {factor:.2f} times those of the predictor's runs at this size: "
            f"{_in_words(effect)} {_PUBLISHED}"
        )
