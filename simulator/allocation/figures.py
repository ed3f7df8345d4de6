"""Numbers with intervals: of a calibrated prediction, of draws around a centre, of a centre with a spread."""

from __future__ import annotations

import math

import numpy as np

from ...core.quantity import LEVELS, Quantity

__all__ = ["NORMAL", "around", "perplexity_of", "spread_of", "times_or_over"]

NORMAL = dict(zip(LEVELS, (0.6745, 1.2816, 1.6449, 1.9600), strict=True))
"""Half widths of central intervals of a normal, in standard deviations."""
_MOST_NATS = 700.0  # whose exponential is still a float


def perplexity_of(loss: Quantity) -> Quantity:
    """Perplexity per token of a loss in nats."""
    return loss.mapped(_exp)


def times_or_over(centre: float, log_sd: float) -> Quantity:
    """A positive number known up to a factor: normal in its logarithm, with standard deviation `log_sd`."""
    factors = {level: math.exp(width * log_sd) for level, width in NORMAL.items()}
    return Quantity(centre, {level: (centre / factor, centre * factor) for level, factor in factors.items()})


def around(centre: float, draws: np.ndarray) -> Quantity:
    """A number of any sign: `centre`, and intervals of the draws, moved so that their median is the centre."""
    shift = centre - float(np.median(draws))
    found = Quantity.of_draws(draws + shift)
    return Quantity(centre, found.intervals)


def spread_of(draws: np.ndarray, centre: float) -> float:
    """Root mean square distance of draws from the centre, 5 % of tails clipped, as predictions of a loss have it."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(np.sqrt(np.mean((np.clip(draws, low, high) - centre) ** 2)))


def _exp(nats: float) -> float:
    return math.exp(min(nats, _MOST_NATS))
