"""Chances of a plan's targets, which of them is in doubt, and its equally likely outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.quantity import equal_shares
from ...core.summary import percent
from ...core.units import format_amount, format_count
from ..cluster.cluster_estimate import ClusterEstimate
from ..config.run_config import RunConfig
from ..predictor.prediction import LossPrediction

__all__ = ["Chances", "Outcomes", "outcomes"]

_SURE = 0.95  # from here on a target is kept almost surely
_ALIKE = 0.03  # chances that differ by less are told as alike
_MOST_NATS = 700.0  # beyond this exp overflows
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Chances:
    """The chance of each target that a plan states, and of all of them; None for what isn't stated or can't be told.

    >>> import foretrain
    >>> plan = {"model": {"params": "7B"}, "data": {"tokens": "140B"}, "targets": {"loss_nats": 2.0}}
    >>> found = foretrain.forecast(foretrain.RunConfig.from_mapping(plan), foretrain.load_predictor("web-text"))
    >>> found.chances.in_doubt, found.chances.sentence.startswith("loss 2 nats is what is in doubt")
    ('target', True)
    """

    target: float | None
    """Of the loss or perplexity."""
    deadline: float | None
    budget: float | None
    all: float | None
    """Of every stated target at once, by the same draws."""
    in_words: tuple[tuple[str, str], ...] = ()
    """What is stated, by field: `("target", "perplexity 6.5")`."""

    @classmethod
    def of(
        cls, config: RunConfig, p_target: float | None, cluster: ClusterEstimate | None, p_all: float | None
    ) -> Chances:
        """From a plan's targets and what its forecast says of each."""
        targets, said = config.targets, {}
        if targets.perplexity is not None:
            said["target"] = f"perplexity {targets.perplexity:g}"
        elif targets.loss_nats is not None:
            said["target"] = f"loss {targets.loss_nats:g} nats"
        if config.deadline_s is not None:
            said["deadline"] = f"the deadline of {format_amount(config.deadline_s / _DAY_S)} days"
        if targets.budget_usd is not None:
            said["budget"] = f"the budget of {format_count(targets.budget_usd)} USD"
        deadline, budget = (None, None) if cluster is None else (cluster.p_deadline, cluster.p_budget)
        return cls(p_target, deadline, budget, p_all, tuple(said.items()))

    @property
    def in_doubt(self) -> str | None:
        """What holds the chance of all down: the least likely of `target`, `deadline`, `budget`; None if none is."""
        known = {name: chance for name, _ in self.in_words if (chance := getattr(self, name)) is not None}
        least = min(known, key=lambda name: known[name], default=None)
        return None if least is None or known[least] >= _SURE else least

    @property
    def sentence(self) -> str:
        """What is in doubt, in words; nothing where no target is stated."""
        if not self.in_words or all(getattr(self, name) is None for name, _ in self.in_words):
            return ""
        if self.in_doubt is None:
            return "no target is in doubt"
        said = dict(self.in_words)[self.in_doubt]
        return f"{said} is what is in doubt ({percent(getattr(self, self.in_doubt))})"

    def against(self, baseline: Chances) -> str:
        """How the chance of all targets compares with that of a baseline, and what is in doubt; nothing without any."""
        if self.all is None or baseline.all is None:
            return self.sentence
        better, theirs = self.all - baseline.all, percent(baseline.all)
        if abs(better) < _ALIKE:
            than = f"{'no' if better <= 0 else 'hardly'} better than the baseline ({theirs})"
        else:
            than = f"{percent(self.all)} instead of the baseline's {theirs}"
        return f"{than}: {self.sentence}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        chances = {f"p_{name}": getattr(self, name) for name in ("target", "deadline", "budget", "all")}
        return {**chances, "in_doubt": self.in_doubt, "sentence": self.sentence or None}


@dataclass(frozen=True)
class Outcomes:
    """Equally likely outcomes of one plan, each figure by itself in order, from the distributions of its intervals.

    The share of them that reach a target is its chance to within one of them.
    """

    loss_nats: tuple[float, ...]
    perplexity: tuple[float, ...]
    wall_clock_days: tuple[float, ...] | None
    """None where the plan says too little of its machines."""
    cost_usd: tuple[float, ...] | None
    """None where no price is known."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: None if value is None else list(value) for name, value in vars(self).items()}


def outcomes(prediction: LossPrediction, cluster: ClusterEstimate | None, n: int) -> Outcomes:
    """n equally likely outcomes of a plan: quantiles at (i + ½)/n of its loss, wall clock and cost.

    Args:
        prediction: The predicted loss of the run.
        cluster: What it takes on its machines.
        n: How many, such as 20 or 50.
    """
    shares = equal_shares(n)
    nats = prediction.quantiles(shares)[:, 0]
    days = cost = None
    if cluster is not None:
        days = _of_draws(cluster.draws.wall_clock_s / _DAY_S, shares)
        cost = None if cluster.draws.cost_usd is None else _of_draws(cluster.draws.cost_usd, shares)
    return Outcomes(tuple(nats.tolist()), tuple(np.exp(np.minimum(nats, _MOST_NATS)).tolist()), days, cost)


def _of_draws(draws: np.ndarray, shares: np.ndarray) -> tuple[float, ...]:
    return tuple(np.quantile(draws, shares).tolist())
