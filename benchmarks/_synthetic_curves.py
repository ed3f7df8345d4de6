"""Synthetic runs that behave: a law drawn from the generic prior, Brownian strays, autocorrelated noise."""

from __future__ import annotations

import numpy as np
from foretrain.simulator.curve.deviation import Times
from foretrain.simulator.curve.law.multipower import basis
from foretrain.simulator.curve.law.prior import GENERIC_DRIFT, generic_prior
from foretrain.simulator.curve.library import Curve
from foretrain.simulator.curve.rates.path import RatePath, named_path, piecewise_path, wsd_path

KINDS = ((0.0, 0.003), (0.9, 0.003), (0.95, 0.003), (0.9, 0.01), (0.0, 0.01))
"""Correlation of neighbouring points and standard deviation of log loss."""


def synthetic(rng: np.random.Generator, *, rho: float, sd: float, points: int = 400) -> Curve:
    """One run under a random schedule."""
    path = _path(rng)
    step = np.linspace(1, path.steps, points).astype(int).astype(float)
    prior = generic_prior(3.2)
    theta = prior.mean + prior.sd * rng.standard_normal(7)
    theta[4] = 3.0
    loss = basis(theta[:4], path.decay(step)) @ np.array([theta[4], *np.exp(theta[5:])])
    progress = Times.of(path, step).progress
    drift = np.cumsum(GENERIC_DRIFT * np.sqrt(np.diff(progress, prepend=progress[0])) * rng.standard_normal(points))
    noise = _correlated(rng, points, rho, sd)
    return Curve("synthetic", "synthetic", 1e8, path, step, loss * np.exp(drift - drift[points // 10] + noise))


def _path(rng) -> RatePath:
    steps = int(rng.integers(5_000, 60_000))
    warmup = int(steps * rng.uniform(0.01, 0.08))
    kind = rng.integers(4)
    if kind == 0:
        return named_path("cosine", steps, warmup, 0.1)
    if kind == 1:
        return wsd_path(steps, warmup, int(steps * rng.uniform(0.6, 0.9)), float(rng.choice([0.0, 0.1])))
    if kind == 2:
        return named_path("constant", steps, warmup)
    return piecewise_path(steps, warmup, {int(steps * rng.uniform(0.3, 0.8)): rng.uniform(0.1, 0.6)})


def _correlated(rng, points, rho, sd):
    noise = sd * rng.standard_normal(points)
    for i in range(1, points):
        noise[i] = rho * noise[i - 1] + np.sqrt(1 - rho**2) * noise[i]
    return noise
