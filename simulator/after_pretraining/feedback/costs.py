"""What a feedback stage costs: labels in money and hours, FLOPs of reward model and policy.

Kaplan et al. 2020 (arXiv:2001.08361, section 2.1): 2 FLOPs per parameter and token forward, 6 with the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....core.quantity import spread_normal
from ....datasets.facts.after_pretraining.feedback import (
    EPISODES,
    LABEL_LOG_SD,
    LABEL_MINUTES,
    LABEL_MINUTES_LOG_SD,
    LABEL_USD,
    WEEKLY_HOURS,
)
from ...config.after_pretraining.feedback import FeedbackConfig

__all__ = ["LabelCosts", "label_costs", "reward_flops", "serving_factor", "stage_flops"]

_FORWARD, _TRAIN = 2.0, 6.0
_ANSWERS = 2  # in a comparison
_MIN_PER_H = 60.0
_DAYS_PER_WEEK = 7.0


@dataclass(frozen=True)
class LabelCosts:
    """Money, hours of work and, where labellers are stated, days of labels; draws `(n,)` behind each."""

    usd: np.ndarray
    hours: np.ndarray
    days: np.ndarray
    """Of wall clock; 0 where the plan states no labellers."""


def label_costs(stage: FeedbackConfig, n: int, rng: np.random.Generator) -> LabelCosts:
    """What the comparisons of a stage cost, n draws.

    >>> stage = FeedbackConfig(method="dpo", comparisons="12k", label_usd=2, label_minutes=3, labellers=10)
    >>> found = label_costs(stage, 2, np.random.default_rng(0))
    >>> found.usd.tolist(), found.hours.tolist(), found.days.tolist()
    ([24000.0, 24000.0], [600.0, 600.0], [14.0, 14.0])
    """
    each_usd = _drawn(stage.label_usd, LABEL_USD, LABEL_LOG_SD, n, rng)
    each_minutes = _drawn(stage.label_minutes, LABEL_MINUTES, LABEL_MINUTES_LOG_SD, n, rng)
    hours = stage.comparisons * each_minutes / _MIN_PER_H
    days = np.zeros(n) if stage.labellers is None else hours / (stage.labellers * WEEKLY_HOURS) * _DAYS_PER_WEEK
    return LabelCosts(stage.comparisons * each_usd, hours, days)


def _drawn(stated: float | None, usual: float, log_sd: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """What is stated, n times; else draws around what is usual."""
    drawn = usual * np.exp(log_sd * spread_normal(n, rng))
    return drawn if stated is None else np.full(n, float(stated))


def reward_flops(stage: FeedbackConfig, reward_params: float) -> float:
    """FLOPs of training the reward model on both answers of every comparison once; 0 for dpo, which has none.

    >>> reward_flops(FeedbackConfig(method="ppo", comparisons="1k", answer_tokens=100), 1e9)
    1200000000000000.0
    """
    if stage.method == "dpo":
        return 0.0
    return _TRAIN * reward_params * stage.comparisons * _ANSWERS * stage.answer_tokens


def stage_flops(stage: FeedbackConfig, params: float, reward_params: float) -> float:
    """FLOPs of moving the policy: none of best_of_n, whose cost is that of every answer served.

    dpo trains on both answers and reads them with the frozen start. ppo has the policy write its answers, the start and
    the reward model read them, then trains policy and value model, which is as large as the reward model.
    """
    if stage.method == "best_of_n":
        return 0.0
    if stage.method == "dpo":
        return (_TRAIN + _FORWARD) * params * stage.comparisons * _ANSWERS * stage.answer_tokens
    tokens = (EPISODES if stage.episodes is None else stage.episodes) * stage.answer_tokens
    return tokens * (_FORWARD * (2 * params + reward_params) + _TRAIN * (params + reward_params))


def serving_factor(samples: float, params: float, reward_params: float) -> float:
    """How much more an answer costs to serve where it is the best of several, read by the reward model.

    >>> serving_factor(16, 7e9, 7e9)
    32.0
    """
    return samples * (params + reward_params) / params
