"""What batch size, learning rate and optimizer cost or gain in tokens, by published figures and public tables.

The figures are in `facts/optimisation.json`, whose head says what they mean and where they are from. A cost is the
natural log of the factor by which a run's tokens count less than those of a well-tuned run: 0.69 stands for half.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .catalogue import read_facts
from .optimizers import ADAMW, optimizer_states

__all__ = ["Cost", "SettingCosts", "plain_optimizer", "setting_costs", "takes_adam_rates"]

_ADAM_RATES = (ADAMW, "adamw8bit", "adam_mini", "nadam", "cautious", "adamc", "cadamc", "schedule_free")


@dataclass(frozen=True)
class Cost:
    """The log of the factor by which tokens count less, `(n,)`, and one sd of it; a gain is negative."""

    log_tokens: np.ndarray
    sd: np.ndarray

    def against(self, other: Cost) -> Cost:
        """What this costs more than another setting, whose error is the same one."""
        return Cost(self.log_tokens - other.log_tokens, np.abs(self.sd - other.sd))

    def where(self, known: np.ndarray) -> Cost:
        """The same for some runs `(n,)`, nothing for the others."""
        return Cost(np.where(known, self.log_tokens, 0.0), np.where(known, self.sd, 0.0))


@dataclass(frozen=True)
class SettingCosts:
    """The figures, as they are in the file, and what follows from them."""

    facts: Mapping[str, Any]

    def sources(self, setting: str) -> tuple[str, ...]:
        """Where the figures on `batch`, `lr` or a kind of optimizers are from."""
        own = self.facts.get(setting) or self.facts["optimizers"]["kinds"][setting]
        return tuple(self.facts["sources"][name] for name in own["sources"])

    @property
    def worth_log_sd(self) -> float:
        """One sd of the log of what a share of the tokens is worth in loss, beyond what a law says."""
        return float(self.facts["worth_of_tokens_log_sd"])

    def usual_batch(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens per step that well-tuned runs of so many tokens take, `(n,)`.

        >>> (setting_costs().usual_batch(np.array([1e10, 2e12])) / 1e6).round(1)
        array([0.4, 4.4])
        """
        law = self.facts["batch"]["usual"]
        return law["coefficient"] * np.asarray(tokens, dtype=float) ** law["exponent"]

    def critical_batch(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens per step at which a run needs twice the tokens of one with small steps, `(n,)`.

        McCandlish et al. 2018, eq. 2.11: tokens / (1 + batch / critical batch) is what they count.

        >>> (setting_costs().critical_batch(np.array([1e10, 2e12])) / 1e6).round(0)
        array([ 2., 29.])
        """
        law = self.facts["batch"]["critical"]
        return law["coefficient"] * np.asarray(tokens, dtype=float) ** law["exponent"]

    def batch(self, batch: np.ndarray, tokens: np.ndarray) -> Cost:
        """What a batch costs against the usual one: tokens above it, and noise far below it.

        >>> setting_costs().batch(np.array([4e6, 32e6]), np.array([2e12, 2e12])).log_tokens.round(1)
        array([0. , 0.6])
        """
        facts = self.facts["batch"]
        batch, usual, critical = np.asarray(batch, dtype=float), self.usual_batch(tokens), self.critical_batch(tokens)
        share, at_usual = batch / critical, usual / critical
        large = np.clip(np.log1p(share) - np.log1p(at_usual), 0.0, self.facts["lr"]["most"])
        by_critical = np.maximum(share / (1.0 + share) - at_usual / (1.0 + at_usual), 0.0)
        below = np.maximum(np.log(usual / batch), 0.0)
        small, of_small = self._bowl(below, facts["small"]["curvature"], facts["small"]["flat"])
        return Cost(
            large + small, np.hypot(facts["critical"]["log_sd"] * by_critical, facts["small"]["log_sd"] * of_small)
        )

    def best_lr(self, params: np.ndarray, tokens: np.ndarray, batch: np.ndarray) -> np.ndarray:
        """Peak learning rate of AdamW that suits params (without embeddings), tokens and batch, `(n,)`.

        >>> setting_costs().best_lr(np.array([6.5e9]), np.array([2e12]), np.array([4e6])).round(4)
        array([0.0007])
        """
        law = self.facts["lr"]
        params, tokens = np.asarray(params, dtype=float), np.asarray(tokens, dtype=float)
        at_usual = law["coefficient"] * params ** law["by_params"] * tokens ** law["by_tokens"]
        return at_usual * np.minimum(np.asarray(batch, dtype=float) / self.usual_batch(tokens), 1.0) ** law["by_batch"]

    def learning_rate(self, lr: np.ndarray, best: np.ndarray, share: np.ndarray) -> Cost:
        """What a learning rate costs against the best: nothing near it, then ever more.

        Small steps cost the more, the fewer there are: their cost grows with 1 + B / B_critical.

        Args:
            lr: Peak learning rates `(n,)`.
            best: What suits the runs.
            share: Batch over critical batch.
        """
        law = self.facts["lr"]
        off = np.log(np.asarray(lr, dtype=float) / best)
        curvature = np.where(off > 0, law["above"], law["below"] * (1.0 + share))
        cost, slope = self._bowl(np.abs(off), curvature, law["flat"])
        return Cost(cost, law["log_sd"] * slope)

    def may_diverge(self, lr: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Whether a learning rate is so far above the best that many runs diverge, `(n,)`."""
        return np.log(np.asarray(lr, dtype=float) / best) > self.facts["lr"]["may_diverge"]

    def optimizer(self, name: str, params: np.ndarray) -> tuple[str, Cost] | None:
        """The kind of an optimizer and its gain over AdamW, a negative cost `(n,)`; None for AdamW and unknown ones.

        >>> kind, gain = setting_costs().optimizer("muon", np.array([1.3e8, 1.2e9]))
        >>> kind, np.exp(-gain.log_tokens).round(1)
        ('matrix', array([1.2, 1.1]))
        """
        facts, plain = self.facts["optimizers"], plain_optimizer(name)
        for kind, law in facts["kinds"].items():
            if plain in law["names"]:
                params = np.asarray(params, dtype=float)
                gain = law["log_gain"] * (params / facts["params_at"]) ** facts["by_size"]
                gain = np.minimum(gain, facts["most_log_gain"])
                return kind, Cost(-gain, np.full(params.shape, law["sd"]))
        return None

    def _bowl(self, off: np.ndarray, curvature: float | np.ndarray, flat: float) -> tuple[np.ndarray, np.ndarray]:
        """The cost of being off the best by a log, and how it would change were the best elsewhere.

        It levels off, since what learns nothing doesn't get worse; within `flat` nothing is lost, but may be.
        """
        most = self.facts["lr"]["most"]
        bowl = curvature * np.maximum(off - flat, 0.0) ** 2
        return bowl / (1.0 + bowl / most), 2.0 * curvature * off / (1.0 + bowl / most) ** 2


def takes_adam_rates(name: str) -> bool:
    """Whether the learning rates of an optimizer are those of AdamW."""
    return plain_optimizer(name) in _ADAM_RATES


def plain_optimizer(name: str) -> str:
    """The name by which an optimizer is known, else its own in lower case without separators."""
    known = optimizer_states(name)
    return re.sub(r"[^a-z0-9]", "", name.lower()) if known is None else known.name


@cache
def setting_costs() -> SettingCosts:
    """The figures that ship."""
    return SettingCosts(read_facts("optimisation.json"))
