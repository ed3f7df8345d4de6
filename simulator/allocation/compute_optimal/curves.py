"""Curves of equal compute and of equal loss over size and tokens, and the least compute that reaches a loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import InfeasibleError, InputError
from ....core.quantity import LEVELS, Quantity
from ...config.run_config import RunConfig
from ...predictor.predictor import Predictor
from .optimal import ComputeOptimal, optimum_at
from .optimum import Optimum, find_optimum, root_between
from .surface import LossSurface

__all__ = ["IsoFlop", "IsoLoss", "isoflop", "isoloss"]

_FACTOR, _POINTS = 16.0, 81
_MOST_LOSS = 20.0
_FEWEST_DECADES, _MOST_DECADES, _STEP_DECADES = 13.0, 32.0, 0.5  # of compute, in which a loss is looked for
_INTERVAL_DECADES = 4.0
_LEAST_FLOPS = 1e9


@dataclass(frozen=True)
class IsoFlop:
    """The predicted loss over sizes at one compute; arrays `(n,)`, sizes rising."""

    flops: float
    params: np.ndarray
    tokens: np.ndarray
    loss_nats: np.ndarray
    low_90: np.ndarray
    high_90: np.ndarray
    optimum: ComputeOptimal

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "training_flops": self.flops,
            **{key: getattr(self, key).tolist() for key in ("params", "tokens", "loss_nats", "low_90", "high_90")},
            "optimum": self.optimum.to_dict(),
        }


@dataclass(frozen=True)
class IsoLoss:
    """Sizes and tokens that reach one loss, arrays `(n,)`, and the cheapest of them by compute."""

    loss_nats: float
    params: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    cheapest_params: float
    cheapest_tokens: float
    cheapest_flops: Quantity
    """Compute that reaches the loss at its optimum; an end is where the predicted interval's end reaches it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "loss_nats": self.loss_nats,
            "params": self.params.tolist(),
            "tokens": self.tokens.tolist(),
            "training_flops": self.flops.tolist(),
            "cheapest": {
                "params": self.cheapest_params,
                "tokens": self.cheapest_tokens,
                "training_flops": self.cheapest_flops.to_dict(),
            },
        }


def isoflop(
    predictor: Predictor, flops: Sequence[float], *, config: RunConfig | None = None, unique_tokens: float | None = None
) -> list[IsoFlop]:
    """Loss over model sizes at constant compute: IsoFLOP curves.

    Args:
        predictor: Predicts the loss.
        flops: Training compute of each curve, FLOPs.
        config: A plan that states the data mix, the unique tokens and the experts.
        unique_tokens: Unique tokens in stock, instead of the plan's.

    Returns:
        One curve for each compute: sizes from 1/16 to 16 times the optimal one, their tokens and losses (nats per
        token) with calibrated 90 % intervals, arrays `(81,)`.

    Raises:
        InputError: The predictor's law can't say.

    >>> import foretrain
    >>> (curve,) = foretrain.isoflop(foretrain.load_predictor("web-text"), [1e22])
    >>> best = curve.loss_nats.argmin()
    >>> bool(0.5 < curve.params[best] / curve.optimum.params.median < 2)
    True
    >>> bool((curve.low_90 < curve.loss_nats).all())
    True
    """
    surface = LossSurface.of(predictor, config, unique_tokens).as_tuned()
    found = []
    for amount in flops:
        best = optimum_at(surface, predictor.name, amount)
        params = best.params.median * np.geomspace(1 / _FACTOR, _FACTOR, _POINTS)
        tokens = surface.tokens_for(amount, params)
        prediction = surface.predict(params, tokens)
        low, high = prediction.interval(0.9)
        found.append(IsoFlop(float(amount), params, tokens, prediction.loss_nats, low, high, best))
    return found


def isoloss(
    predictor: Predictor,
    losses: Sequence[float],
    *,
    config: RunConfig | None = None,
    unique_tokens: float | None = None,
) -> list[IsoLoss]:
    """Sizes and tokens that reach a given loss, and the cheapest of them by compute.

    Args:
        predictor: Predicts the loss.
        losses: Final losses, nats per token.
        config: A plan that states the data mix, the unique tokens and the experts.
        unique_tokens: Unique tokens in stock, instead of the plan's.

    Returns:
        One curve for each loss, in the same order.

    Raises:
        InputError: A loss is not above 0 and at most 20, or the predictor's law can't say.
        InfeasibleError: No compute up to 1e32 FLOPs reaches a loss.

    >>> import foretrain
    >>> easy, hard = foretrain.isoloss(foretrain.load_predictor("web-text"), [2.5, 2.4])
    >>> easy.cheapest_flops.median < hard.cheapest_flops.median
    True
    """
    surface = LossSurface.of(predictor, config, unique_tokens).as_tuned()
    return [_isoloss(surface, float(loss)) for loss in losses]


