"""`Adjustment`: one thing that a plan states and no law of its predictor reads, and what it does to the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....datasets.facts.optimisation import Cost, setting_costs
from ...config.run_config import RunConfig
from ...laws import Columns
from ...predictor.loss_model import LossModel
from ...predictor.prediction import LossPrediction

__all__ = ["NORMAL_90", "Adjustment", "Effect", "adjusted", "effect_of_cost"]

NORMAL_90 = 1.6449
_SAME = 1e-12


@dataclass(frozen=True)
class Effect:
    """What one thing does to the loss of n runs: the shift of log loss and one standard deviation of it, `(n,)` each.

    The errors of one effect are the same error in all runs: two plans that state the same share it whole.
    """

    name: str
    places: tuple[str, ...]
    """Where the plan states it."""
    log_loss: np.ndarray
    sd: np.ndarray
    sources: tuple[str, ...]
    one_sided: bool = False
    """Whether it can only do harm: then its interval doesn't cross zero."""
    facts: Mapping[str, float] | None = None
    """Further figures on a single run: the recommended value, say."""

    def percent(self, row: int = 0) -> tuple[float, float, float]:
        """The shift of a run's loss and its 90 % interval, percent."""
        shift, width = float(self.log_loss[row]), NORMAL_90 * float(self.sd[row])
        if self.one_sided and shift > 0:
            ends = shift * np.exp(-width / shift), shift + width
        else:
            ends = shift - width, shift + width
        middle, low, high = (100.0 * np.expm1(np.minimum(end, 1.0)) for end in (shift, *ends))
        return float(middle), float(low), float(high)

    def to_dict(self, sentence: str | None = None) -> dict[str, Any]:
        """Plain values for JSON, of a single run."""
        middle, low, high = self.percent()
        return {
            "name": self.name,
            "places": list(self.places),
            "loss_percent": middle,
            "loss_percent_90": [low, high],
            **(self.facts or {}),
            "sentence": sentence,
            "sources": list(self.sources),
        }


class Adjustment(ABC):
    """One thing that plans state. Members are listed in `adjustments.ADJUSTMENTS`."""

    name: str
    places: tuple[str, ...]
    """Where plans state it."""

    def is_known(self) -> bool:
        """Whether anything is known of it at all; without, it is as if it weren't there."""
        return True

    def is_read(self, model: LossModel) -> bool:
        """Whether a law reads it, so that published figures have nothing to say."""
        return False

    @abstractmethod
    def columns(self, config: RunConfig, of_runs: Mapping[str, Any]) -> dict[str, float]:
        """What a plan states of it, as numbers by the place in the plan; empty where it states nothing.

        Names begin with a section of the plan (`optim.lr`), so that no column of a law is meant.

        Args:
            config: The plan.
            of_runs: With which settings the predictor's own runs were trained: `batch_tokens` and `lr` (the lowest and
                the highest), `optimizer`, as far as they say it. The plan is held against these.
        """

    @abstractmethod
    def effect(self, model: LossModel, columns: Columns, stated: Columns) -> Effect | None:
        """The effect on n runs; None where a law reads it, or nothing is known of it.

        Args:
            model: The fitted law.
            columns: What the law reads, each `(n,)`.
            stated: What plans state of all adjustments, each `(n,)`; NaN for a plan that states nothing.
        """

    def carried(self, own: Columns, columns: Columns) -> dict[str, np.ndarray]:
        """What a plan states, carried over to runs `(n,)` of other sizes; by default as it is.

        Args:
            own: What the plan states of all adjustments, and its `params` and `tokens`, each `(1,)`.
            columns: `params` and `tokens` of the runs.
        """
        n = len(columns["params"])
        mine = {name: values for name, values in own.items() if name.startswith(self.places)}
        return {name: np.full(n, values[0]) for name, values in mine.items()}

    def sentence(self, effect: Effect) -> str | None:
        """What is to be said of a single run, in plain words; None for nothing worth saying."""
        return None


def effect_of_cost(
    model: LossModel, columns: Columns, cost: Cost, name: str, places: tuple[str, ...], sources: tuple[str, ...],
    *, one_sided: bool = False, facts: Mapping[str, float] | None = None, of_text: bool = False,
) -> Effect | None:  # fmt: skip
    """The effect of a cost in tokens: what the law says of a run with that many fewer.

    With `of_text` each token of the text counts less, so that there are fewer distinct ones too, and epochs stay what
    they are. None for a law that doesn't know how the loss changes with tokens.
    """
    if "tokens" not in model.fit.law.member.uses:
        return None
    n = len(columns["params"])
    log_cost = np.concatenate([np.zeros(n), cost.log_tokens, cost.log_tokens + cost.sd])
    three = {key: np.tile(values, 3) for key, values in columns.items()}
    for key in three:
        if key == "tokens" or (of_text and key.startswith("unique_tokens")):
            three[key] = three[key] * np.exp(-log_cost)
    base, shifted, further = np.split(model.fit.log_loss(three), 3)
    shift = shifted - base
    sd = np.hypot(further - shifted, setting_costs().worth_log_sd * shift)
    return Effect(name, places, shift, sd, sources, one_sided, facts)


def adjusted(prediction: LossPrediction, effects: Sequence[Effect]) -> LossPrediction:
    """A prediction with the effects in it; the very same one without any."""
    if not effects:
        return prediction
    # a sd in units of `scale`, so that the 90 % interval is what both give together
    unit = NORMAL_90 / prediction.widths(np.array([0.9]))[:, 0]
    own = np.array([effect.sd for effect in effects]) * unit
    scale = np.sqrt(prediction.scale**2 + (own**2).sum(axis=0))
    found = replace(
        prediction, log_loss=prediction.log_loss + sum(effect.log_loss for effect in effects), scale=scale
    )  # fmt: skip
    if prediction.correlation is None:
        return found
    covariance = prediction.correlation * np.outer(prediction.scale, prediction.scale) + own.T @ own
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    never_above = prediction.never_above
    if never_above is not None:
        never_above = never_above & _no_worse(prediction, effects)
    return replace(found, correlation=correlation, never_above=never_above)


def _no_worse(prediction: LossPrediction, effects: Sequence[Effect]) -> np.ndarray:
    """Whether the settings of run i leave it known that it can't end above run j, `(n, n)`.

    What can only do harm must do no more of it. What may do either must be less, by the far end of its interval, than
    what the larger run gains by its size.
    """
    gain = prediction.log_loss - prediction.log_loss[:, None]
    no_worse = np.ones(gain.shape, dtype=bool)
    might_cost = np.zeros(gain.shape)
    for effect in effects:
        more = effect.log_loss[:, None] - effect.log_loss
        if effect.one_sided:
            no_worse &= more <= _SAME
        else:
            might_cost += more + NORMAL_90 * np.abs(effect.sd[:, None] - effect.sd)
    return no_worse & (might_cost <= np.maximum(gain, 0.0) + _SAME)
