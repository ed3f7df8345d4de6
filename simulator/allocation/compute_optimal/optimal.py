"""Compute-optimal size and tokens: how a training budget in FLOPs is best split, and what lies around the optimum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import InputError
from ....core.quantity import Quantity
from ....core.version import __version__
from ...config.run_config import RunConfig
from ...predictor.predictor import Predictor
from ..figures import perplexity_of, spread_of, times_or_over
from .optimum import DRIFT_PER_DECADE, Optimum, find_optimum, optima_of_draws
from .over_training import OverTraining, over_trained, over_training_of
from .surface import LossSurface

__all__ = ["ComputeOptimal", "compute_optimal", "optimum_at"]

_SAME_LOSS = 1e-3  # share of the loss within which sizes count as equally good
_ONE_VALUE = 1.5  # params or tokens that vary less over the fitted runs can't tell an exponent
_SPAN, _POINTS = math.log(100.0), 1201


@dataclass(frozen=True)
class ComputeOptimal:
    """The split of a compute budget that reaches the lowest loss, and what rests on it."""

    flops: float
    predictor: str
    law: str
    target: str
    params_kind: str
    """What N counts: total, active or non_embedding parameters. C = 6·N·D by this N."""
    method: str
    """closed form or numeric."""
    params: Quantity
    tokens: Quantity
    tokens_per_param: Quantity
    loss_nats: Quantity
    """Of a run at the optimum: the predictor's calibrated interval."""
    perplexity: Quantity
    epochs: float
    indifferent_params: tuple[float, float]
    """Sizes whose loss at equal compute is within 0.1 % of the lowest."""
    extrapolation_gap_decades: float
    around: tuple[OverTraining, ...]
    plan: OverTraining | None
    """Where the plan itself stands against the optimum of its own compute; None without a plan."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values with stable keys and units in the names, for JSON."""
        quantities = ("params", "tokens", "tokens_per_param", "loss_nats", "perplexity")
        return {
            "training_flops": self.flops,
            "predictor": self.predictor,
            "law": self.law,
            "target": self.target,
            "params_kind": self.params_kind,
            "method": self.method,
            **{name: getattr(self, name).to_dict() for name in quantities},
            "epochs": self.epochs,
            "indifferent_params": list(self.indifferent_params),
            "extrapolation_gap_decades": self.extrapolation_gap_decades,
            "around": [row.to_dict() for row in self.around],
            "plan": None if self.plan is None else self.plan.to_dict(),
            "notes": list(self.notes),
            "version": __version__,
        }


def compute_optimal(
    predictor: Predictor,
    flops: float | None = None,
    *,
    config: RunConfig | None = None,
    unique_tokens: float | None = None,
) -> ComputeOptimal:
    """The compute-optimal number of parameters and training tokens.

    Args:
        predictor: Predicts the loss.
        flops: Training compute, FLOPs; by default that of the plan `config`.
        config: A plan, which also states the data mix, the unique tokens and the experts.
        unique_tokens: Unique tokens in stock, instead of the plan's.

    Returns:
        Parameters, tokens and loss with their intervals, and how they were found.

    Raises:
        InputError: The predictor's law can't say, or neither `flops` nor `config` is given.

    >>> from foretrain import load_predictor
    >>> found = compute_optimal(load_predictor("chinchilla-massivetext"), 5.76e23)
    >>> low, high = found.params.intervals[0.9]
    >>> low < 70e9 < high, found.method  # Chinchilla, as it was trained
    (True, 'closed form')
    """
    as_stated = LossSurface.of(predictor, config, unique_tokens)
    own = None if config is None else _of_plan(as_stated, predictor, config)
    surface = as_stated.as_tuned()
    if flops is None:
        if own is None:
            raise InputError("flops: is missing; expected training FLOPs such as 5.76e23, or a plan")
        flops = float(surface.compute(np.array(own.params), np.array(own.tokens)))
    return optimum_at(surface, predictor.name, flops, own)


def optimum_at(surface: LossSurface, name: str, flops: float, plan: OverTraining | None = None) -> ComputeOptimal:
    """The optimum of a surface at `flops`, with its intervals and what lies around it; `name` is the predictor's."""
    best = find_optimum(surface, flops)
    gap = float(surface.decades_beyond(_columns(best))[0])
    x = math.log(best.params)
    log_sd = math.hypot(spread_of(optima_of_draws(surface, flops, best.params), x), DRIFT_PER_DECADE * gap)
    loss = surface.predict(np.array([best.params]), np.array([best.tokens])).quantity()
    distinct = surface.distinct(np.array([best.tokens]))
    return ComputeOptimal(
        flops=flops,
        predictor=name,
        law=surface.law_name,
        target=surface.target,
        params_kind=surface.params_kind,
        method=best.method,
        params=times_or_over(best.params, log_sd),
        tokens=times_or_over(best.tokens, log_sd),
        tokens_per_param=times_or_over(best.tokens / best.params, 2.0 * log_sd),
        loss_nats=loss,
        perplexity=perplexity_of(loss),
        epochs=1.0 if distinct is None else best.tokens / float(distinct[0]),
        indifferent_params=_indifferent(surface, best),
        extrapolation_gap_decades=gap,
        around=tuple(over_trained(surface, best)),
        plan=plan,
        notes=tuple(_notes(surface, gap)),
    )


def _of_plan(surface: LossSurface, predictor: Predictor, config: RunConfig) -> OverTraining:
    from ...forecast.law_inputs import run_columns

    params = float(run_columns(config, predictor, [])["params"][0])
    return over_training_of(surface, params, config.data.tokens)


def _columns(best: Optimum) -> dict[str, np.ndarray]:
    return {"params": np.array([best.params]), "tokens": np.array([best.tokens])}


def _indifferent(surface: LossSurface, best: Optimum) -> tuple[float, float]:
    """The smallest and largest N around the optimum up to which the loss stays within 0.1 % of the lowest."""
    x = math.log(best.params) + np.linspace(-_SPAN, _SPAN, _POINTS)
    params = np.exp(x)
    inside = surface.log_loss(params, surface.tokens_for(best.flops, params)) <= best.log_loss + _SAME_LOSS
    middle = _POINTS // 2
    low = middle - int(np.argmin(np.append(inside[middle::-1], False))) + 1
    high = middle + int(np.argmin(np.append(inside[middle:], False))) - 1
    return float(params[min(low, middle)]), float(params[max(high, middle)])


def _notes(surface: LossSurface, gap: float) -> list[str]:
    counts = {"total": "all", "active": "active", "non_embedding": "non-embedding"}
    notes = [f"C = 6·N·D; N counts {counts.get(surface.params_kind, surface.params_kind)} parameters, as the law does"]
    if surface.active_share < 1.0:
        notes[0] += f"; {surface.active_share:.1%} of them are active and count for C"
    for name in ("params", "tokens"):
        low, high = surface.fitted_range(name)
        if high < _ONE_VALUE * low:
            notes.append(
                f"every fitted run has about {low:.3g} {name}: how the loss changes with {name} is the prior's, not "
                "these runs', and so is the optimum"
            )
    if gap > 0.05:
        notes.append(
            f"beyond the fitted runs by {gap:.2g} decades: the optimum's interval has {DRIFT_PER_DECADE:g} of log N "
            "for each of them, as laws fitted on part of the public tables were off"
        )
    if any(model.surrogate is not None for model in surface.models):
        notes.append("the optimum is the law's; what was learned on top of it enters the loss only")
    return [*notes, *surface.notes]