def _isoloss(surface: LossSurface, loss: float) -> IsoLoss:
    if not 0 < loss <= _MOST_LOSS:
        raise InputError(f"loss: got {loss:g}; expected nats per token above 0 and at most {_MOST_LOSS:g}, such as 2.2")
    wanted = math.log(loss)
    best = _cheapest(surface, wanted)
    params = best.params * np.geomspace(1 / _FACTOR, _FACTOR, _POINTS)
    tokens = _tokens_reaching(surface, params, wanted, best.tokens)
    reached = np.isfinite(tokens)
    return IsoLoss(
        loss,
        params[reached],
        tokens[reached],
        surface.compute(params[reached], tokens[reached]),
        best.params,
        best.tokens,
        _compute_interval(surface, wanted, best),
    )


def _cheapest(surface: LossSurface, wanted: float) -> Optimum:
    """The optimum of the least compute at which the law's log loss is `wanted`. InfeasibleError where there is none."""
    decades = np.arange(_FEWEST_DECADES, _MOST_DECADES + _STEP_DECADES, _STEP_DECADES)
    found = [_optimum_or_none(surface, 10.0**one) for one in decades]
    above = np.array([math.inf if one is None else one.log_loss - wanted for one in found])
    first = int((above <= 0).argmax())
    if above[first] > 0:
        raise InfeasibleError(
            f"loss {math.exp(wanted):g}: no compute up to 1e{_MOST_DECADES:g} FLOPs reaches it; the lowest loss of the "
            f"law {surface.law_name} is {math.exp(above.min() + wanted):.4g} nats here"
        )
    if first == 0:
        raise InputError(
            f"loss: got {math.exp(wanted):g}, which 1e{_FEWEST_DECADES:g} FLOPs reach already; expected a loss below "
            f"{math.exp(above[0] + wanted):.3g}"
        )
    root = root_between(
        lambda one: find_optimum(surface, 10.0**one).log_loss - wanted, decades[first - 1], decades[first]
    )
    return find_optimum(surface, 10.0**root)


def _optimum_or_none(surface: LossSurface, flops: float) -> Optimum | None:
    """The optimum, or None where the law has none: far out some laws lose theirs."""
    try:
        return find_optimum(surface, flops)
    except InfeasibleError:
        return None


def _compute_interval(surface: LossSurface, wanted: float, best: Optimum) -> Quantity:
    """Compute that reaches a log loss along the optima, with the ends at which the predicted interval's ends do.

    At most four decades from the law's own; an interval that reaches further ends there.
    """
    decades = math.log10(best.flops) + np.linspace(
        -_INTERVAL_DECADES, _INTERVAL_DECADES, 4 * int(_INTERVAL_DECADES) + 1
    )
    decades = decades[decades > math.log10(_LEAST_FLOPS)]
    found = [(one, _optimum_or_none(surface, 10.0**one)) for one in decades]
    path = [best for _, best in found if best is not None]
    decades = np.array([one for one, best in found if best is not None])
    predicted = surface.predict(np.array([one.params for one in path]), np.array([one.tokens for one in path]))
    off = float(np.interp(math.log10(best.flops), decades, predicted.log_loss)) - wanted  # what was learned on top

    def reaches(end: np.ndarray) -> float:
        return 10.0 ** float(np.interp(-wanted, -np.minimum.accumulate(np.log(end) - off), decades))

    ends = {level: predicted.interval(level) for level in LEVELS}
    return Quantity(best.flops, {level: (reaches(low), reaches(high)) for level, (low, high) in ends.items()})


def _tokens_reaching(surface: LossSurface, params: np.ndarray, wanted: float, near: float) -> np.ndarray:
    """Fewest tokens with which each size reaches a log loss, `(n,)`; NaN where none up to 1e4 times `near` do."""
    steps = np.log(near) + np.linspace(math.log(1e-4), math.log(1e4), 801)
    grid = [each.ravel() for each in np.meshgrid(params, np.exp(steps), indexing="ij")]
    reached = surface.log_loss(grid[0], grid[1]).reshape(len(params), -1) <= wanted
    first = reached.argmax(axis=1)
    known = reached[np.arange(len(params)), first] & (first > 0)
    low, high = steps[np.maximum(first - 1, 0)], steps[first]
    for _ in range(40):
        middle = 0.5 * (low + high)
        enough = surface.log_loss(params, np.exp(middle)) <= wanted
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(known, np.exp(high), np.nan)
