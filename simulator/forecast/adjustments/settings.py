"""Batch size, learning rate and optimizer where no law of the predictor reads them, by published figures."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from ....core.columns import level_column, level_of
from ....core.units import format_count
from ....datasets.facts.optimisation import Cost, SettingCosts, setting_costs, takes_adam_rates
from ....datasets.facts.optimizers import ADAMW
from ...config.run_config import RunConfig
from ...laws import Columns
from ...predictor.loss_model import LossModel
from .effect import Adjustment, Effect, effect_of_cost

__all__ = ["Batch", "LearningRate", "Optimizer"]

_BATCH, _LR, _OPTIMIZER = "optim.batch_tokens", "optim.lr", "optim.optimizer"
_WORTH_SAYING = 0.2
"""Percent of loss."""


def _in_words(effect: Effect) -> str:
    middle, low, high = effect.percent()
    return f"{middle:+.2g} % of loss ({low:+.2g} to {high:+.2g})"


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


class Batch(_Setting):
    """Tokens per step: beyond the critical batch tokens are wasted; far below the usual one steps are too noisy."""

    name = "batch"
    places = (_BATCH,)
    read_as = ("batch_tokens", "steps")

    @override
    def columns(self, config: RunConfig) -> dict[str, float]:
        batch = config.optim.batch_tokens
        return {} if batch is None else {_BATCH: float(batch)}

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        if _BATCH not in stated or self.is_read(model):
            return None
        known = np.isfinite(stated[_BATCH])
        batch = np.where(known, stated[_BATCH], 1.0)
        tokens = columns["tokens"]
        cost = self.costs.batch(batch, tokens).where(known)
        facts = {
            "batch_tokens": float(batch[0]),
            "recommended_batch_tokens": float(self.costs.usual_batch(tokens)[0]),
            "critical_batch_tokens": float(self.costs.critical_batch(tokens)[0]),
        }
        return effect_of_cost(
            model, columns, cost, self.name, self.places, self.costs.sources("batch"), one_sided=True, facts=facts
        )

    @override
    def carried(self, own: Columns, columns: Columns) -> dict[str, np.ndarray]:
        if _BATCH not in own:
            return {}
        ratio = own[_BATCH] / self.costs.usual_batch(own["tokens"])
        return {_BATCH: ratio * self.costs.usual_batch(columns["tokens"])}

    @override
    def sentence(self, effect: Effect) -> str | None:
        facts = effect.facts or {}
        if effect.percent()[0] < _WORTH_SAYING:
            return None
        batch, usual, critical = (
            facts[name] for name in ("batch_tokens", "recommended_batch_tokens", "critical_batch_tokens")
        )
        where = f"{batch / critical:.2g} × the critical batch of such a run"
        if batch < usual:
            where = f"{batch / usual:.2g} × what such runs usually take"
        return (
            f"optim.batch_tokens: a batch of {format_count(batch)} tokens is {where}: {_in_words(effect)} against "
            f"about {format_count(usual)} (published figures, no run of this predictor)"
        )


class LearningRate(_Setting):
    """The peak learning rate of AdamW and its kin: a flat basin around an optimum that moves with size and data."""

    name = "learning_rate"
    places = (_LR,)
    read_as = ("lr",)

    @override
    def columns(self, config: RunConfig) -> dict[str, float]:
        lr = config.optim.lr
        return {} if lr is None or not takes_adam_rates(config.optim.optimizer) else {_LR: float(lr)}

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        if _LR not in stated or self.is_read(model):
            return None
        known = np.isfinite(stated[_LR])
        lr = np.where(known, stated[_LR], 1.0)
        best = self._best(columns, stated)
        facts = {
            "lr": float(lr[0]),
            "recommended_lr": float(best[0]),
            "may_diverge": float(self.costs.may_diverge(lr, best)[0]),
        }
        cost = self.costs.learning_rate(lr, best).where(known)
        return effect_of_cost(
            model, columns, cost, self.name, self.places, self.costs.sources("lr"),
            one_sided=True, facts=facts,
        )  # fmt: skip

    @override
    def carried(self, own: Columns, columns: Columns) -> dict[str, np.ndarray]:
        if _LR not in own:
            return {}
        there = Batch(self.costs).carried(own, columns)
        return {_LR: own[_LR] / self._best(own, own) * self._best(columns, there)}

    def _best(self, columns: Columns, stated: Columns) -> np.ndarray:
        """The recommended rate of runs, at the batch that they state or else the usual one, `(n,)`."""
        batch = self.costs.usual_batch(columns["tokens"])
        if _BATCH in stated:
            batch = np.where(np.isfinite(stated[_BATCH]), stated[_BATCH], batch)
        return self.costs.best_lr(columns["params"], columns["tokens"], batch)

    @override
    def sentence(self, effect: Effect) -> str | None:
        facts = effect.facts or {}
        if effect.percent()[0] < _WORTH_SAYING:
            return None
        lr, best = facts["lr"], facts["recommended_lr"]
        often = "; many runs diverge that far above it" if facts["may_diverge"] else ""
        return (
            f"optim.lr: {lr:.2g} is {lr / best:.2g} × what suits such a run (about {best:.2g} with AdamW, within a "
            f"factor of two): {_in_words(effect)}{often} (published figures, no run of this predictor)"
        )


class Optimizer(_Setting):
    """What another optimizer than AdamW gains in tokens; it shrinks with size."""

    name = "optimizer"
    places = (_OPTIMIZER,)
    read_as = ("optimizer",)

    @override
    def columns(self, config: RunConfig) -> dict[str, float]:
        name = config.optim.optimizer
        return (
            {}
            if name == ADAMW or self.costs.optimizer(name, np.ones(1)) is None
            else {level_column(_OPTIMIZER, name): 1.0}
        )

    @override
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        if self.is_read(model):
            return None
        log_tokens, sd = np.zeros((2, len(columns["params"])))
        kind = None
        for column, values in stated.items():
            place, name = level_of(column) or ("", "")
            gain = self.costs.optimizer(name, columns["params"]) if place == _OPTIMIZER else None
            if gain is None:
                continue
            has = values == 1.0
            kind = gain[0]
            log_tokens, sd = np.where(has, gain[1].log_tokens, log_tokens), np.where(has, gain[1].sd, sd)
        if kind is None:
            return None
        facts = {"tokens_factor": float(np.exp(-log_tokens[0]))}
        return effect_of_cost(
            model, columns, Cost(log_tokens, sd), self.name, self.places, self.costs.sources(kind), facts=facts
        )

    @override
    def sentence(self, effect: Effect) -> str | None:
        factor = (effect.facts or {})["tokens_factor"]
        return (
            f"optim.optimizer: its tokens count about {factor:.2f} times those of AdamW at this size: "
            f"{_in_words(effect)} (published figures, no run of this predictor)"
        )
