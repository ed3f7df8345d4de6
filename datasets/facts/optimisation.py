"""What batch size, learning rate and optimizer cost or gain in tokens, by published figures and public tables.

The figures are in `facts/optimisation.json`, whose head says what they mean and where they are from. A cost is the
natural log of the factor by which a run's tokens count less than those of a well-tuned run: 0.69 stands for half.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .catalogue import read_facts
from .optimizers import ADAMW, optimizer_states

__all__ = [
    "Cost",
    "batch_cost",
    "best_lr",
    "critical_batch",
    "may_diverge",
    "optimizer_gain",
    "reads_adam_lr",
    "settings_sources",
    "usual_batch",
    "worth_log_sd",
]


@dataclass(frozen=True)
class Cost:
    """The log of the factor by which tokens count less, `(n,)`, and one sd of it; a gain is negative."""

    log_tokens: np.ndarray
    sd: np.ndarray


@cache
def _facts() -> dict[str, Any]:
    return read_facts("optimisation.json")


def settings_sources(setting: str) -> tuple[str, ...]:
    """Where the figures on `batch`, `lr` or a kind of optimizers (`matrix`, `scalar`) are from."""
    facts = _facts()
    of_setting = facts.get(setting) or facts["optimizers"][setting]
    return tuple(facts["sources"][name] for name in of_setting["sources"])


def worth_log_sd() -> float:
    """One standard deviation of the log of what a share of the tokens is worth in loss, beyond what a law says."""
    return float(_facts()["worth_of_tokens_log_sd"])


def usual_batch(tokens: np.ndarray) -> np.ndarray:
    """Tokens per step that well-tuned runs of so many tokens take.

    >>> [round(float(usual_batch(np.array(tokens))) / 1e6, 1) for tokens in (1e10, 2e12)]
    [0.4, 4.4]
    """
    law = _facts()["batch"]["usual"]
    return law["coefficient"] * np.asarray(tokens, dtype=float) ** law["exponent"]


def critical_batch(tokens: np.ndarray) -> np.ndarray:
    """Tokens per step at which a run needs twice the tokens of one with small steps (McCandlish et al. 2018).

    >>> [round(float(critical_batch(np.array(tokens))) / 1e6, 1) for tokens in (1e10, 2e12)]
    [2.6, 29.8]
    """
    law = _facts()["batch"]["critical"]
    return law["coefficient"] * np.asarray(tokens, dtype=float) ** law["exponent"]


def batch_cost(batch: np.ndarray, tokens: np.ndarray) -> Cost:
    """What a batch costs against the usual one: nothing near it, tokens above it, and tuning far below it."""
    facts = _facts()["batch"]
    batch, usual, critical = np.asarray(batch, dtype=float), usual_batch(tokens), critical_batch(tokens)
    share, at_usual = batch / critical, usual / critical
    large = np.maximum(np.log1p(share) - np.log1p(at_usual), 0.0)
    open_ = np.maximum(share / (1.0 + share) - at_usual / (1.0 + at_usual), 0.0)
    below = np.maximum(np.log(usual / batch) - facts["small"]["flat"], 0.0)
    small = facts["small"]["curvature"] * below**2
    return Cost(large + small, np.hypot(facts["critical"]["log_sd"] * open_, facts["small"]["log_sd"] * small))


def best_lr(params: np.ndarray, tokens: np.ndarray, batch: np.ndarray | None = None) -> np.ndarray:
    """Peak learning rate of AdamW that suits a size, its tokens and its batch (by default the usual one)."""
    law = _facts()["lr"]
    tokens = np.asarray(tokens, dtype=float)
    found = law["coefficient"] * np.asarray(params, dtype=float) ** law["by_params"] * tokens ** law["by_tokens"]
    return found if batch is None else found * (np.asarray(batch, dtype=float) / usual_batch(tokens)) ** law["by_batch"]


def lr_cost(lr: np.ndarray, best: np.ndarray) -> Cost:
    """What a learning rate costs against the best: nothing near it, more above it than below, at most so much."""
    law = _facts()["lr"]
    off = np.log(np.asarray(lr, dtype=float) / best)
    curvature = np.where(off > 0, law["above"], law["below"])
    beyond = np.maximum(np.abs(off) - law["flat"], 0.0)
    cost = curvature * beyond**2
    cost /= 1.0 + cost / law["most"]
    return Cost(cost, 2.0 * curvature * beyond * law["log_sd"] / (1.0 + curvature * beyond**2 / law["most"]) ** 2)


def may_diverge(lr: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Whether a learning rate is so far above the best that many runs diverge."""
    return np.log(np.asarray(lr, dtype=float) / best) > _facts()["lr"]["may_diverge"]


def _kind_of(name: str) -> str | None:
    known = optimizer_states(name)
    plain = (name if known is None else known.name).lower()
    kinds = _facts()["optimizers"]
    return next((kind for kind in ("matrix", "scalar") if plain in kinds[kind]["names"]), None)


def reads_adam_lr(name: str) -> bool:
    """Whether the learning rates of an optimizer are those of AdamW."""
    known = optimizer_states(name)
    return (ADAMW if known is None else known.name) in (ADAMW, "adamw8bit", "adam_mini", "nadam", "cautious")


def optimizer_gain(name: str, params: np.ndarray) -> tuple[str, Cost] | None:
    """The kind of an optimizer and what it gains over AdamW (a negative cost); None for AdamW and unknown ones.

    >>> kind, gain = optimizer_gain("muon", np.array([1.3e8, 1.2e9]))
    >>> kind, np.exp(-gain.log_tokens).round(2)
    ('matrix', array([1.42, 1.15]))
    """
    kind = _kind_of(name)
    if kind is None:
        return None
    facts = _facts()["optimizers"]
    law = facts[kind]
    params = np.asarray(params, dtype=float)
    return kind, Cost(
        -law["log_gain"] * (params / facts["params_at"]) ** law["by_size"], np.full(params.shape, law["sd"])
    )
